// The map of all layers and heads: one figure each, to see where the dial bites and to go there.

import { SHADES, css, inkOn } from "./dial_colour.js";
import { brief } from "./dial_axes.js";

export const METRIC_NAMES = {
  entropy: "entropy (share of largest)",
  fidelity: "fidelity",
  semantic_share: "semantic share",
  self_share: "self share",
  previous_share: "previous share",
  sink_share: "sink share",
  other_share: "other share",
};
const SHARE_AT = { self_share: 0, sink_share: 1, previous_share: 2, semantic_share: 3, other_share: 4 };

/** A figure of head h in a frame; NaN where the browser does not know it. */
export function metricOf(frame, metric, h) {
  if (metric === "entropy") return frame.entropyNormalised[h];
  if (metric === "fidelity") return frame.fidelity[h];
  return metric in SHARE_AT ? frame.shares[h * 5 + SHARE_AT[metric]] : NaN;
}

export class LayerGrid {
  constructor(box, onPick) {
    this.box = box;
    this.cells = [];
    box.addEventListener("click", (event) => {
      const cell = event.target.closest("button");
      if (cell) onPick(Number(cell.dataset.layer), Number(cell.dataset.head));
    });
    box.addEventListener("keydown", (event) => this.move(event));
  }

  move(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const cell = event.target.closest("button");
    if (!step || !cell) return;
    event.preventDefault();
    const next =
      this.cells[Number(cell.dataset.layer) + step[0]]?.[Number(cell.dataset.head) + step[1]];
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  fill(layers, heads) {
    if (this.cells.length === layers && this.cells[0].length === heads) return;
    this.numbers = heads <= 9 && layers <= 12;
    this.box.style.setProperty("--heads", heads);
    this.box.classList.toggle("lw-dense", !this.numbers);
    this.cells = [];
    const rows = Array.from({ length: layers }, (_, l) => {
      const row = document.createElement("div");
      row.setAttribute("role", "row");
      row.className = "lw-grid-row";
      const name = document.createElement("span");
      name.setAttribute("role", "rowheader");
      name.textContent = `L${l}`;
      const cells = Array.from({ length: heads }, (_, h) => {
        const cell = document.createElement("button");
        cell.type = "button";
        cell.setAttribute("role", "gridcell");
        cell.dataset.layer = String(l);
        cell.dataset.head = String(h);
        cell.tabIndex = -1;
        return cell;
      });
      this.cells.push(cells);
      row.append(name, ...cells);
      return row;
    });
    this.box.replaceChildren(...rows);
  }

  paint(layer, head, metric, value, table) {
    const cell = this.cells[layer][head];
    const known = Number.isFinite(value);
    const word = table[Math.round(Math.min(Math.max(known ? value : 0, 0), 1) * (SHADES - 1))];
    cell.style.backgroundColor = css(word);
    cell.style.color = inkOn(word);
    if (this.numbers) cell.textContent = known ? value.toFixed(2) : "–";
    cell.setAttribute(
      "aria-label",
      `Layer ${layer}, head ${head}: ${METRIC_NAMES[metric] ?? metric} ${brief(value)}`,
    );
  }

  select(layer, head) {
    this.cells.flat().forEach((cell) => {
      const on = Number(cell.dataset.layer) === layer && Number(cell.dataset.head) === head;
      cell.setAttribute("aria-selected", String(on));
      cell.tabIndex = on ? 0 : -1;
    });
    [...this.box.children].forEach((row, l) => row.classList.toggle("lw-here", l === layer));
  }
}
