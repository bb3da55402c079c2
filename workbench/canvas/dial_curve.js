// The curve behind the slider: what the dial does to one head, from end to end.

import { Frame } from "./dial_math.js";
import { fitCanvas } from "./dial_axes.js";

const THUMB = 22; // px, as in dial.css: the track's ends are half a thumb further in
const HEIGHT = 58;

const POINTS = 101;
const NAMED = 8; // the point at which the lines bear their names

/** Entropy (share of the largest) and fidelity of head h at POINTS even dial values. */
export function sweep(layer, h, frame) {
  const [entropy, fidelity] = [new Float32Array(POINTS), new Float32Array(POINTS)];
  for (let p = 0; p < POINTS; p++) {
    layer.measureHead(h, p / (POINTS - 1), frame);
    entropy[p] = frame.entropyNormalised[h];
    fidelity[p] = frame.fidelity[h];
  }
  return { entropy, fidelity };
}

/** Entropy and fidelity of one head over the dial; markers at the dials in use. */
export class Curve {
  constructor(canvas) {
    this.canvas = canvas;
    this.still = document.createElement("canvas");
  }

  arrange(swept, head, theme, exact) {
    const width = this.canvas.parentElement.clientWidth;
    const height = HEIGHT;
    Object.assign(this, { head, theme, width, height });
    this.context = fitCanvas(this.canvas, width, height);
    const context = fitCanvas(this.still, width, height);
    context.clearRect(0, 0, width, height);
    context.lineWidth = 1;
    context.strokeStyle = theme.faint;
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      context.beginPath();
      context.moveTo(this.x(tick), 4);
      context.lineTo(this.x(tick), height);
      context.stroke();
    }
    this.line(context, swept.fidelity, theme.accent, [], 2);
    this.line(context, swept.entropy, theme.ink, [5, 3], 1.5);
    context.font = `11px ${theme.font}`;
    const higher = swept.entropy[NAMED] > swept.fidelity[NAMED];
    const name = exact ? "entropy" : "entropy (estimate)";
    this.label(context, name, swept.entropy[NAMED], theme.ink, higher);
    this.label(context, "fidelity", swept.fidelity[NAMED], theme.accent, !higher);
  }

  x(dial) {
    return THUMB / 2 + dial * (this.width - THUMB);
  }

  y(value) {
    return this.height - 4 - value * (this.height - 18);
  }

  line(context, values, colour, dash, width) {
    context.beginPath();
    for (let p = 0; p < POINTS; p++) {
      context.lineTo(this.x(p / (POINTS - 1)), this.y(values[p]));
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }

  /** The name of a line stands on its outer side, clear of the other line, where there is room. */
  label(context, text, value, colour, wished) {
    const y = this.y(value);
    const above = (wished && y > 14) || y > this.height - 16;
    context.fillStyle = colour;
    context.textBaseline = above ? "bottom" : "top";
    context.fillText(text, this.x(NAMED / (POINTS - 1)), y + (above ? -3 : 3));
  }

  /** frames: {a, b}; B is marked in split mode only. */
  frame(state, frames, sides) {
    const { context } = this;
    context.clearRect(0, 0, this.width, this.height);
    context.drawImage(this.still, 0, 0, this.width, this.height);
    const split = state.mode === "split";
    this.mark(frames.a, state.dial, split ? sides[0] : this.theme.muted);
    if (split) this.mark(frames.b, state.dialB, sides[1]);
  }

  mark(frame, dial, colour) {
    const { context, theme, head } = this;
    const x = this.x(dial);
    context.fillStyle = colour;
    context.fillRect(x - 0.75, 4, 1.5, this.height);
    this.dot(x, frame.entropyNormalised[head], theme.ink);
    this.dot(x, frame.fidelity[head], theme.accent);
  }

  dot(x, value, colour) {
    const { context, theme } = this;
    context.beginPath();
    context.arc(x, this.y(value), 4, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = theme.background;
    context.stroke();
  }
}
