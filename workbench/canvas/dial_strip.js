// The text itself: one chip a token, coloured by block; the pinned row's weights glow beneath.

import { fitCanvas } from "./dial_axes.js";
import { raise } from "./dial_colour.js";

// Deeper, and the token's name would not stand out from it any more.
const DEEPEST = 0.45;
const PALE = 0.07;

// How a display string shows that a space goes before it: itself, or a sign in its place.
const SPACE = /^[\s␣▁Ġ]/;

/** A token as it reads on an axis: without its space, and visible where it is nothing else. */
export function shownToken(token) {
  const bare = token.replace(SPACE, "").trim();
  if (bare) return bare;
  return token.includes("\n") ? "↵" : token ? "␣" : "∅";
}

export class TokenStrip {
  constructor(parts, onPick, onHover) {
    this.parts = parts;
    this.onPick = onPick;
    this.onHover = onHover;
    this.chips = [];
    this.rects = [];
    const box = parts.tokens;
    box.addEventListener("click", (event) => {
      const chip = event.target.closest("button");
      if (chip) onPick(Number(chip.dataset.token));
    });
    box.addEventListener("pointerover", (event) => {
      const chip = event.target.closest("button");
      onHover(chip ? Number(chip.dataset.token) : null, chip);
    });
    box.addEventListener("pointerleave", () => onHover(null, null));
    box.addEventListener("focusin", (event) => {
      const chip = event.target.closest("button");
      if (chip?.matches(":focus-visible")) onHover(Number(chip.dataset.token), chip);
    });
    box.addEventListener("focusout", () => onHover(null, null));
    box.addEventListener("keydown", (event) => this.move(event));
  }

  move(event) {
    const at = this.chips.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    const next = this.chips[Math.min(Math.max(at + step, 0), this.chips.length - 1)];
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  /** Rebuild for another text or theme. */
  fill({ tokens, reasons, classes, classNames, classTitles, colours }) {
    this.classes = classes;
    this.colours = colours;
    this.chips = tokens.map((token, j) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.dataset.token = String(j);
      chip.textContent = shownToken(token);
      chip.tabIndex = j === 0 ? 0 : -1;
      chip.className = "lw-token";
      chip.classList.toggle("lw-word", SPACE.test(token) || j <= 1);
      chip.classList.toggle("lw-plain", classes[j] === classNames.length - 2);
      chip.style.setProperty("--block", colours[classes[j]]);
      chip.setAttribute(
        "aria-label",
        `Token ${j}, ${shownToken(token)}, ${classNames[classes[j]]}. ${reasons[j]}`,
      );
      return chip;
    });
    this.parts.tokens.replaceChildren(...this.chips);
    const counts = new Array(classNames.length).fill(0);
    for (const c of classes) counts[c]++;
    const keys = classNames.flatMap((name, c) => {
      if (!counts[c]) return [];
      const item = document.createElement("span");
      item.className = "lw-class";
      item.style.setProperty("--block", colours[c]);
      item.title = classTitles[c];
      const bold = document.createElement("b");
      bold.textContent = name;
      item.append(bold, ` ${counts[c]}`);
      return [item];
    });
    this.parts.classes.replaceChildren(...keys);
  }

  /** Measure where the chips stand; needed after each change of width. */
  arrange() {
    const box = this.parts.tokensBox.getBoundingClientRect();
    this.rects = this.chips.map((chip) => {
      const r = chip.getBoundingClientRect();
      return [r.left - box.left, r.top - box.top, r.width, r.height];
    });
    this.context = fitCanvas(this.parts.tokenHeat, box.width, box.height);
    this.size = [box.width, box.height];
  }

  mark(pinned) {
    this.chips.forEach((chip, j) => {
      chip.classList.toggle("lw-pinned", j === pinned);
      chip.setAttribute("aria-pressed", String(j === pinned));
    });
  }

  /** Weights of query `row` (a triangle's row beginning at `start`) behind the chips. */
  frame(values, start, row, scale) {
    const { context, rects } = this;
    if (!context) return;
    context.clearRect(0, 0, ...this.size);
    for (let j = 0; j < rects.length; j++) {
      const [x, y, w, h] = rects[j];
      context.fillStyle = this.colours[this.classes[j]];
      if (j > row) {
        context.globalAlpha = 0.05;
        context.fillRect(x, y, w, h);
        continue;
      }
      context.globalAlpha = PALE + (DEEPEST - PALE) * raise(values[start + j], scale);
      context.fillRect(x, y, w, h);
    }
    context.globalAlpha = 1;
  }
}
