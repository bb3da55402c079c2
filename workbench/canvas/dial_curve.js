// The curve behind the slider: what the dial does to one head, from end to end.

import { Frame } from "./dial_math.js";
import { fitCanvas } from "./dial_axes.js";

const THUMB = 22; // px, as in dial.css: the track's ends are half a thumb further in
const HEIGHT = 64;

/** Entropy and fidelity of every head over the whole dial, for the curve behind the slider. */
export function sweep(layer, points) {
  const frame = new Frame(layer);
  const { H } = layer;
  const entropy = new Float32Array(H * points);
  const fidelity = new Float32Array(H * points);
  for (let p = 0; p < points; p++) {
    layer.measure(p / (points - 1), frame);
    for (let h = 0; h < H; h++) {
      entropy[h * points + p] = frame.entropyNormalised[h];
      fidelity[h * points + p] = frame.fidelity[h];
    }
  }
  return { points, entropy, fidelity };
}

/** Entropy and fidelity of one head over the dial; markers at the dials in use. */
export class Curve {
  constructor(canvas) {
    this.canvas = canvas;
    this.still = document.createElement("canvas");
  }

  arrange(sweep, head, theme, exact) {
    const width = this.canvas.parentElement.clientWidth;
    const height = HEIGHT;
    Object.assign(this, { sweep, head, theme, width, height });
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
    this.line(context, sweep.fidelity, theme.accent, [], 2);
    this.line(context, sweep.entropy, theme.ink, [5, 3], 1.5);
    context.font = `11px ${theme.font}`;
    context.textBaseline = "bottom";
    this.label(context, "fidelity", sweep.fidelity, theme.accent, 0.12);
    this.label(context, exact ? "entropy" : "entropy (estimate)", sweep.entropy, theme.ink, 0.12);
  }

  x(dial) {
    return THUMB / 2 + dial * (this.width - THUMB);
  }

  y(value) {
    return this.height - 4 - value * (this.height - 18);
  }

  at(values, dial) {
    const { points } = this.sweep;
    return values[this.head * points + Math.round(dial * (points - 1))];
  }

  line(context, values, colour, dash, width) {
    const { points } = this.sweep;
    context.beginPath();
    for (let p = 0; p < points; p++) {
      context.lineTo(this.x(p / (points - 1)), this.y(values[this.head * points + p]));
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }

  label(context, text, values, colour, dial) {
    context.fillStyle = colour;
    context.fillText(text, this.x(dial), this.y(this.at(values, dial)) - 2);
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
