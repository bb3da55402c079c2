// Talks to Python: one event with every choice, numbered, so that an answer says what it answers.

const REPORT = 250; // ms that choices other than the dial wait, so that a flurry is one rerun
const PATIENCE = 20_000; // ms until a missing answer is said to be missing

export class Link {
  /** choices(): what to report; onSilence(): no answer came in time. */
  constructor(choices, onSilence) {
    Object.assign(this, { choices, onSilence, sent: 0, waiting: null, silent: false });
  }

  /** Python's view has come with the number of the last event that it took in. */
  hear(ack, fresh) {
    if (fresh) this.sent = Math.max(this.sent, ack);
    if (ack < this.sent) return false;
    this.sent = ack;
    clearTimeout(this.patience);
    this.waiting = null;
    this.silent = false;
    return true;
  }

  get pending() {
    return Boolean(this.timer);
  }

  reportSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.report(), REPORT);
  }

  report() {
    clearTimeout(this.timer);
    this.timer = null;
    const state = this.choices();
    if (!state) return;
    this.sent += 1;
    this.waiting = { layer: state.layer };
    this.silent = false;
    clearTimeout(this.patience);
    this.patience = setTimeout(() => {
      this.silent = true;
      this.onSilence();
    }, PATIENCE);
    this.setStateValue("event", {
      seq: this.sent,
      dial: state.dial,
      layer: state.layer,
      head: state.head,
      mode: state.mode,
      dial_b: state.dialB,
      pinned_row: state.pinned,
    });
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.patience);
  }
}
