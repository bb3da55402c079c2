// The map's twin for readers of text: a table of one row's keys, or of all rows of the head.

import { SHARES } from "./dial_math.js";
import { brief } from "./dial_axes.js";

const RELATIONS = ["", "itself", "previous", "itself, previous", "sink", "itself, sink",
  "previous, sink", "itself, previous, sink"];

function cells(tag, texts) {
  return texts.map((text) => {
    const cell = document.createElement(tag);
    if (tag === "th") cell.scope = "col";
    cell.textContent = text;
    return cell;
  });
}

function row(tag, texts) {
  const made = document.createElement("tr");
  made.append(...cells(tag, texts));
  return made;
}

/** Columns and rows of the head, or of the pinned query; numbers stay numbers. */
export function tableOf(view, state) {
  const { layer, labels, frames, patterns } = view;
  const { head, pinned: query } = state;
  const split = state.mode === "split";
  if (query === null) {
    const { T } = layer;
    const S = SHARES.length;
    const of = (i, name) => frames.a.rowShares[(head * T + i) * S + SHARES.indexOf(name)];
    const columns = ["query", "token", "block", "entropy (bits)", "fidelity", "semantic", "itself",
      "previous", "sink", "elsewhere", "fallback"];
    const rows = labels.tokens.map((token, i) => [
      i, JSON.stringify(token), labels.classNames[labels.classes[i]],
      frames.a.rowEntropyBits[head * T + i], frames.a.rowFidelity[head * T + i],
      of(i, "semantic"), of(i, "self"), of(i, "previous"), of(i, "sink"), of(i, "other"),
      layer.fallback[head * T + i] ? "yes" : layer.rest[head * T + i] ? "at rest" : "no",
    ]);
    return { columns, rows };
  }
  const start = (query * (query + 1)) / 2;
  const base = head * layer.N + start;
  const about = (dial) => (view.holdsAt(dial) ? "" : " (estimate)");
  const columns = ["key", "token", "block", "relation", "score (nats)", "relevance",
    `weight at dial 0${about(0)}`, `${split ? "weight A" : "weight"}${about(state.dial)}`];
  if (split) columns.push(`weight B${about(state.dialB)}`, "B − A");
  const rows = [];
  for (let j = 0; j <= query; j++) {
    const values = [
      j, JSON.stringify(labels.tokens[j]), labels.classNames[labels.classes[j]],
      RELATIONS[layer.relation[start + j]], layer.scores[base + j], layer.relevance[base + j],
      patterns.zero[start + j], patterns.a[start + j],
    ];
    if (split) values.push(patterns.b[start + j], patterns.difference[start + j]);
    rows.push(values);
  }
  return { columns, rows };
}

export function drawTable(box, view, state) {
  const { columns, rows } = tableOf(view, state);
  const { head, pinned } = state;
  const { layer } = view.header;
  const table = document.createElement("table");
  const caption = table.createCaption();
  caption.textContent =
    pinned === null
      ? `Queries of head ${head}, layer ${layer}. Pin a row for its keys.`
      : `Keys of query ${pinned} (${JSON.stringify(view.labels.tokens[pinned])}), head ${head}, ` +
        `layer ${layer}`;
  const top = table.createTHead();
  top.append(row("th", columns));
  const body = table.createTBody();
  for (const values of rows) {
    body.append(row("td", values.map((v, n) => (n > 0 && typeof v === "number" ? brief(v) : String(v)))));
  }
  box.replaceChildren(table);
}
