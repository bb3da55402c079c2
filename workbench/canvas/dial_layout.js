// Where things stand on the attention map: pure geometry in CSS pixels, no drawing.

const GAP = 6; // between groups of keys
const NARROWEST_GROUP = 24; // so that a slanted group name fits
const TALLEST_CELL = 34;
const READABLE_CELL = 11; // below this, token names do not fit beside their row
export const LONGEST_NAME = 84; // px of a slanted name before it is cut
const FIGURE_ROOM = 36;
const TALLEST_PLAIN = 620;
const TALLEST_NAMED = 720;
const NAME_AREA = 96;
const TICK_AREA = 34;
export const OVERHANG = 60; // of a slanted name to the right of its group

/**
 * Keys in display order: by position, or by class and then position. The sink's class, the last one,
 * comes first, as it does in the text; the class of no block, large and dull, closes the row.
 */
export function keyOrder(classes, count, grouped) {
  const keys = Array.from(classes, (_, j) => j);
  if (!grouped) return [{ cls: -1, keys }];
  const groups = [];
  for (let n = 0; n < count; n++) {
    const c = n === 0 ? count - 1 : n - 1;
    const members = keys.filter((j) => classes[j] === c);
    if (members.length) groups.push({ cls: c, keys: members });
  }
  return groups;
}

/**
 * Columns of one panel: groups get widths in proportion to their keys, none below the narrowest.
 * Returns groups with x and width, and x, width and display index of each key.
 */
export function columns(groups, tokens, width) {
  const gaps = GAP * (groups.length - 1);
  const least = groups.length > 1 ? Math.min(NARROWEST_GROUP, (width - gaps) / groups.length) : 0;
  // Widen narrow groups first, share the rest among the others.
  const narrow = new Set();
  let cell = 0;
  for (let pass = 0; pass <= groups.length; pass++) {
    const wide = groups.filter((g) => !narrow.has(g));
    const keys = wide.reduce((sum, g) => sum + g.keys.length, 0);
    cell = keys ? (width - gaps - narrow.size * least) / keys : 0;
    const more = wide.filter((g) => g.keys.length * cell < least);
    if (!more.length) break;
    more.forEach((g) => narrow.add(g));
  }
  const keyX = new Float32Array(tokens);
  const keyWidth = new Float32Array(tokens);
  const display = new Uint16Array(tokens);
  let x = 0;
  let index = 0;
  const placed = groups.map((group) => {
    const size = narrow.has(group) ? least : group.keys.length * cell;
    const each = size / group.keys.length;
    const from = index;
    group.keys.forEach((j, n) => {
      keyX[j] = x + n * each;
      keyWidth[j] = each;
      display[j] = index++;
    });
    const result = { ...group, x, width: size, from };
    x += size + GAP;
    return result;
  });
  return { groups: placed, keyX, keyWidth, display, cell };
}

/** Room for the longest slanted name and its figure, which climb at 53 degrees. */
function slantedHeight(groups, nameWidths) {
  const widths = groups.filter((group) => group.slanted).map((group) => nameWidths[group.cls]);
  return 18 + 0.8 * (Math.min(Math.max(...widths), LONGEST_NAME) + FIGURE_ROOM);
}

/** Whether each group's name fits level above it, clear of a slanted neighbour's, or must slant. */
function slantNames(groups, nameWidths) {
  let before = false;
  for (const group of groups) {
    const need = Math.max(nameWidths[group.cls] ?? 0, 28) + (before ? 66 : 4);
    before = group.slanted = group.width < need;
  }
  return groups.some((group) => group.slanted);
}

/**
 * The whole map. options: {width, tokens, groups, panels 1 or 3, longest (pixels of the longest
 * token name), nameWidths (pixels of each class's name)}. Panels stand side by side where each gets
 * 250 px, else below one another.
 */
export function mapLayout({ width, tokens, groups, panels, longest, nameWidths }) {
  const grouped = groups[0].cls >= 0;
  const stacked = panels > 1 && width / panels < 250;
  const across = stacked ? 1 : panels;
  const between = 18;
  const share = (width - between * (across - 1)) / across;
  // A map may be a little taller where that lets every row bear its name.
  const tallest = tokens * READABLE_CELL <= TALLEST_NAMED ? TALLEST_NAMED : TALLEST_PLAIN;
  const named = (share - NAME_AREA) / tokens >= READABLE_CELL && tallest === TALLEST_NAMED;
  const left = named ? Math.min(longest + 22, NAME_AREA + 20) : TICK_AREA;
  // Names beside the first panel of a row serve the others too.
  const inner = (width - left - between * (across - 1)) / across;
  const fits = Math.min(inner, Math.max(tokens * TALLEST_CELL, 28 * groups.length) + GAP * (groups.length - 1));
  const trial = grouped ? columns(groups, tokens, fits).groups : [];
  const slanted = grouped && slantNames(trial, nameWidths);
  const plotWidth = slanted && trial.at(-1).slanted ? Math.min(fits, inner - OVERHANG) : fits;
  const wanted = named ? Math.max(plotWidth, tokens * READABLE_CELL) : plotWidth;
  const rowHeight = Math.min(Math.min(wanted, tallest) / tokens, TALLEST_CELL);
  const plotHeight = rowHeight * tokens;
  const col = columns(groups, tokens, plotWidth);
  if (grouped) slantNames(col.groups, nameWidths);
  const title = panels > 1 ? 22 : 0;
  const profile = panels > 1 ? 44 : 84;
  const header = !grouped ? 12 : slanted ? slantedHeight(trial, nameWidths) : 42;
  const top = title + profile + header;
  const keysNamed = named && col.cell >= READABLE_CELL;
  const bottom = keysNamed ? Math.min(longest * 0.82 + 18, 92) : grouped ? 6 : 22;
  const full = top + plotHeight + bottom;
  const places = Array.from({ length: panels }, (_, p) => ({
    x: left + (stacked ? 0 : p * (plotWidth + between)),
    y: (stacked ? p * full : 0) + top,
  }));
  return {
    ...col,
    grouped,
    named,
    keysNamed,
    left,
    top,
    title,
    profile,
    header,
    bottom,
    plotWidth,
    plotHeight,
    rowHeight,
    places,
    width,
    height: full * (stacked ? panels : 1),
  };
}

/** Pixel on the map -> {panel, row, key} with key null in the gaps; null outside the plots. */
export function hit(layout, tokens, x, y) {
  for (let panel = 0; panel < layout.places.length; panel++) {
    const place = layout.places[panel];
    const [dx, dy] = [x - place.x, y - place.y];
    if (dx < -layout.left || dx >= layout.plotWidth || dy < 0 || dy >= layout.plotHeight) continue;
    const row = Math.min(Math.floor(dy / layout.rowHeight), tokens - 1);
    for (let j = 0; j < tokens; j++) {
      if (dx >= layout.keyX[j] && dx < layout.keyX[j] + layout.keyWidth[j]) {
        return { panel, row, key: j };
      }
    }
    return { panel, row, key: null };
  }
  return null;
}
