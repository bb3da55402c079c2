// Reads the bytes that workbench/canvas/payload.py writes.

import { triangle } from "./dial_math.js";

const MAGIC = "LWDV";
const VERSION = 1;
const PREFIX = 12;
const TYPES = {
  f4: Float32Array,
  f8: Float64Array,
  i4: Int32Array,
  u1: Uint8Array,
  u2: Uint16Array,
};

export class PayloadError extends Error {}

/** Uint8Array -> {header, arrays}. Copies once: the bridge's bytes begin at any offset. */
export function decodePayload(bytes) {
  const { buffer } = bytes.slice();
  if (buffer.byteLength < PREFIX) throw new PayloadError("The view was cut short.");
  const view = new DataView(buffer);
  const magic = String.fromCharCode(...new Uint8Array(buffer, 0, 4));
  if (magic !== MAGIC) throw new PayloadError("These bytes are no view of the dial.");
  const version = view.getUint32(4, true);
  if (version !== VERSION) {
    throw new PayloadError(`The view has version ${version}; this page reads ${VERSION}. Reload it.`);
  }
  const start = PREFIX + view.getUint32(8, true);
  if (start > buffer.byteLength) throw new PayloadError("The view was cut short.");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, PREFIX, start - PREFIX)));
  const arrays = {};
  for (const [name, entry] of Object.entries(header.arrays)) {
    const Type = TYPES[entry.dtype];
    const length = entry.shape.reduce((a, b) => a * b, 1);
    const begin = start + entry.offset;
    if (!Type || begin + length * Type.BYTES_PER_ELEMENT > buffer.byteLength) {
      throw new PayloadError(`The view's ${name} was cut short.`);
    }
    arrays[name] = new Type(buffer, begin, length);
  }
  return { header, arrays };
}

/** Decoded payload -> what LayerMath takes. */
export function mathSource(header, arrays) {
  const H = header.n_heads;
  const T = header.n_tokens;
  let relevance = arrays.relevance;
  if (!relevance) {
    const { relevance_codes: codes, relevance_levels: levels } = arrays;
    relevance = new Float32Array(H * triangle(T));
    for (let k = 0; k < relevance.length; k++) relevance[k] = levels[codes[k]];
  }
  return {
    H,
    T,
    C: header.class_names.length,
    scores: arrays.scores,
    relevance,
    relation: arrays.relation,
    classes: arrays.classes,
    weights: arrays.weights,
    gain: header.gain,
    temperature: header.temperature,
  };
}
