// Heads to pick from: live miniatures of this layer, and the map of all layers.

import { SHADES, css, inkOn } from "./dial_colour.js";
import { brief, fitCanvas } from "./dial_axes.js";

const BINS = 48; // a miniature shows at most 48 × 48 cells, each the largest weight within
const BAR = 15;

export class HeadMiniatures {
  constructor(box, onPick) {
    this.box = box;
    this.cards = [];
    box.addEventListener("click", (event) => {
      const card = event.target.closest("button");
      if (card) onPick(Number(card.dataset.head));
    });
  }

  fill(count, notes) {
    if (this.cards.length !== count) this.build(count);
    this.cards.forEach(({ button }, h) => (button.title = notes[h] ? `Reads ${notes[h]}` : ""));
  }

  build(count) {
    this.cards = Array.from({ length: count }, (_, h) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "lw-head";
      button.dataset.head = String(h);
      const name = document.createElement("span");
      name.textContent = `Head ${h}`;
      const canvas = document.createElement("canvas");
      button.append(name, canvas);
      return { button, canvas };
    });
    this.box.replaceChildren(...this.cards.map((card) => card.button));
  }

  arrange(layer, theme) {
    this.theme = theme;
    const { T } = layer;
    const bins = Math.min(T, BINS);
    this.bins = bins;
    this.binOf = Uint16Array.from({ length: T }, (_, j) => Math.floor((j * bins) / T));
    this.largest = new Float32Array(bins * bins);
    this.small = document.createElement("canvas");
    this.small.width = this.small.height = bins;
    this.smallContext = this.small.getContext("2d");
    this.image = this.smallContext.createImageData(bins, bins);
    this.words = new Uint32Array(this.image.data.buffer);
    for (const card of this.cards) {
      card.size = Math.max(card.button.clientWidth - 12, 40);
      card.context = fitCanvas(card.canvas, card.size, card.size + 2 * BAR + 6);
      card.context.font = `11px ${theme.font}`;
      card.context.textBaseline = "middle";
    }
  }

  select(head) {
    this.cards.forEach(({ button }, h) => button.setAttribute("aria-pressed", String(h === head)));
  }

  frame(layer, frame, table) {
    const { theme, bins } = this;
    for (let h = 0; h < this.cards.length; h++) {
      const { context, size } = this.cards[h];
      this.reduce(layer, frame, h);
      const { words, largest } = this;
      for (let i = 0, at = 0; i < bins; i++) {
        for (let j = 0; j < bins; j++, at++) {
          words[at] = j > i ? 0 : table[(largest[at] * (SHADES - 1) + 0.5) | 0];
        }
      }
      this.smallContext.putImageData(this.image, 0, 0);
      context.clearRect(0, 0, size, size + 2 * BAR + 6);
      context.imageSmoothingEnabled = false;
      context.drawImage(this.small, 0, 0, size, size);
      this.bar(context, size, size + 6, frame.entropyNormalised[h], theme.muted, "H");
      this.bar(context, size, size + 6 + BAR, frame.fidelity[h], theme.accent, "F");
    }
  }

  bar(context, size, y, value, colour, letter) {
    const room = size - 46;
    context.fillStyle = this.theme.faint;
    context.fillRect(14, y + 4, room, 5);
    context.fillStyle = colour;
    context.fillRect(14, y + 4, room * value, 5);
    context.fillStyle = this.theme.ink;
    context.textAlign = "left";
    context.fillText(letter, 0, y + 7);
    context.textAlign = "right";
    context.fillText(value.toFixed(2), size, y + 7);
  }

  /** Pattern of head h at reduced size, without ever storing it in full. */
  reduce(layer, frame, h) {
    const { largest, binOf, bins } = this;
    const { T, N, level } = layer;
    largest.fill(0);
    const head = layer.heads[h];
    if (!head) {
      const full = frame.full[h];
      for (let i = 0, k = 0; i < T; i++) {
        const at = binOf[i] * bins;
        for (let j = 0; j <= i; j++, k++) {
          const bin = at + binOf[j];
          if (full[k] > largest[bin]) largest[bin] = full[k];
        }
      }
      return;
    }
    const { exp, L } = head;
    const factor = frame.factor[h];
    const base = h * N;
    for (let i = 0, k = 0; i < T; i++) {
      const at = binOf[i] * bins;
      const row = i * L;
      for (let j = 0; j <= i; j++, k++) {
        const p = exp[k] * factor[row + level[base + k]];
        const bin = at + binOf[j];
        if (p > largest[bin]) largest[bin] = p;
      }
    }
  }

  describe(frame) {
    this.cards.forEach(({ button }, h) => {
      button.setAttribute(
        "aria-label",
        `Head ${h}: entropy ${brief(frame.entropyBits[h])} bits, ` +
          `${brief(frame.entropyNormalised[h])} of the largest; fidelity ${brief(frame.fidelity[h])}`,
      );
    });
  }
}

