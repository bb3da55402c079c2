// The dial's arithmetic for one layer: scores and relevance in, patterns and measures out.
//
// The formula is model/locality/dial.py's, in float64:
//   s'_ij = s_ij / tau(x) - strength(x) * (R_i - r_ij),   x = dial * weight of the head
// Golden vectors and the verification badge hold the two together.
//
// Square matrices are stored as lower triangles, row after row: row i begins at i (i + 1) / 2.

export const LARGEST_STRENGTH = 1e30;
// A key counts once, by this precedence; the order is that of `shares`.
export const SHARES = ["self", "sink", "previous", "semantic", "other"];
const SELF = 1;
const PREVIOUS = 2;
const SINK = 4;
// Beyond this many distinct gaps in one head a table costs more than it saves.
const MOST_LEVELS = 8;
const FAR_BELOW = -1e300;

/** Log-odds that a dial takes from a key of no relevance, nats; dial in [0, 1]. */
export function strength(dial, gain) {
  return Math.min(-gain * Math.log1p(-dial), LARGEST_STRENGTH);
}

/** Divisor of the raw scores at a dial, no unit. */
export function temperatureAt(dial, temperature) {
  return 1 + (temperature - 1) * dial;
}

export function triangle(rows) {
  return (rows * (rows + 1)) / 2;
}

/** Everything about a layer that no dial changes. `source` fields: see LayerMath. */
function prepareHead(layer, h) {
  const { T, N, C, scores, relevance, relation, classes, temperature } = layer;
  const base = h * N;
  const gaps = new Map();
  for (let i = 0, k = 0; i < T; i++) {
    let largest = 0;
    for (let j = 0; j <= i; j++) largest = Math.max(largest, relevance[base + k + j]);
    const isFallback = largest === 0;
    layer.fallback[h * T + i] = isFallback ? 1 : 0;
    layer.rest[h * T + i] = !isFallback && largest < 1 ? 1 : 0;
    for (let j = 0; j <= i; j++, k++) {
      const r = relevance[base + k];
      const code = relation[k];
      const gap = isFallback ? (j === i ? 0 : 1) : largest - r;
      layer.gap[base + k] = gap;
      layer.relevant[base + k] = !isFallback && r === largest ? 1 : 0;
      layer.share[base + k] =
        code & SELF ? 0 : code & SINK ? 1 : code & PREVIOUS ? 2 : r > 0 ? 3 : 4;
      if (!gaps.has(gap)) gaps.set(gap, gaps.size);
      layer.level[base + k] = Math.min(gaps.get(gap), 255);
    }
  }
  const L = gaps.size;
  if (temperature !== 1 || L > MOST_LEVELS) return null;
  // With tau = 1 a row is a few groups of equal gap, and the dial only rescales whole groups:
  // exponentials and sums within a group are taken once, here.
  const head = {
    L,
    gaps: Float64Array.from(gaps.keys()),
    exp: new Float32Array(N),
    top: new Float64Array(T * L).fill(FAR_BELOW),
    sum: new Float64Array(T * L),
    weighted: new Float64Array(T * L),
    relevant: new Float64Array(T * L),
    shares: new Float64Array(T * L * SHARES.length),
    classes: new Float64Array(T * L * C),
    factor: new Float64Array(T * L),
  };
  for (let i = 0, k = 0; i < T; i++) {
    const row = i * L;
    for (let j = 0; j <= i; j++) {
      const at = row + layer.level[base + k + j];
      head.top[at] = Math.max(head.top[at], scores[base + k + j]);
    }
    for (let j = 0; j <= i; j++, k++) {
      const at = row + layer.level[base + k];
      const below = scores[base + k] - head.top[at];
      const e = Math.exp(below);
      head.exp[k] = e;
      head.sum[at] += e;
      head.weighted[at] += e * below;
      head.relevant[at] += e * layer.relevant[base + k];
      head.shares[at * SHARES.length + layer.share[base + k]] += e;
      head.classes[at * C + classes[j]] += e;
    }
  }
  return head;
}

