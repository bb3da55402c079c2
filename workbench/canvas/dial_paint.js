// Draws one frame of the attention map: heat, row profile, block names with masses, crosshair.
// Nothing is allocated per frame but short strings for labels.

import { SHADES, raise } from "./dial_colour.js";
import { LONGEST_NAME, OVERHANG } from "./dial_layout.js";
import { clipText, dialText, drawFrozen, fitCanvas, percent } from "./dial_axes.js";

const PROFILE_PAD = 16;
const RIBBON = 7; // px just above the map, where the block colours stand
const SLANT = -Math.PI / 3.4;

export class MapPainter {
  /** Three canvases, one above the other: what stays, what the dial moves, what is pointed at. */
  constructor(still, base, over) {
    Object.assign(this, { still, base, over });
    this.heat = [0, 1, 2].map(() => document.createElement("canvas"));
  }

  /** Take in a layout, labels and colours; draws what no dial changes once, for reuse. */
  arrange(layout, labels, theme, tables) {
    Object.assign(this, { layout, labels, theme, tables });
    const T = labels.tokens.length;
    this.context = fitCanvas(this.base, layout.width, layout.height);
    fitCanvas(this.over, layout.width, layout.height);
    this.images = this.heat.slice(0, layout.places.length).map((canvas) => {
      if (canvas.width !== T || canvas.height !== T) canvas.width = canvas.height = T;
      const context = canvas.getContext("2d");
      const image = context.createImageData(T, T);
      return { context, image, words: new Uint32Array(image.data.buffer) };
    });
    drawFrozen(this.still, layout, labels, theme);
    this.context.clearRect(0, 0, layout.width, layout.height);
  }

  /**
   * row: query whose weights the profile shows; groupMass(cls, panel): mass in [0, 1] or [-1, 1].
   */
  frame(view, state, row, groupMass) {
    const { context, layout } = this;
    const panels = view.panels[state.mode];
    const before = view.patterns.zero;
    context.textBaseline = "middle";
    for (let p = 0; p < panels.length; p++) {
      // The heat covers the last frame's heat; only what stands above it needs a clear ground.
      const { x, y } = layout.places[p];
      context.clearRect(x - 1, y - layout.top, layout.plotWidth + OVERHANG, layout.top - RIBBON);
      if (layout.title) this.drawTitle(view, state, p);
      this.fillHeat(panels[p], p);
      this.placeHeat(p);
      this.drawProfile(panels[p], p, row, before);
      if (layout.grouped) this.drawGroups(p, panels[p].signed, groupMass);
    }
  }

  /** Which dial a panel stands at, and whether its scores are that dial's own. */
  drawTitle(view, state, panel) {
    const { context, layout, theme } = this;
    const { x, y } = layout.places[panel];
    const dial = panel === 0 ? state.dial : state.dialB;
    const rough = view.holdsAt(state.dial) && view.holdsAt(state.dialB) ? "" : " · estimate";
    const own = view.holdsAt(dial) ? "" : " · estimate";
    const text = panel === 2 ? `B − A${rough}` : `${"AB"[panel]} · dial ${dialText(dial)}${own}`;
    context.font = `650 13px ${theme.font}`;
    context.fillStyle = panel < 2 ? theme.sides[panel] : theme.ink;
    context.textAlign = "left";
    context.fillText(text, x, y - layout.top + 9);
  }

  fillHeat({ values, signed }, panel) {
    const { labels, tables } = this;
    const T = labels.tokens.length;
    const { words, image, context } = this.images[panel];
    const { display } = this.layout;
    const table = signed ? tables.signed : tables.sequential;
    const scale = signed ? (SHADES - 1) / 2 : SHADES - 1;
    const shift = 0.5 + (signed ? (SHADES - 1) / 2 : 0);
    for (let i = 0, k = 0; i < T; i++) {
      for (let j = 0, at = i * T; j <= i; j++, k++) {
        words[at + display[j]] = table[(values[k] * scale + shift) | 0];
      }
    }
    context.putImageData(image, 0, 0);
  }

  placeHeat(panel) {
    const { context, layout, heat, labels } = this;
    const T = labels.tokens.length;
    const { x, y } = layout.places[panel];
    context.imageSmoothingEnabled = layout.rowHeight < 1;
    for (const group of layout.groups) {
      context.drawImage(
        heat[panel], group.from, 0, group.keys.length, T,
        x + group.x, y, group.width, layout.plotHeight,
      );
    }
  }

