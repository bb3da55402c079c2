// Palettes. Sequential: monotone in lightness, so that it survives any colour vision and a printer.
// Signed: blue for less, orange for more. Blocks: distinguishable hues; names always stand beside.

export const SHADES = 4096;

const SEQUENTIAL = {
  light: ["#f6f8f9", "#d3e8ea", "#93cbd2", "#4a9fbd", "#2b72ab", "#2b4a8c", "#241f5e"],
  dark: ["#171a22", "#272a58", "#36458f", "#3873a6", "#3fa19c", "#86cf7b", "#f5ec78"],
};
const SIGNED = {
  light: ["#174a8b", "#4a86c5", "#a9c9e8", "#f6f6f4", "#f6c08d", "#dd7f2b", "#9c4a06"],
  dark: ["#9bd0ff", "#4b93d8", "#24507f", "#1a1c22", "#7a481b", "#dd8636", "#ffd09a"],
};
const BLOCKS = {
  light: [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56a6d9",
    "#882255", "#7a8b1f", "#332288", "#2fa398", "#aa4499", "#8c6d46",
  ],
  dark: [
    "#4ea8de", "#ff8a4c", "#2fc79a", "#e79cc4", "#e3b341", "#8fd0f5",
    "#d8709b", "#b5c452", "#9b90ee", "#57cfc2", "#d68ad0", "#c2a27a",
  ],
};
const NO_BLOCK = { light: "#8a8f98", dark: "#8d94a1" };
const BEGIN = { light: "#4b5563", dark: "#b6bdc9" };
export const SIDES = { light: ["#1f5fa8", "#c05a08"], dark: ["#6db3f2", "#f0994a"] };

function parse(hex) {
  const n = parseInt(hex.slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

const toLinear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const toGamma = (v) => (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);

function toOklab([r, g, b]) {
  const [x, y, z] = [r, g, b].map((v) => toLinear(v / 255));
  const l = Math.cbrt(0.4122214708 * x + 0.5363325363 * y + 0.0514459929 * z);
  const m = Math.cbrt(0.2119034982 * x + 0.6806995451 * y + 0.1073969566 * z);
  const s = Math.cbrt(0.0883024619 * x + 0.2817188376 * y + 0.6299787005 * z);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromOklab([L, a, b]) {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((v) => Math.round(255 * Math.min(Math.max(toGamma(Math.max(v, 0)), 0), 1)));
}

/** Position in [0, 1] on a list of colours, mixed evenly to the eye -> [r, g, b]. */
function at(stops, position) {
  const x = Math.min(Math.max(position, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(x), stops.length - 2);
  const [a, b] = [toOklab(parse(stops[i])), toOklab(parse(stops[i + 1]))];
  return fromOklab(a.map((v, k) => v + (b[k] - v) * (x - i)));
}

const pack = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** How far up the palette a value in [0, 1] goes. The root shows weights below 0.1 apart. */
export function raise(value, scale) {
  return scale === "root" ? Math.sqrt(value) : value;
}

/** Colours of values 0 … 1 in SHADES even steps, as little-endian RGBA words. */
export function sequentialTable(theme, scale) {
  const table = new Uint32Array(SHADES);
  for (let k = 0; k < SHADES; k++) {
    table[k] = pack(at(SEQUENTIAL[theme], raise(k / (SHADES - 1), scale)));
  }
  return table;
}

/** Colours of differences -1 … 1 in SHADES even steps; 0 is the middle of the palette. */
export function signedTable(theme, scale) {
  const table = new Uint32Array(SHADES);
  for (let k = 0; k < SHADES; k++) {
    const d = (2 * k) / (SHADES - 1) - 1;
    table[k] = pack(at(SIGNED[theme], 0.5 + (Math.sign(d) * raise(Math.abs(d), scale)) / 2));
  }
  return table;
}

export function css(word) {
  return `rgb(${word & 255},${(word >> 8) & 255},${(word >> 16) & 255})`;
}

/** Black or white, whichever reads better on the colour: at least 4.5 : 1 on any. */
export function inkOn(word) {
  const [r, g, b] = [word & 255, (word >> 8) & 255, (word >> 16) & 255].map((v) => toLinear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

/** A hue used once more for the n-th dozen of blocks: first lighter or darker, then turned. */
function again(colour, n) {
  if (n === 0) return colour;
  const [L, a, b] = toOklab(parse(colour));
  const lightness = L + (L < 0.6 ? 0.17 : -0.19);
  const mixed = n % 2 ? [lightness, 0.85 * a, 0.85 * b] : [L, -b, a];
  return css(pack(fromOklab(mixed)));
}

/** One colour a class; the last two classes are NONE and BOS. Given colours win. */
export function classColours(theme, given, count) {
  const list = BLOCKS[theme];
  return Array.from({ length: count }, (_, c) => {
    if (given[c] && CSS.supports("color", given[c])) return given[c];
    if (c === count - 2) return NO_BLOCK[theme];
    if (c === count - 1) return BEGIN[theme];
    return again(list[c % list.length], Math.floor(c / list.length));
  });
}

/** What canvases need of the page's theme; read when the theme changes, not per frame. */
export function readTheme(element) {
  const style = getComputedStyle(element);
  const rgb = (colour) => {
    const paint = readTheme.context;
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  readTheme.context ??= Object.assign(document.createElement("canvas"), {
    width: 1,
    height: 1,
  }).getContext("2d", { willReadFrequently: true });
  const background = rgb(style.getPropertyValue("--lw-surface") || "#fff");
  const ink = rgb(style.color);
  const dark = toOklab(background)[0] < 0.5;
  const mix = (alpha) => `rgba(${ink.join(",")},${alpha})`;
  return {
    name: dark ? "dark" : "light",
    background: `rgb(${background.join(",")})`,
    ink: mix(1),
    muted: mix(0.7),
    faint: mix(0.16),
    hair: mix(0.3),
    font: style.fontFamily,
    code: style.getPropertyValue("--lw-code") || "monospace",
    sides: SIDES[dark ? "dark" : "light"],
  };
}