/** What a dial setting gives, for all heads: allocated once, filled by `LayerMath.measure`. */
export class Frame {
  constructor(layer) {
    const { H, T, N, C } = layer;
    this.dial = NaN;
    this.entropyBits = new Float64Array(H);
    this.entropyNormalised = new Float64Array(H);
    this.fidelity = new Float64Array(H);
    this.fallbackShare = new Float64Array(H);
    this.shares = new Float64Array(H * SHARES.length);
    this.classMass = new Float64Array(H * C);
    this.rowEntropyBits = new Float64Array(H * T);
    this.rowFidelity = new Float64Array(H * T);
    this.rowShares = new Float64Array(H * T * SHARES.length);
    this.rowClassMass = new Float64Array(H * T * C);
    this.factor = layer.heads.map((head) => (head ? new Float64Array(T * head.L) : null));
    this.full = layer.heads.map((head) => (head ? null : new Float32Array(N)));
  }
}

/**
 * One layer. source: {H, T, C, scores f32 [H N], relevance f32 [H N] before the fallback,
 * relation u8 [N], classes [T], weights f64 [H], gain, temperature}, N = T (T + 1) / 2.
 */
export class LayerMath {
  constructor(source) {
    Object.assign(this, source);
    const { H, T } = source;
    const N = triangle(T);
    this.N = N;
    this.gap = new Float32Array(H * N);
    this.level = new Uint8Array(H * N);
    this.share = new Uint8Array(H * N);
    this.relevant = new Uint8Array(H * N);
    this.fallback = new Uint8Array(H * T);
    this.rest = new Uint8Array(H * T); // sees begin of text only, at a relevance below 1
    this.heads = [];
    for (let h = 0; h < H; h++) this.heads.push(prepareHead(this, h));
  }

  /** Dial as head h takes it. */
  dialOf(h, dial) {
    return dial * this.weights[h];
  }

  /** 1 for each class that most queries of head h read by its block, u8 [C]. */
  classesRead(h) {
    const [pairs, read] = [new Uint32Array(this.C), new Uint32Array(this.C)];
    for (let i = 0, k = 0; i < this.T; i++) {
      for (let j = 0; j <= i; j++, k++) {
        if (this.relation[k]) continue;
        pairs[this.classes[j]]++;
        if (this.share[h * this.N + k] === 3) read[this.classes[j]]++;
      }
    }
    return Uint8Array.from(pairs, (n, c) => (2 * read[c] > n ? 1 : 0));
  }

  /** Measures of every head at `dial`, into `frame`. */
  measure(dial, frame) {
    for (let h = 0; h < this.H; h++) this.measureHead(h, dial, frame);
    frame.dial = dial;
    return frame;
  }

  /** Measures of one head: of each row, and their means over rows that see two keys. */
  measureHead(h, dial, frame) {
    const { T, C } = this;
    const S = SHARES.length;
    const rows = Math.max(T - 1, 1);
    if (this.heads[h]) this.measureGroups(h, dial, frame);
    else this.measureKeys(h, dial, frame);
    let bits = 0;
    let normalised = 0;
    let fidelity = 0;
    let fallback = 0;
    frame.shares.fill(0, h * S, (h + 1) * S);
    frame.classMass.fill(0, h * C, (h + 1) * C);
    for (let i = 1; i < T; i++) {
      const row = h * T + i;
      bits += frame.rowEntropyBits[row];
      normalised += frame.rowEntropyBits[row] / Math.log2(i + 1);
      fidelity += frame.rowFidelity[row];
      fallback += this.fallback[row];
      for (let s = 0; s < S; s++) frame.shares[h * S + s] += frame.rowShares[row * S + s] / rows;
      for (let c = 0; c < C; c++) {
        frame.classMass[h * C + c] += frame.rowClassMass[row * C + c] / rows;
      }
    }
    frame.entropyBits[h] = bits / rows;
    frame.entropyNormalised[h] = normalised / rows;
    frame.fidelity[h] = fidelity / rows;
    frame.fallbackShare[h] = fallback / rows;
  }

