// The dial canvas: takes views from Python, answers every drag frame itself, reports on release.

import { decodePayload } from "./dial_payload.js";
import { drawTable } from "./dial_table.js";
import { saveView } from "./dial_export.js";
import { DialControl, Player } from "./dial_control.js";
import { Pointer, Tip, tokenLines } from "./dial_pointer.js";
import { badgeOf } from "./dial_badge.js";
import { View } from "./dial_view.js";
import { Stage } from "./dial_stage.js";
import { describeRest, describeStill } from "./dial_speech.js";
import { Link } from "./dial_link.js";

const SETTLE = 180; // ms without a frame before slow text (labels, live region, table) follows
const KEPT_FRAMES = 2048;

class DialCanvas {
  constructor(root) {
    this.root = root;
    this.parts = { root };
    for (const node of root.querySelectorAll("[data-part]")) this.parts[node.dataset.part] = node;
    this.state = { dial: 0, dialB: 1, head: 0, layer: 0, mode: "single", pinned: null };
    this.look = { order: "group", scale: "root", metric: "entropy", table: false };
    this.frameTimes = new Float64Array(KEPT_FRAMES);
    this.frameCount = 0;
    this.onFrame = () => this.draw();
    this.link = new Link(() => (this.view ? this.state : null), () => this.schedule());
    this.stage = new Stage(root, this.parts, {
      onHead: (h) => this.pick(this.view.header.layer, h),
      onCell: (l, h) => this.pick(l, h),
      onToken: (j) => this.pin(this.state.pinned === j ? null : j),
      onTokenHover: (j, chip) => this.explain(j, chip),
    });
    this.buildDial();
    this.buildMap();
    this.watch();
  }

  buildDial() {
    const { parts } = this;
    const control = (name, range, number) =>
      new DialControl(range, number, (value) => this.turn(name, value), () => this.report());
    this.dialA = control("dial", parts.dial, parts.number);
    this.dialB = control("dialB", parts.dialB, parts.numberB);
    this.player = new Player(
      (value) => this.dialA.move(value),
      () => {
        this.showPlaying(false);
        this.report();
      },
    );
    parts.play.addEventListener("click", () => {
      if (this.player.running) return this.player.stop();
      this.showPlaying(true);
      return this.player.start();
    });
  }

  buildMap() {
    const { parts } = this;
    this.tip = new Tip(parts.tip);
    this.pointer = new Pointer(
      parts.plot,
      this.tip,
      () => ({ view: this.view, state: this.state, layout: this.stage.layout }),
      (hover) => this.onHover(hover),
      (row) => this.pin(row),
    );
    this.root.addEventListener("click", (event) => this.onButton(event.target.closest("button")));
    parts.metric.addEventListener("change", () => {
      this.look.metric = parts.metric.value;
      this.stage.paintGrid();
    });
    parts.tableToggle.addEventListener("click", () => {
      this.look.table = !this.look.table;
      this.settle();
    });
  }

  /** Widths, fonts and themes change without a word from Python. */
  watch() {
    this.root.addEventListener("transitionend", (event) => {
      if (event.target === this.root && event.propertyName === "outline-color") this.arrange();
    });
    this.observer = new ResizeObserver(() => {
      if (this.root.clientWidth !== this.width) this.arrange();
    });
    this.observer.observe(this.root);
    document.fonts?.ready.then(() => this.arrange());
  }

  update({ data, setStateValue }) {
    this.link.setStateValue = setStateValue;
    if (!(data instanceof Uint8Array) || data.length === 0) {
      this.showEmpty("Nothing to turn yet", "Choose a model and write a text: its attention will stand here.");
      return;
    }
    try {
      this.take(new View(decodePayload(data), this.view));
    } catch (error) {
      this.showEmpty("This view cannot be drawn", `${error.message} Run the page again.`);
      console.warn("Dial canvas:", error);
    }
  }

  showEmpty(title, text) {
    this.view = null;
    this.parts.emptyTitle.textContent = title;
    this.parts.emptyText.textContent = text;
    this.parts.empty.hidden = false;
    this.parts.body.hidden = true;
  }

  take(view) {
    this.view = view;
    this.adopt();
    this.parts.empty.hidden = true;
    this.parts.body.hidden = false;
    this.stage.fill(view, this.state, this.look);
    this.arrange();
  }

  /** Whose choices count: Python's once it has seen all of ours, ours while we are ahead. */
  adopt() {
    const { state, link, view } = this;
    const { header, fresh } = view;
    const { choice } = header;
    const heard = link.hear(header.ack, fresh);
    const busy = this.dialA.busy || this.dialB.busy || this.player.running || link.pending;
    if (fresh || (heard && !busy)) {
      Object.assign(state, {
        dial: choice.dial,
        dialB: choice.dial_b,
        head: choice.head,
        mode: choice.mode,
        pinned: choice.pinned_row,
      });
      this.dialA.show(state.dial);
      this.dialB.show(state.dialB);
    }
    state.layer = link.waiting ? link.waiting.layer : header.layer;
    state.head = Math.min(state.head, header.n_heads - 1);
    if (state.layer === header.layer) this.root.removeAttribute("aria-busy");
  }

