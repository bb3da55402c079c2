// Downloads of what is drawn: the same arrays that the canvas was painted from.

import { SHARES, strength } from "./dial_math.js";
import { dialText } from "./dial_axes.js";

const UNITS = {
  scores: "nats, scaled by 1/sqrt(d_head), before the dial",
  relevance: "fraction in [0, 1], before the fallback",
  pattern: "fraction, each row sums to 1",
  entropy_bits: "bits, mean over queries that see at least two keys",
  fidelity: "fraction, mean over queries that see at least two keys",
  strength: "nats",
};

// Tokens travel as JSON strings: spaces stay visible, and no spreadsheet takes one for a formula.
const cell = (value) =>
  typeof value === "number" ? String(value) : `"${String(value).replaceAll('"', '""')}"`;

/** Long form: a line for each visible pair of query and key. */
export function asCsv(view, state) {
  const { layer, labels, header, patterns } = view;
  const at = (dial) => `weight_dial_${dial}${view.holdsAt(dial) ? "" : "_estimate"}`;
  const split = state.mode === "split";
  const columns = ["model_hash", "layer", "head", "query", "query_token", "query_block", "key",
    "key_token", "key_block", "score_nats", "relevance", at(0), at(state.dial)];
  if (split) columns.push(at(state.dialB), "difference_b_minus_a");
  const lines = [columns.map(cell).join(",")];
  const tokens = labels.tokens.map((t) => JSON.stringify(t));
  const base = state.head * layer.N;
  for (let i = 0, k = 0; i < layer.T; i++) {
    for (let j = 0; j <= i; j++, k++) {
      const values = [
        header.model.hash, header.layer, state.head, i, tokens[i],
        labels.classNames[labels.classes[i]], j, tokens[j], labels.classNames[labels.classes[j]],
        layer.scores[base + k], layer.relevance[base + k], patterns.zero[k], patterns.a[k],
      ];
      if (split) values.push(patterns.b[k], patterns.difference[k]);
      lines.push(values.map(cell).join(","));
    }
  }
  return `${lines.join("\n")}\n`;
}

function rowsOf(triangleValues, count, from = 0) {
  const rows = [];
  for (let i = 0, k = from; i < count; k += ++i) {
    rows.push(Array.from(triangleValues.subarray(k, k + i + 1)));
  }
  return rows;
}

function measuresOf({ layer, labels }, frame, h) {
  const shares = {};
  SHARES.forEach((name, s) => (shares[name] = frame.shares[h * SHARES.length + s]));
  const blocks = {};
  labels.classNames.forEach((name, c) => (blocks[name] = frame.classMass[h * layer.C + c]));
  return {
    dial: frame.dial,
    strength_nats: strength(layer.dialOf(h, frame.dial), layer.gain),
    entropy_bits: frame.entropyBits[h],
    entropy_normalised: frame.entropyNormalised[h],
    fidelity: frame.fidelity[h],
    fallback_share: frame.fallbackShare[h],
    shares,
    block_mass: blocks,
  };
}

export function asJson(view, state) {
  const { layer, labels, header, frames, patterns, check } = view;
  const { T, N } = layer;
  const from = state.head * N;
  const split = state.mode === "split";
  return JSON.stringify({
    kind: "localist-dial-view",
    version: 1,
    model: header.model,
    subject: header.subject,
    layer: header.layer,
    head: state.head,
    dial: state.dial,
    dial_b: split ? state.dialB : null,
    gain: layer.gain,
    temperature: layer.temperature,
    schedule: header.schedule,
    schedule_weight: layer.weights[state.head],
    scores_hold_at_dial: header.exact ? "any" : header.dial,
    check,
    units: UNITS,
    tokens: labels.tokens,
    blocks: labels.tokens.map((_, j) => labels.classNames[labels.classes[j]]),
    measures: measuresOf(view, frames.a, state.head),
    measures_b: split ? measuresOf(view, frames.b, state.head) : null,
    scores: rowsOf(layer.scores, T, from),
    relevance: rowsOf(layer.relevance, T, from),
    pattern: rowsOf(patterns.a, T),
    pattern_b: split ? rowsOf(patterns.b, T) : null,
  });
}

/** The map with a title above and the legend below, at the canvas's own resolution. */
export function asPng({ header, frames }, state, { still, base, legend, legendB }, theme) {
  const ratio = base.width / parseFloat(base.style.width);
  const [above, below, side] = [58, 44, 16];
  const canvas = document.createElement("canvas");
  canvas.width = base.width + 2 * side * ratio;
  canvas.height = base.height + (above + below) * ratio;
  const context = canvas.getContext("2d");
  context.fillStyle = theme.background;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(still, side * ratio, above * ratio);
  context.drawImage(base, side * ratio, above * ratio);
  context.drawImage(legend, side * ratio, canvas.height - (below - 8) * ratio);
  if (state.mode === "split") {
    context.drawImage(legendB, 2 * side * ratio + legend.width, canvas.height - (below - 8) * ratio);
  }
  context.scale(ratio, ratio);
  context.fillStyle = theme.ink;
  context.textBaseline = "top";
  context.font = `600 15px ${theme.font}`;
  const dials = state.mode === "split" ? `dials ${state.dial} and ${state.dialB}` : `dial ${state.dial}`;
  context.fillText(`Layer ${header.layer}, head ${state.head}, ${dials}`, side, 14);
  context.font = `12px ${theme.font}`;
  context.fillStyle = theme.muted;
  const h = state.head;
  const figures = `entropy ${frames.a.entropyBits[h].toFixed(2)} bits, fidelity ${frames.a.fidelity[h].toFixed(3)}`;
  context.fillText(`${header.model.name} ${header.model.hash.slice(0, 16)} · ${figures}`, side, 36);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** kind: csv, json or png. */
export async function saveView(kind, view, state, parts, theme) {
  const name = `attention_L${view.header.layer}H${state.head}_dial${dialText(state.dial)}.${kind}`;
  if (kind === "png") {
    save(parts.root, name, await asPng(view, state, parts, theme));
    return;
  }
  const text = kind === "csv" ? asCsv(view, state) : asJson(view, state);
  const type = kind === "csv" ? "text/csv" : "application/json";
  save(parts.root, name, new Blob([text], { type: `${type};charset=utf-8` }));
}

function save(root, name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.hidden = true;
  root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
