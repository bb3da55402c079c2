// Figures of the selected head: entropy, fidelity, shares, and the mass of each block.

import { SHARES, strength } from "./dial_math.js";
import { brief, percent, setText } from "./dial_axes.js";

const SHARE_WORDS = {
  semantic: ["by block", "keys of a block that this head reads"],
  self: ["itself", "the query's own position"],
  previous: ["previous", "the token just before"],
  sink: ["sink", "the begin-of-text token"],
  other: ["elsewhere", "keys that no rule of this head names"],
};
const SHARE_ORDER = ["semantic", "self", "previous", "sink", "other"];

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const FIGURES = [
  ["Entropy", "mean over queries of how spread a row is, in bits; lower is more concentrated"],
  ["Fidelity", "mean mass on the keys that this head is meant to read; a row without one counts 0"],
  ["Semantic share", "mean mass on keys of a block this head reads, itself, previous and sink aside"],
  ["Off-block odds", "what the dial multiplies the odds of a key of no relevance by"],
];

export class Figures {
  constructor(box) {
    this.cells = FIGURES.map(([name, help]) => {
      const cell = element("div", "lw-figure");
      cell.title = help;
      const [value, second, before] = [
        element("span", "lw-value"), element("span", "lw-value lw-value-b"), element("small"),
      ];
      const answer = element("dd");
      answer.append(value, second, before);
      cell.append(element("dt", "", name), answer);
      box.append(cell);
      return { value, second, before };
    });
  }

  /** b: the frame of dial B, or null. What deeper layers do at dial 0 is an estimate. */
  frame(view, head, b) {
    const { layer, frames } = view;
    const { a, zero } = frames;
    const about = view.holdsAt(0) ? "" : "≈ ";
    const values = (frame) => [
      `${frame.entropyBits[head].toFixed(2)} bits`,
      frame.fidelity[head].toFixed(3),
      frame.shares[head * SHARES.length + 3].toFixed(3),
      `× ${brief(Math.exp(-strength(layer.dialOf(head, frame.dial), layer.gain)))}`,
    ];
    const [now, then, start] = [values(a), b ? values(b) : null, values(zero)];
    const taken = strength(layer.dialOf(head, a.dial), layer.gain);
    this.cells.forEach((cell, n) => {
      setText(cell.value, now[n]);
      setText(cell.second, then ? then[n] : "");
      const nats = taken > 1e6 ? "∞" : taken.toFixed(2);
      setText(cell.before, n === 3 ? `strength ${nats} nats` : `at dial 0: ${about}${start[n]}`);
    });
  }
}

export class Masses {
  constructor(parts) {
    this.parts = parts;
    this.rows = [];
    this.shares = SHARE_ORDER.map((name) => {
      const [word, help] = SHARE_WORDS[name];
      const segments = ["a", "b"].map(() => element("span", `lw-share lw-share-${name}`));
      const key = element("span", "lw-share-key");
      const value = element("b");
      key.title = help;
      key.append(element("i", `lw-share-${name}`), `${word} `, value);
      return { name, segments, key, value, at: SHARES.indexOf(name) };
    });
    const bars = ["a", "b"].map((side, n) => {
      const bar = element("div", `lw-share-bar lw-bar-of-${side}`);
      bar.setAttribute("aria-hidden", "true");
      bar.append(...this.shares.map((s) => s.segments[n]));
      return bar;
    });
    const keys = element("div", "lw-share-keys");
    keys.append(...this.shares.map((s) => s.key));
    parts.shares.append(...bars, keys);
  }

  fill({ classNames, classTitles, colours, present }) {
    this.rows = classNames.flatMap((name, c) => {
      if (!present[c]) return [];
      const row = element("div", "lw-mass");
      row.title = classTitles[c];
      row.style.setProperty("--block", colours[c]);
      const [bar, second, tick] = [element("i"), element("i", "lw-bar-b"), element("u")];
      const track = element("span", "lw-mass-track");
      track.append(bar, second, tick);
      const value = element("span", "lw-mass-value");
      row.append(element("span", "lw-mass-name", name), track, value);
      return [{ c, row, bar, second, tick, value }];
    });
    this.parts.masses.replaceChildren(...this.rows.map((r) => r.row));
  }

  /** Blocks that the head reads stand out from those that it does not. */
  markRead(read) {
    for (const { c, row } of this.rows) row.classList.toggle("lw-read", read[c] === 1);
  }

  /** row: a pinned query, or null for the mean over queries. */
  frame(layer, head, row, a, b, zero) {
    const { C, T } = layer;
    const S = SHARES.length;
    const at = row === null ? head : head * T + row;
    const masses = (frame) => (row === null ? frame.classMass : frame.rowClassMass);
    const shares = (frame, share) =>
      Math.max((row === null ? frame.shares : frame.rowShares)[at * S + share.at], 0);
    for (const share of this.shares) {
      const now = shares(a, share);
      const then = b ? shares(b, share) : 0;
      share.segments[0].style.flexGrow = now;
      share.segments[1].style.flexGrow = then;
      setText(share.value, b ? `${percent(now)} → ${percent(then)}` : percent(now));
    }
    for (const { c, bar, second, tick, value } of this.rows) {
      const now = masses(a)[at * C + c];
      bar.style.transform = `scaleX(${now})`;
      tick.style.transform = `translateX(${100 * masses(zero)[at * C + c]}%)`;
      const then = b ? masses(b)[at * C + c] : 0;
      second.style.transform = `scaleX(${then})`;
      setText(value, b ? `${percent(now)} → ${percent(then)}` : percent(now));
    }
  }
}
