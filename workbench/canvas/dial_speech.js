// Words that follow once the dial rests: titles, notes, and what a screen reader is told.

import { brief, dialText, setText } from "./dial_axes.js";

/** Titles that change with head and layer, not with the dial. */
export function describeStill(parts, view, state) {
  const { header, layer, labels } = view;
  const split = state.mode === "split";
  setText(parts.title, `Layer ${state.layer} · head ${state.head}`);
  const note = header.head_notes[state.head];
  const weight = layer.weights[state.head];
  const share = weight === 1 ? "" : ` · takes ${brief(weight)} of the dial (${header.schedule})`;
  const lost = labels.fallback.reduce((sum, each) => sum + each, 0);
  const fallback = lost
    ? ` · ${lost} of ${labels.tokens.length} queries find no key to read and fall back to themselves`
    : "";
  setText(parts.subtitle, (note ? `reads ${note}` : header.model.name) + share + fallback);
  setText(parts.headsTitle, `Heads of layer ${header.layer}`);
  setText(parts.numberLabel, split ? "Dial A" : "Dial");
  const others = header.n_layers > 1
    ? `Layer ${header.layer} follows the dial; other layers stand at ${dialText(header.dial)} until you let go.`
    : "";
  setText(parts.gridNote, others);
}

/** row: the query that profile and strip show; badge: what the badge says. */
export function describeRest(parts, view, state, row, badge) {
  const { header, frames, labels } = view;
  const h = state.head;
  const say = (frame) =>
    `entropy ${brief(frame.entropyBits[h])} bits, fidelity ${brief(frame.fidelity[h])}`;
  const dial = `dial ${dialText(state.dial)}`;
  parts.dial.setAttribute("aria-valuetext", `${dial}, ${say(frames.a)}`);
  if (state.mode === "split") {
    parts.dialB.setAttribute("aria-valuetext", `dial ${dialText(state.dialB)}, ${say(frames.b)}`);
  }
  const { pinned } = state;
  const name = `“${labels.shown[row]}”`;
  const where = pinned === null ? `head ${h}` : `query ${pinned} ${name}, head ${h}`;
  setText(
    parts.massTitle,
    pinned === null ? `Where head ${h} looks` : `Where ${name} (${pinned}) looks`,
  );
  setText(parts.live, `Layer ${header.layer}, ${where}, ${dial}: ${say(frames.a)}. ${badge}.`);
  parts.base.setAttribute(
    "aria-label",
    `Attention of layer ${header.layer}, ${where} at ${dial}: ${say(frames.a)}. ` +
      "The table holds its numbers.",
  );
  setText(
    parts.stripNote,
    pinned === null
      ? `shaded by query ${row} ${name} · choose a token to pin its row`
      : `shaded by query ${row} ${name}, pinned · choose it again to let go`,
  );
}
