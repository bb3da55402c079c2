// Pointing at the map: crosshair, tooltip, pinning, by mouse and by keyboard.

import { hit } from "./dial_layout.js";
import { brief } from "./dial_axes.js";
import { shownToken } from "./dial_strip.js";

const RELATION = { 1: "itself", 2: "previous token", 4: "sink" };

export class Tip {
  constructor(box) {
    this.box = box;
  }

  /** At a point of the map. lines: [label, value, colour?]; label null makes a heading. */
  show(lines, x, y, within) {
    this.fill(lines);
    const [w, h] = [this.box.offsetWidth, this.box.offsetHeight];
    const left = x + 18 + w > within.width ? x - 18 - w : x + 18;
    this.place(left, Math.min(y + 14, Math.max(within.height - h, 0)));
  }

  /** Below an element outside the map. */
  beside(lines, element) {
    this.fill(lines);
    const [home, at] = [this.box.parentElement, element].map((e) => e.getBoundingClientRect());
    const most = Math.max(home.width - this.box.offsetWidth, 0);
    this.place(Math.min(at.left - home.left, most), at.bottom - home.top + 6);
  }

  place(left, top) {
    this.box.style.left = `${Math.max(left, 0)}px`;
    this.box.style.top = `${top}px`;
  }

  fill(lines) {
    const nodes = lines.map(([label, value, colour]) => {
      const line = document.createElement("div");
      if (label === null) line.className = "lw-tip-head";
      else {
        const name = document.createElement("span");
        name.textContent = label;
        line.append(name);
      }
      const text = document.createElement("b");
      text.textContent = value;
      if (colour) {
        text.style.setProperty("--block", colour);
        text.className = "lw-tip-block";
      }
      line.append(text);
      return line;
    });
    this.box.replaceChildren(...nodes);
    this.box.hidden = false;
  }

  hide() {
    this.box.hidden = true;
  }

  get text() {
    return this.box.textContent;
  }
}

export class Pointer {
  /** screen(): what is shown; onHover(hover), onPin(row or null). */
  constructor(plot, tip, screen, onHover, onPin) {
    Object.assign(this, { plot, tip, screen, onHover, onPin, hover: null });
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      this.point(event.clientX - box.left, event.clientY - box.top);
    });
    plot.addEventListener("pointerleave", () => this.clear());
    plot.addEventListener("click", () => this.pin());
    plot.addEventListener("keydown", (event) => this.key(event));
    plot.addEventListener("blur", () => this.clear());
  }

  point(x, y) {
    const { layout, view } = this.screen();
    const found = layout && hit(layout, view.layer.T, x, y);
    if (!found) this.clear();
    else this.set(found, x, y);
  }

  set(hover, x, y) {
    this.hover = hover;
    this.onHover(hover);
    const { layout } = this.screen();
    this.tip.show(this.lines(hover), x, y, layout);
  }

  clear() {
    if (!this.hover) return;
    this.hover = null;
    this.tip.hide();
    this.onHover(null);
  }

  pin() {
    if (!this.hover) return;
    const { state } = this.screen();
    this.onPin(state.pinned === this.hover.row ? null : this.hover.row);
  }

  key(event) {
    const { layout, view, state } = this.screen();
    const { T } = view.layer;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      event.preventDefault();
      const at = this.hover ?? { panel: 0, row: state.pinned ?? T - 1, key: null };
      const row = Math.min(Math.max(at.row + step[0], 0), T - 1);
      let key = at.key ?? 0;
      if (step[1]) {
        const shown = layout.groups.flatMap((group) => group.keys);
        const next = Math.min(Math.max(layout.display[key] + (at.key === null ? 0 : step[1]), 0), T - 1);
        key = shown[next];
      }
      const place = layout.places[at.panel] ?? layout.places[0];
      const x = place.x + layout.keyX[key] + layout.keyWidth[key] / 2;
      this.set({ panel: at.panel, row, key }, x, place.y + (row + 0.5) * layout.rowHeight);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.pin();
    } else if (event.key === "Escape") {
      this.clear();
      this.onPin(null);
    }
  }

  lines({ row, key }) {
    const { view, state } = this.screen();
    const { layer, labels, patterns } = view;
    const name = (j) => `${j} “${shownToken(labels.tokens[j])}”`;
    const block = (j) => labels.classNames[labels.classes[j]];
    const colour = (j) => labels.colours[labels.classes[j]];
    const lines = [[null, `query ${name(row)}`], ["block", block(row), colour(row)]];
    if (layer.fallback[state.head * layer.T + row]) {
      lines.push(["fallback", "no key to read here: the dial points it at itself"]);
    }
    if (layer.rest[state.head * layer.T + row]) {
      lines.push(["at rest", "nothing it reads is in sight: the dial points it at begin of text"]);
    }
    if (key === null) return lines;
    lines.push([null, `key ${name(key)}`], ["block", block(key), colour(key)]);
    if (key > row) {
      lines.push(["later than the query", "never visible"]);
      return lines;
    }
    const k = (row * (row + 1)) / 2 + key;
    const at = state.head * layer.N + k;
    const code = layer.relation[k];
    const relation = Object.keys(RELATION).filter((c) => code & c).map((c) => RELATION[c]);
    if (relation.length) lines.push(["relation", relation.join(", ")]);
    lines.push(["score", `${layer.scores[at].toFixed(3)} nats`]);
    lines.push(["relevance r", brief(layer.relevance[at])]);
    const weight = (dial, values) => `${view.holdsAt(dial) ? "" : "≈ "}${brief(values[k])}`;
    lines.push(["weight at dial 0", weight(0, patterns.zero)]);
    if (state.mode === "split") {
      lines.push(["weight at A", weight(state.dial, patterns.a)]);
      lines.push(["weight at B", weight(state.dialB, patterns.b)]);
      lines.push(["B − A", brief(patterns.difference[k])]);
    } else {
      lines.push(["weight now", weight(state.dial, patterns.a)]);
    }
    return lines;
  }
}

/** Why a token has its block, and its weight in the row that is shown. */
export function tokenLines({ labels, patterns }, token, row) {
  const block = labels.classes[token];
  const lines = [
    [null, `${token} ${JSON.stringify(labels.tokens[token])}`],
    ["block", labels.classNames[block], labels.colours[block]],
    ["why", labels.reasons[token]],
  ];
  if (token <= row) {
    lines.push([`weight from query ${row}`, brief(patterns.a[(row * (row + 1)) / 2 + token])]);
  }
  return lines;
}
