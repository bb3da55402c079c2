// Says how far the numbers on the screen are to be trusted.

import { Frame } from "./dial_math.js";
import { brief } from "./dial_axes.js";

// Both sides hold float32 scores near 80 nats at worst, where one rounding is 4e-6 of a weight.
export const TOLERANCE = 1e-5;

/** Largest |a - b| and mean moved mass of a row (half the sum of |a - b|), two triangles. */
function compare(a, b, rows, from = 0) {
  let largest = 0;
  let moved = 0;
  for (let i = 0, k = 0; i < rows; i++) {
    for (let j = 0; j <= i; j++, k++) {
      const d = Math.abs(a[k] - b[from + k]);
      moved += d;
      // Written so that NaN counts as the largest difference there is.
      if (!(d <= largest)) largest = Number.isNaN(d) ? Infinity : d;
    }
  }
  return { largest, moved: moved / 2 / rows };
}

/** Browser against Python at the dial that Python computed, over all heads. */
export function verify(layer, header, arrays) {
  const frame = layer.measure(header.dial, new Frame(layer));
  const own = new Float32Array(layer.N);
  let [largest, figures] = [0, 0];
  for (let h = 0; h < layer.H; h++) {
    layer.pattern(h, frame, own);
    largest = Math.max(largest, compare(own, arrays.pattern, layer.T, h * layer.N).largest);
    figures = Math.max(
      figures,
      Math.abs(frame.entropyBits[h] - arrays.entropy_bits[h]),
      Math.abs(frame.fidelity[h] - arrays.fidelity[h]),
    );
  }
  return { dial: header.dial, largest, figures, agrees: largest <= TOLERANCE };
}

/** How far the old scores' answer at the new dial was from Python's: what the estimate was worth. */
export function judgeEstimate(oldLayer, header, arrays) {
  const frame = oldLayer.measure(header.dial, new Frame(oldLayer));
  const own = new Float32Array(oldLayer.N);
  let [largest, moved] = [0, 0];
  for (let h = 0; h < oldLayer.H; h++) {
    oldLayer.pattern(h, frame, own);
    const off = compare(own, arrays.pattern, oldLayer.T, h * oldLayer.N);
    largest = Math.max(largest, off.largest);
    moved += off.moved / oldLayer.H;
  }
  return { largest, moved };
}

/** -> {kind, text, title}; kind is good, busy, rough or bad. */
export function badgeOf({ header, check }, state, { waiting, silent }) {
  const at = `dial ${brief(header.dial)}`;
  if (waiting && waiting.layer !== header.layer) {
    return { kind: "busy", text: `layer ${waiting.layer} on its way …`, title: "Python computes that layer" };
  }
  if (silent) {
    return { kind: "bad", text: "no answer from Python yet", title: "These numbers are the browser's own" };
  }
  if (state.dial !== header.dial) {
    return header.exact
      ? {
          kind: "busy",
          text: waiting ? "checking …" : "live · exact scores",
          title: "This layer's scores do not depend on the dial; Python checks on release",
        }
      : {
          kind: "rough",
          text: waiting ? "estimate · checking …" : `estimate · scores of ${at}`,
          title: `Deeper layers' scores move with the dial; shown with those of ${at} until release`,
        };
  }
  if (!check.agrees) {
    return {
      kind: "bad",
      text: `differs · max |Δ| ${brief(check.largest)}`,
      title: `Browser and Python disagree at ${at} by more than ${TOLERANCE}`,
    };
  }
  const off = check.estimate;
  const past = off ? ` · estimate was off by ${brief(off.largest)}` : "";
  const moved = off ? ` The estimate had ${(100 * off.moved).toFixed(1)} % of a row's mass misplaced.` : "";
  return {
    kind: "good",
    text: `verified · max |Δ| ${brief(check.largest)}${past}`,
    title:
      `Python recomputed every head at ${at}; the largest difference of a weight is ` +
      `${check.largest.toExponential(1)}, of a figure ${check.figures.toExponential(1)}.${moved}`,
  };
}
