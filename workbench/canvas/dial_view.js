// A view from Python, ready for the frames: its arithmetic, its buffers, its words.

import { Frame, LayerMath } from "./dial_math.js";
import { mathSource } from "./dial_payload.js";
import { shownToken } from "./dial_strip.js";
import { sweep } from "./dial_curve.js";
import { judgeEstimate, verify } from "./dial_badge.js";

const same = (a, b, names) => names.every((name) => a[name] === b[name]);

export class View {
  /** What an older view has built and this one shares is taken over, not built again. */
  constructor({ header, arrays }, old) {
    this.header = header;
    this.arrays = arrays;
    this.fresh = !old || old.header.subject !== header.subject;
    if (old && same(old.header, header, ["inputs_id", "gain", "temperature"])) {
      const { layer, frames, patterns, panels, swept } = old;
      Object.assign(this, { layer, frames, patterns, panels, swept });
    } else {
      this.build(new LayerMath(mathSource(header, arrays)));
    }
    this.labels = this.fresh || old.header.n_tokens !== header.n_tokens ? this.words() : old.labels;
    this.check = verify(this.layer, header, arrays);
    const question = ["subject", "layer", "gain", "temperature", "schedule"];
    if (!old || header.exact || !same(old.header, header, question)) return;
    this.check.estimate =
      old.header.dial === header.dial
        ? old.check.estimate
        : judgeEstimate(old.layer, header, arrays);
  }

  build(layer) {
    this.layer = layer;
    this.frames = {
      a: new Frame(layer),
      b: new Frame(layer),
      zero: layer.measure(0, new Frame(layer)),
    };
    const empty = () => new Float32Array(layer.N);
    this.patterns = { zero: empty(), a: empty(), b: empty(), difference: empty() };
    const { a, b, difference } = this.patterns;
    const one = { values: a, signed: false };
    this.panels = {
      single: [one],
      split: [one, { values: b, signed: false }, { values: difference, signed: true }],
    };
    this.swept = new Map();
  }

  words() {
    const { header, arrays } = this;
    return {
      tokens: header.tokens,
      shown: header.tokens.map(shownToken),
      reasons: header.reasons,
      classes: arrays.classes,
      classNames: header.class_names,
      classTitles: header.class_titles,
      present: header.class_names.map((_, c) => arrays.classes.includes(c)),
    };
  }

  /** The selected head over the whole dial. */
  sweepOf(head) {
    if (!this.swept.has(head)) this.swept.set(head, sweep(this.layer, head, this.frames.b));
    return this.swept.get(head);
  }

  /** Everything that depends on the dial, for the selected head; no allocation. */
  measure({ dial, dialB, head, mode }) {
    const { layer, frames, patterns } = this;
    layer.measure(dial, frames.a);
    layer.pattern(head, frames.a, patterns.a);
    if (mode !== "split") return;
    layer.measure(dialB, frames.b);
    layer.pattern(head, frames.b, patterns.b);
    const { a, b, difference } = patterns;
    for (let k = 0; k < layer.N; k++) difference[k] = b[k] - a[k];
  }

  /** Whether this layer's scores are the model's own at a dial, or those of another one. */
  holdsAt(dial) {
    return this.header.exact || this.header.dial === dial;
  }

  /** Pattern of the selected head at dial 0: changes with the head, not with the dial. */
  select(head) {
    this.layer.pattern(head, this.frames.zero, this.patterns.zero);
  }

  /** Mass on a class in a panel (A, B, B − A): of the pinned query, else the mean over queries. */
  classMass(cls, panel, { head, pinned }) {
    const { layer, frames } = this;
    if (panel === 2) {
      return this.classMass(cls, 1, { head, pinned }) - this.classMass(cls, 0, { head, pinned });
    }
    const frame = panel === 1 ? frames.b : frames.a;
    return pinned === null
      ? frame.classMass[head * layer.C + cls]
      : frame.rowClassMass[(head * layer.T + pinned) * layer.C + cls];
  }
}
