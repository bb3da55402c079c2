// Everything that is drawn: arranged when something else than a dial changes, painted every frame.

import { classColours, readTheme, sequentialTable, signedTable } from "./dial_colour.js";
import { keyOrder, mapLayout } from "./dial_layout.js";
import { drawLegend } from "./dial_axes.js";
import { MapPainter } from "./dial_paint.js";
import { TokenStrip } from "./dial_strip.js";
import { HeadMiniatures } from "./dial_heads.js";
import { LayerGrid, METRIC_NAMES, metricOf } from "./dial_grid.js";
import { Figures, Masses } from "./dial_masses.js";
import { Curve } from "./dial_curve.js";

export class Stage {
  /** handlers: onHead(h), onCell(layer, h), onToken(j), onTokenHover(j, chip). */
  constructor(root, parts, handlers) {
    Object.assign(this, { root, parts });
    this.painter = new MapPainter(parts.still, parts.base, parts.over);
    this.curve = new Curve(parts.curve);
    this.figures = new Figures(parts.figures);
    this.masses = new Masses(parts);
    this.heads = new HeadMiniatures(parts.heads, handlers.onHead);
    this.grid = new LayerGrid(parts.grid, handlers.onCell);
    this.strip = new TokenStrip(parts, handlers.onToken, handlers.onTokenHover);
    this.groupMass = (cls, panel) => this.view.classMass(cls, panel, this.state);
  }

  /** Take in a view; elements that serve it too stay, and with them the focus. */
  fill(view, state, look) {
    Object.assign(this, { view, state, look });
    const { header } = view;
    this.heads.fill(header.n_heads, header.head_notes);
    this.grid.fill(header.n_layers, header.n_heads);
    const metrics = header.grid_metrics.join();
    if (this.metrics === metrics) return;
    this.metrics = metrics;
    const options = header.grid_metrics.map((name) => {
      const option = document.createElement("option");
      option.value = name;
      option.textContent = METRIC_NAMES[name] ?? name.replaceAll("_", " ");
      return option;
    });
    this.parts.metric.replaceChildren(...options);
    if (!header.grid_metrics.includes(look.metric)) [look.metric] = header.grid_metrics;
    this.parts.metric.value = look.metric;
  }

  /** Sizes, colours and everything still; false while the canvas has no width. */
  arrange(view) {
    this.view = view;
    const { root, parts, state, look } = this;
    const { header, layer, labels } = view;
    if (!root.clientWidth) return false;
    const split = state.mode === "split";
    root.dataset.mode = state.mode;
    parts.second.hidden = !split;
    this.takeTheme();
    const { theme, tables } = this;
    labels.scale = look.scale;
    if (this.labels !== labels || this.coloured !== theme.name) {
      Object.assign(this, { labels, coloured: theme.name });
      labels.colours = classColours(theme.name, header.class_colours, header.class_names.length);
      this.strip.fill(labels);
      this.masses.fill(labels);
    }
    view.select(state.head);
    labels.read = layer.classesRead(state.head);
    labels.fallback = layer.fallback.subarray(state.head * layer.T, (state.head + 1) * layer.T);
    this.masses.markRead(labels.read);
    this.layout = mapLayout({
      width: parts.plot.clientWidth,
      tokens: header.n_tokens,
      groups: keyOrder(labels.classes, header.class_names.length, look.order === "group"),
      panels: split ? 3 : 1,
      ...this.measureNames(labels),
    });
    this.painter.arrange(this.layout, labels, theme, tables);
    this.heads.arrange(layer, theme);
    this.heads.select(state.head);
    this.grid.select(state.layer, state.head);
    this.strip.arrange();
    this.strip.mark(state.pinned);
    this.curve.arrange(view.sweepOf(state.head), state.head, theme, header.exact);
    drawLegend(parts.legend, tables.sequential, false, look.scale, theme);
    drawLegend(parts.legendB, tables.signed, true, look.scale, theme);
    parts.legendB.hidden = !split;
    return true;
  }

  takeTheme() {
    const { root, look } = this;
    let theme = readTheme(root);
    // The accent depends on the theme's name: set that first, then read again.
    root.dataset.theme = theme.name;
    theme = readTheme(root);
    const own = getComputedStyle(root);
    theme.accent = own.getPropertyValue("--lw-accent-ink").trim();
    this.theme = theme;
    const wanted = `${theme.name} ${look.scale}`;
    if (this.tablesFor === wanted) return;
    this.tablesFor = wanted;
    this.tables = {
      sequential: sequentialTable(theme.name, look.scale),
      signed: signedTable(theme.name, look.scale),
      even: sequentialTable(theme.name, "linear"),
    };
  }

  measureNames(labels) {
    const context = this.parts.base.getContext("2d");
    const { theme } = this;
    context.font = `11px ${theme.code}`;
    const widths = labels.shown.map((name) => context.measureText(name.slice(0, 16)).width);
    context.font = `600 11px ${theme.font}`;
    const nameWidths = labels.classNames.map((name) => context.measureText(name).width);
    return { longest: widths.reduce((a, b) => Math.max(a, b), 0), nameWidths };
  }

  /** One frame; row: the query whose weights profile and token strip show. */
  draw(row) {
    const { view, state, look } = this;
    const { layer, frames, patterns } = view;
    const split = state.mode === "split";
    const b = split ? frames.b : null;
    view.measure(state);
    // Canvases before elements: a canvas that writes text after an element has changed makes the
    // browser lay out the page twice.
    this.painter.frame(view, state, row, this.groupMass);
    this.strip.frame(patterns.a, (row * (row + 1)) / 2, row, look.scale);
    this.heads.frame(layer, frames.a, this.tables.sequential);
    this.curve.frame(state, frames, this.theme.sides);
    this.figures.frame(view, state.head, b);
    this.masses.frame(layer, state.head, state.pinned, frames.a, b, frames.zero);
  }

  paintGrid() {
    const { look, tables } = this;
    const { header, arrays, frames } = this.view;
    const metric = header.grid_metrics.indexOf(look.metric);
    for (let l = 0; l < header.n_layers; l++) {
      for (let h = 0; h < header.n_heads; h++) {
        const stored = arrays.grid[(metric * header.n_layers + l) * header.n_heads + h];
        const live = l === header.layer ? metricOf(frames.a, look.metric, h) : NaN;
        this.grid.paint(l, h, look.metric, Number.isNaN(live) ? stored : live, tables.even);
      }
    }
  }
}