  /** Weights of one query over the keys, aligned with the map; the short lines are dial 0. */
  drawProfile({ values, signed }, panel, row, before) {
    const { context, layout, labels, theme } = this;
    const { x, y } = layout.places[panel];
    const { scale } = labels;
    const foot = y - layout.header;
    const room = layout.profile - PROFILE_PAD;
    const start = (row * (row + 1)) / 2;
    const zero = signed ? foot - room / 2 : foot;
    const reach = signed ? room / 2 : room;
    context.fillStyle = theme.hair;
    context.fillRect(x, zero, layout.plotWidth, 1);
    if (layout.places.length === 1) {
      context.font = `11px ${theme.font}`;
      context.fillStyle = theme.muted;
      context.textAlign = "left";
      context.fillText(`Weights of query ${row} “${labels.shown[row]}”`, x, foot - layout.profile + 5);
    }
    for (let j = 0; j <= row; j++) {
      const value = values[start + j];
      const size = raise(Math.abs(value), scale) * reach;
      const width = Math.max(layout.keyWidth[j] - (layout.keyWidth[j] > 4 ? 1 : 0), 0.8);
      const left = x + layout.keyX[j];
      context.fillStyle = signed
        ? theme.sides[value < 0 ? 0 : 1]
        : labels.colours[labels.classes[j]];
      context.fillRect(left, value < 0 ? zero : zero - size, width, size);
      if (signed) continue;
      context.fillStyle = theme.ink;
      context.fillRect(left, foot - raise(before[start + j], scale) * room - 0.5, width, 1);
    }
  }

  drawGroups(panel, signed, groupMass) {
    const { context, layout, labels, theme } = this;
    const { x, y } = layout.places[panel];
    for (const group of layout.groups) {
      // Blocks that this head reads stand out from those that it does not.
      const read = labels.read[group.cls] === 1;
      const weight = read ? 700 : 400;
      context.fillStyle = read ? theme.ink : theme.muted;
      const mass = groupMass(group.cls, panel);
      const name = labels.classNames[group.cls];
      const figure = signed ? `${mass < 0 ? "−" : "+"}${percent(Math.abs(mass))}` : percent(mass);
      const middle = x + group.x + group.width / 2;
      if (!group.slanted) {
        context.textAlign = "center";
        context.font = `${weight} 11px ${theme.font}`;
        context.fillText(clipText(context, name, group.width), middle, y - 27);
        context.font = `11px ${theme.font}`;
        context.fillText(figure, middle, y - 14);
        continue;
      }
      context.save();
      context.translate(middle + 1, y - 11);
      context.rotate(SLANT);
      context.textAlign = "left";
      context.font = `${weight} 11px ${theme.font}`;
      const short = clipText(context, name, LONGEST_NAME);
      context.fillText(short, 0, 0);
      const past = context.measureText(`${short} `).width;
      context.font = `11px ${theme.font}`;
      context.fillText(figure, past, 0);
      context.restore();
    }
  }

  /** Crosshair and pinned row, on the upper canvas. hover: hit() result or null. */
  overlay(hover, pinned) {
    const { layout, labels, theme } = this;
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, layout.width, layout.height);
    for (const place of layout.places) {
      if (pinned !== null) {
        const y = place.y + pinned * layout.rowHeight;
        const tall = Math.max(layout.rowHeight, 2);
        context.strokeStyle = context.fillStyle = theme.ink;
        context.lineWidth = 1.5;
        context.strokeRect(place.x - 1, y - 0.5, layout.plotWidth + 2, tall + 1);
        context.beginPath();
        context.moveTo(place.x - 9, y + tall / 2 - 5);
        context.lineTo(place.x - 9, y + tall / 2 + 5);
        context.lineTo(place.x - 2, y + tall / 2);
        context.fill();
      }
      if (!hover) continue;
      context.fillStyle = theme.name === "dark" ? "rgba(255,255,255,.13)" : "rgba(20,30,60,.09)";
      const y = place.y + hover.row * layout.rowHeight;
      context.fillRect(place.x, y, layout.plotWidth, layout.rowHeight);
      if (hover.key === null) continue;
      const [x, width] = [place.x + layout.keyX[hover.key], layout.keyWidth[hover.key]];
      context.fillRect(x, place.y, width, layout.plotHeight);
      context.strokeStyle = labels.colours[labels.classes[hover.key]];
      context.lineWidth = 2;
      context.strokeRect(x - 1, y - 1, width + 2, layout.rowHeight + 2);
    }
  }
}