  measureGroups(h, dial, frame) {
    const { T, C } = this;
    const { L, gaps, top, sum, weighted, relevant, shares, classes } = this.heads[h];
    const S = SHARES.length;
    const taken = strength(this.dialOf(h, dial), this.gain);
    const factor = frame.factor[h];
    for (let i = 0; i < T; i++) {
      const at = i * L;
      const row = h * T + i;
      let largest = FAR_BELOW;
      for (let c = 0; c < L; c++) largest = Math.max(largest, top[at + c] - taken * gaps[c]);
      let total = 0;
      for (let c = 0; c < L; c++) {
        const log = top[at + c] - taken * gaps[c] - largest;
        factor[at + c] = Math.exp(log);
        total += factor[at + c] * sum[at + c];
      }
      // p ln p summed over a group of equal factor needs the group's two sums only.
      let entropy = Math.log(total);
      let fidelity = 0;
      frame.rowShares.fill(0, row * S, (row + 1) * S);
      frame.rowClassMass.fill(0, row * C, (row + 1) * C);
      for (let c = 0; c < L; c++) {
        const f = (factor[at + c] /= total);
        if (f === 0 || sum[at + c] === 0) continue;
        const log = top[at + c] - taken * gaps[c] - largest;
        entropy -= f * (weighted[at + c] + sum[at + c] * log);
        fidelity += f * relevant[at + c];
        for (let s = 0; s < S; s++) {
          frame.rowShares[row * S + s] += f * shares[(at + c) * S + s];
        }
        for (let k = 0; k < C; k++) {
          frame.rowClassMass[row * C + k] += f * classes[(at + c) * C + k];
        }
      }
      frame.rowEntropyBits[row] = Math.max(entropy, 0) / Math.LN2;
      frame.rowFidelity[row] = fidelity;
    }
  }

  measureKeys(h, dial, frame) {
    const { T, C, N, scores, gap, classes } = this;
    const S = SHARES.length;
    const base = h * N;
    const x = this.dialOf(h, dial);
    const taken = strength(x, this.gain);
    const tau = temperatureAt(x, this.temperature);
    const out = frame.full[h];
    for (let i = 0, begin = 0; i < T; begin += ++i) {
      const row = h * T + i;
      let largest = -Infinity;
      for (let k = begin; k <= begin + i; k++) {
        largest = Math.max(largest, scores[base + k] / tau - taken * gap[base + k]);
      }
      let total = 0;
      let weighted = 0;
      for (let k = begin; k <= begin + i; k++) {
        const log = scores[base + k] / tau - taken * gap[base + k] - largest;
        const e = Math.exp(log);
        out[k] = e;
        total += e;
        if (e > 0) weighted += e * log;
      }
      let fidelity = 0;
      frame.rowShares.fill(0, row * S, (row + 1) * S);
      frame.rowClassMass.fill(0, row * C, (row + 1) * C);
      for (let j = 0, k = begin; j <= i; j++, k++) {
        const p = out[k] / total;
        out[k] = p;
        fidelity += p * this.relevant[base + k];
        frame.rowShares[row * S + this.share[base + k]] += p;
        frame.rowClassMass[row * C + classes[j]] += p;
      }
      frame.rowEntropyBits[row] = Math.max(Math.log(total) - weighted / total, 0) / Math.LN2;
      frame.rowFidelity[row] = fidelity;
    }
  }

  /** Pattern of one head at the frame's dial, into `out` f32 [N]. */
  pattern(h, frame, out) {
    const head = this.heads[h];
    if (!head) {
      out.set(frame.full[h]);
      return out;
    }
    const { T, N, level } = this;
    const { L, exp } = head;
    const factor = frame.factor[h];
    const base = h * N;
    for (let i = 0, k = 0; i < T; i++) {
      const at = i * L;
      for (let j = 0; j <= i; j++, k++) out[k] = exp[k] * factor[at + level[base + k]];
    }
    return out;
  }
}