  turn(name, value) {
    this.state[name] = value;
    this.schedule();
  }

  pick(layer, head) {
    const { state } = this;
    if (layer === state.layer && head === state.head) return;
    const elsewhere = layer !== this.view.header.layer;
    Object.assign(state, { layer, head });
    this.arrange();
    if (!elsewhere) {
      this.link.reportSoon();
      return;
    }
    this.root.setAttribute("aria-busy", "true");
    this.report();
  }

  pin(row) {
    if (row === this.state.pinned) return;
    this.state.pinned = row;
    this.stage.strip.mark(row);
    this.stage.painter.overlay(this.pointer.hover, row);
    this.schedule();
    this.link.reportSoon();
  }

  onButton(button) {
    if (!button || !this.view) return;
    const { mode, order, scale, download } = button.dataset;
    if (mode && mode !== this.state.mode) {
      this.state.mode = mode;
      this.link.reportSoon();
    }
    if (order) this.look.order = order;
    if (scale) this.look.scale = scale;
    if (mode || order || scale) this.arrange();
    if (!download) return;
    this.draw();
    saveView(download, this.view, this.state, this.parts, this.stage.theme);
  }

  showPlaying(on) {
    this.parts.play.setAttribute("aria-pressed", String(on));
    this.parts.playText.textContent = on ? "Stop" : "Play the dial from 0 to 1";
  }

  report() {
    this.link.report();
    this.schedule();
  }

  arrange() {
    if (!this.view || !this.stage.arrange(this.view)) return;
    const { state, look } = this;
    this.width = this.root.clientWidth;
    const pressed = { mode: state.mode, order: look.order, scale: look.scale };
    for (const [name, value] of Object.entries(pressed)) {
      for (const button of this.root.querySelectorAll(`button[data-${name}]`)) {
        button.setAttribute("aria-pressed", String(button.dataset[name] === value));
      }
    }
    describeStill(this.parts, this.view, state);
    this.stage.painter.overlay(this.pointer.hover, state.pinned);
    this.draw();
    this.stage.paintGrid();
  }

  schedule() {
    this.requested ??= requestAnimationFrame(this.onFrame);
  }

  draw() {
    this.requested = null;
    if (!this.view || !this.stage.layout) return;
    const began = performance.now();
    this.stage.draw(this.activeRow());
    this.dialA.render();
    this.dialB.render();
    this.showBadge();
    this.frameTimes[this.frameCount++ % KEPT_FRAMES] = performance.now() - began;
    clearTimeout(this.settleTimer);
    this.settleTimer = setTimeout(() => this.settle(), SETTLE);
  }

  activeRow() {
    return this.pointer.hover?.row ?? this.state.pinned ?? this.view.layer.T - 1;
  }

  showBadge() {
    const { kind, text, title } = badgeOf(this.view, this.state, this.link);
    const { badge, badgeText } = this.parts;
    if (badgeText.textContent === text && badge.dataset.kind === kind) return;
    badge.dataset.kind = kind;
    badge.title = title;
    badgeText.textContent = text;
  }

  settle() {
    if (!this.view) return;
    const { parts, view, state, look } = this;
    describeRest(parts, view, state, this.activeRow(), parts.badgeText.textContent);
    this.stage.heads.describe(view.frames.a);
    this.stage.paintGrid();
    parts.tableToggle.setAttribute("aria-pressed", String(look.table));
    parts.table.hidden = !look.table;
    if (look.table) drawTable(parts.table, view, state);
  }

  onHover(hover) {
    this.stage.painter.overlay(hover, this.state.pinned);
    if (hover?.row === this.hoveredRow) return;
    this.hoveredRow = hover?.row;
    this.schedule();
  }

  explain(token, chip) {
    if (token === null) this.tip.hide();
    else this.tip.beside(tokenLines(this.view, token, this.activeRow()), chip);
  }

  destroy() {
    this.observer.disconnect();
    this.player.running = false;
    cancelAnimationFrame(this.requested);
    clearTimeout(this.settleTimer);
    this.link.stop();
    this.view = null;
  }
}

const canvases = new WeakMap();

export default function mountDialCanvas(component) {
  const root = component.parentElement.querySelector('[data-part="root"]');
  let canvas = canvases.get(root);
  if (!canvas) {
    const made = new DialCanvas(root);
    canvas = made;
    canvases.set(root, made);
    // For benchmarks: milliseconds of the last frames' work.
    const kept = () => made.frameTimes.subarray(0, Math.min(made.frameCount, KEPT_FRAMES));
    Object.defineProperty(root, "__frameTimes", { get: () => Array.from(kept()) });
  }
  canvas.update(component);
  return () => {
    canvas.destroy();
    canvases.delete(root);
  };
}
