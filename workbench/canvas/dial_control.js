// The dial: a range, a number and keys that agree, and the player that turns it.

import { dialText } from "./dial_axes.js";

const COARSE = 0.01;
const FINE = 0.001;
const PAGE = 0.1;
const SETTLED = 350; // ms after the last key press before the value counts as released

const clamp = (v) => Math.min(Math.max(v, 0), 1);
const snap = (v, step) => clamp(Math.round(v / step) / Math.round(1 / step));

export class DialControl {
  /** onInput(value) while it moves, onRelease(value) when it rests. */
  constructor(range, number, onInput, onRelease) {
    Object.assign(this, { range, number, onInput, onRelease });
    this.active = false;
    this.fine = false;
    range.addEventListener("pointerdown", (event) => {
      this.active = true;
      this.fine = event.shiftKey;
    });
    range.addEventListener("pointermove", (event) => (this.fine = event.shiftKey));
    range.addEventListener("input", () => {
      this.move(snap(Number(range.value), this.fine ? FINE : COARSE));
    });
    range.addEventListener("change", () => this.release());
    for (const name of ["pointerup", "pointercancel"]) {
      range.addEventListener(name, () => (this.active = false));
    }
    range.addEventListener("keydown", (event) => this.key(event));
    range.addEventListener("blur", () => {
      if (this.timer) this.release();
    });
    number.addEventListener("input", () => {
      const value = Number(number.value);
      if (number.value !== "" && value >= 0 && value <= 1) this.move(value, number);
    });
    number.addEventListener("change", () => {
      this.show(this.value);
      this.release();
    });
  }

  key(event) {
    const step = event.shiftKey ? FINE : COARSE;
    const next = {
      ArrowRight: this.value + step,
      ArrowUp: this.value + step,
      ArrowLeft: this.value - step,
      ArrowDown: this.value - step,
      PageUp: this.value + PAGE,
      PageDown: this.value - PAGE,
      Home: 0,
      End: 1,
    }[event.key];
    if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.move(snap(next, FINE));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.release(), SETTLED);
  }

  get busy() {
    return this.active || Boolean(this.timer);
  }

  /** The elements follow with the next frame, after the canvases: see `render`. */
  move(value, from) {
    this.value = value;
    this.unshown = { except: from };
    this.onInput(value);
  }

  render() {
    if (this.unshown) this.show(this.value, this.unshown.except);
  }

  release() {
    clearTimeout(this.timer);
    this.timer = null;
    this.active = false;
    this.onRelease(this.value);
  }

  show(value, except) {
    this.unshown = null;
    this.value = value;
    this.range.value = String(value);
    this.range.style.setProperty("--at", value);
    if (except !== this.number) this.number.value = dialText(value);
  }
}

/** Runs the dial from 0 to 1; in single steps where the person asked for less motion. */
export class Player {
  constructor(onStep, onEnd) {
    Object.assign(this, { onStep, onEnd, running: false });
  }

  start() {
    this.running = true;
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.began = performance.now();
    if (still) this.steps(0);
    else this.request = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    if (!this.running) return;
    const share = Math.min(Math.max(now - this.began, 0) / 5000, 1);
    this.onStep(snap(share, FINE));
    if (share < 1) this.request = requestAnimationFrame((later) => this.tick(later));
    else this.stop();
  }

  steps(quarter) {
    if (!this.running) return;
    this.onStep(quarter / 4);
    if (quarter < 4) this.timer = setTimeout(() => this.steps(quarter + 1), 900);
    else this.stop();
  }

  stop() {
    if (!this.running) return;
    this.running = false;
    cancelAnimationFrame(this.request);
    clearTimeout(this.timer);
    this.onEnd();
  }
}
