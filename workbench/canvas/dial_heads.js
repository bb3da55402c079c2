// Heads of this layer to pick from: a live miniature of each pattern, its entropy and fidelity.

import { SHADES } from "./dial_colour.js";
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
    this.canvas ??= document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.cards = Array.from({ length: count }, (_, h) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "lw-head";
      button.dataset.head = String(h);
      const name = document.createElement("span");
      name.textContent = `Head ${h}`;
      const room = document.createElement("i");
      button.append(name, room);
      return { button, room };
    });
    this.box.replaceChildren(...this.cards.map((card) => card.button), this.canvas);
  }

  /** One canvas serves all cards: a frame then costs one upload, not one a head. */
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
    const [left, top] = [this.box.scrollLeft, this.box.scrollTop];
    const home = this.box.getBoundingClientRect();
    for (const card of this.cards) {
      const at = card.room.getBoundingClientRect();
      Object.assign(card, { x: at.left - home.left + left, y: at.top - home.top + top, size: at.width });
    }
    const last = this.cards.at(-1);
    this.size = [home.width, last.y + last.size + 2 * BAR + 6];
    this.context = fitCanvas(this.canvas, ...this.size);
    this.context.font = `11px ${theme.font}`;
    this.context.textBaseline = "middle";
  }

  select(head) {
    this.cards.forEach(({ button }, h) => button.setAttribute("aria-pressed", String(h === head)));
  }

  frame(layer, frame, table) {
    const { theme, bins, context, words, largest } = this;
    context.clearRect(0, 0, ...this.size);
    context.imageSmoothingEnabled = false;
    for (let h = 0; h < this.cards.length; h++) {
      const { x, y, size } = this.cards[h];
      this.reduce(layer, frame, h);
      for (let i = 0, at = 0; i < bins; i++) {
        for (let j = 0; j < bins; j++, at++) {
          words[at] = j > i ? 0 : table[(largest[at] * (SHADES - 1) + 0.5) | 0];
        }
      }
      this.smallContext.putImageData(this.image, 0, 0);
      context.drawImage(this.small, x, y, size, size);
      this.bar(x, y + size + 6, size, frame.entropyNormalised[h], theme.muted, "H");
      this.bar(x, y + size + 6 + BAR, size, frame.fidelity[h], theme.accent, "F");
    }
  }

  bar(x, y, size, value, colour, letter) {
    const { context, theme } = this;
    const room = size - 46;
    context.fillStyle = theme.faint;
    context.fillRect(x + 14, y + 4, room, 5);
    context.fillStyle = colour;
    context.fillRect(x + 14, y + 4, room * value, 5);
    context.fillStyle = theme.ink;
    context.textAlign = "left";
    context.fillText(letter, x, y + 7);
    context.textAlign = "right";
    context.fillText(value.toFixed(2), x + size, y + 7);
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