export const METRIC_NAMES = {
  entropy: "entropy (share of largest)",
  fidelity: "fidelity",
  semantic_share: "semantic share",
  self_share: "self share",
  previous_share: "previous share",
  sink_share: "sink share",
  other_share: "other share",
};
const SHARE_AT = { self_share: 0, sink_share: 1, previous_share: 2, semantic_share: 3, other_share: 4 };

/** A figure of head h in a frame; NaN where the browser does not know it. */
export function metricOf(frame, metric, h) {
  if (metric === "entropy") return frame.entropyNormalised[h];
  if (metric === "fidelity") return frame.fidelity[h];
  return metric in SHARE_AT ? frame.shares[h * 5 + SHARE_AT[metric]] : NaN;
}

export class LayerGrid {
  constructor(box, onPick) {
    this.box = box;
    this.cells = [];
    box.addEventListener("click", (event) => {
      const cell = event.target.closest("button");
      if (cell) onPick(Number(cell.dataset.layer), Number(cell.dataset.head));
    });
    box.addEventListener("keydown", (event) => this.move(event));
  }

  move(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const cell = event.target.closest("button");
    if (!step || !cell) return;
    event.preventDefault();
    const next =
      this.cells[Number(cell.dataset.layer) + step[0]]?.[Number(cell.dataset.head) + step[1]];
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  fill(layers, heads) {
    if (this.cells.length === layers && this.cells[0].length === heads) return;
    this.numbers = heads <= 9 && layers <= 12;
    this.box.style.setProperty("--heads", heads);
    this.box.classList.toggle("lw-dense", !this.numbers);
    this.cells = [];
    const rows = Array.from({ length: layers }, (_, l) => {
      const row = document.createElement("div");
      row.setAttribute("role", "row");
      row.className = "lw-grid-row";
      const name = document.createElement("span");
      name.setAttribute("role", "rowheader");
      name.textContent = `L${l}`;
      const cells = Array.from({ length: heads }, (_, h) => {
        const cell = document.createElement("button");
        cell.type = "button";
        cell.setAttribute("role", "gridcell");
        cell.dataset.layer = String(l);
        cell.dataset.head = String(h);
        cell.tabIndex = -1;
        return cell;
      });
      this.cells.push(cells);
      row.append(name, ...cells);
      return row;
    });
    this.box.replaceChildren(...rows);
  }

  paint(layer, head, metric, value, table) {
    const cell = this.cells[layer][head];
    const known = Number.isFinite(value);
    const word = table[Math.round(Math.min(Math.max(known ? value : 0, 0), 1) * (SHADES - 1))];
    cell.style.backgroundColor = css(word);
    cell.style.color = inkOn(word);
    if (this.numbers) cell.textContent = known ? value.toFixed(2) : "–";
    cell.setAttribute(
      "aria-label",
      `Layer ${layer}, head ${head}: ${METRIC_NAMES[metric] ?? metric} ${brief(value)}`,
    );
  }

  select(layer, head) {
    this.cells.flat().forEach((cell) => {
      const on = Number(cell.dataset.layer) === layer && Number(cell.dataset.head) === head;
      cell.setAttribute("aria-selected", String(on));
      cell.tabIndex = on ? 0 : -1;
    });
    [...this.box.children].forEach((row, l) => row.classList.toggle("lw-here", l === layer));
  }
}
