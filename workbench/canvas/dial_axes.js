// What no dial changes on the map, drawn once and reused: axes, names, the hatch, the legend.

import { SHADES, css, raise } from "./dial_colour.js";

/** A canvas of that size in CSS pixels, sharp on dense screens; returns its context. */
export function fitCanvas(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** "0.62", "0.004", "3e-8": three significant digits at most, no longer than it must be. */
export function brief(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.0005) return value.toExponential(0).replace("-", "−").replace("e−", "e-");
  return (size < 0.1 ? value.toFixed(3) : value.toFixed(2)).replace("-", "−");
}

/** "0.62", but all the digits that a dial such as 0.999999 needs. */
export function dialText(value) {
  const rounded = Math.round(value * 1000) / 1000;
  return rounded === value ? rounded.toFixed(value * 100 === Math.round(value * 100) ? 2 : 3) : String(value);
}

export function percent(value) {
  if (value > 0 && value < 0.005) return "<1%";
  return `${Math.round(100 * value)}%`;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** As much of the text as fits, with an ellipsis where it does not. */
export function clipText(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) end--;
  return `${text.slice(0, end)}…`;
}

function tickStep(tokens) {
  return tokens > 160 ? 32 : tokens > 60 ? 16 : 8;
}

export function drawFrozen(canvas, layout, labels, theme) {
  const context = fitCanvas(canvas, layout.width, layout.height);
  context.clearRect(0, 0, layout.width, layout.height);
  context.textBaseline = "middle";
  layout.places.forEach((place) => {
    drawFuture(context, place, layout, labels, theme);
    drawKeyAxis(context, place, layout, labels, theme);
    if (place.x === layout.places[0].x) drawQueryAxis(context, place, layout, labels, theme);
  });
}

/** Later keys, which no query sees: a fine hatch, so that "cannot" differs from "weight 0". */
function drawFuture(context, place, layout, labels, theme) {
  context.save();
  context.beginPath();
  for (let j = 1; j < labels.tokens.length; j++) {
    const x = place.x + layout.keyX[j];
    context.rect(x, place.y, layout.keyWidth[j] + 0.3, j * layout.rowHeight);
  }
  context.clip();
  context.strokeStyle = theme.faint;
  context.lineWidth = 0.8;
  context.beginPath();
  for (let d = -layout.plotHeight; d < layout.plotWidth; d += 7) {
    context.moveTo(place.x + d, place.y + layout.plotHeight);
    context.lineTo(place.x + d + layout.plotHeight, place.y);
  }
  context.stroke();
  context.restore();
}

function drawKeyAxis(context, place, layout, labels, theme) {
  const T = labels.tokens.length;
  const bottom = place.y + layout.plotHeight;
  for (let j = 0; j < T; j++) {
    context.fillStyle = labels.colours[labels.classes[j]];
    context.fillRect(place.x + layout.keyX[j], place.y - 6, layout.keyWidth[j] + 0.2, 4);
  }
  context.fillStyle = theme.muted;
  if (layout.keysNamed) {
    context.font = `11px ${theme.code}`;
    context.textAlign = "right";
    for (let j = 0; j < T; j++) {
      context.save();
      context.translate(place.x + layout.keyX[j] + layout.keyWidth[j] / 2 + 2, bottom + 8);
      context.rotate(-Math.PI / 3.2);
      context.fillText(clipText(context, labels.shown[j], 86), 0, 0);
      context.restore();
    }
    return;
  }
  context.font = `11px ${theme.font}`;
  context.textAlign = "center";
  if (layout.grouped) return;
  for (let j = 0; j < T; j += tickStep(T)) {
    context.fillText(String(j), place.x + layout.keyX[j] + layout.keyWidth[j] / 2, bottom + 11);
  }
}

function drawQueryAxis(context, place, layout, labels, theme) {
  const T = labels.tokens.length;
  for (let i = 0; i < T; i++) {
    const y = place.y + i * layout.rowHeight;
    context.fillStyle = labels.colours[labels.classes[i]];
    context.fillRect(place.x - 6, y, 4, layout.rowHeight + 0.2);
    // A notch in the ribbon: this row finds no key to read, and falls back to itself.
    if (!labels.fallback[i]) continue;
    context.clearRect(place.x - 6, y, 2, layout.rowHeight);
  }
  context.fillStyle = theme.muted;
  context.textAlign = "right";
  context.font = layout.named ? `11px ${theme.code}` : `11px ${theme.font}`;
  for (let i = 0; i < T; i += layout.named ? 1 : tickStep(T)) {
    const text = layout.named ? clipText(context, labels.shown[i], layout.left - 14) : String(i);
    context.fillText(text, place.x - 10, place.y + (i + 0.5) * layout.rowHeight);
  }
}

/** The colour scale as a bar with ticks; signed: -1 … 1. */
export function drawLegend(canvas, table, signed, scale, theme) {
  const [width, height] = [signed ? 210 : 190, 30];
  const context = fitCanvas(canvas, width, height);
  context.clearRect(0, 0, width, height);
  const span = width - 24;
  const part = (v) => (signed ? 0.5 + (Math.sign(v) * raise(Math.abs(v), scale)) / 2 : raise(v, scale));
  // The bar is even along the palette, values are not: undo the scale for each pixel.
  for (let px = 0; px < span; px++) {
    const u = signed ? (2 * px) / span - 1 : px / span;
    const v = scale === "root" ? Math.sign(u) * u * u : u;
    context.fillStyle = css(table[Math.round((signed ? (v + 1) / 2 : v) * (SHADES - 1))]);
    context.fillRect(12 + px, 0, 1.5, 10);
  }
  context.font = `11px ${theme.font}`;
  context.fillStyle = theme.muted;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of signed ? [-1, -0.25, 0, 0.25, 1] : [0, 0.05, 0.25, 0.5, 1]) {
    const x = 12 + span * part(tick);
    context.fillRect(x - 0.5, 10, 1, 4);
    context.fillText(`${signed && tick > 0 ? "+" : ""}${tick}`.replace("-", "−"), x, 16);
  }
}
