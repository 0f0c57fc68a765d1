// What every client under chaos is: it acts again and again through members of its choice, and what it does and sees goes
// into the history. Like a client behind a load balancer without health checks it stays with a member for a while, and
// goes to another when one gives no answer.
import { below, pick } from './random.mjs';

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const PATIENCE_MS = 4000;
const STAY_FOR = 16;

// What clients share: { history, asker, places, unexpected }. `places` are the members, { host, port } each; `unexpected`
// are answers that nothing explains.
export class Client {
  constructor(name, desk, random) {
    Object.assign(this, { name, desk, random, place: null, stay: 0 });
  }

  #turn() {
    if (this.place === null || --this.stay <= 0) {
      this.place = pick(this.random, this.desk.places);
      this.stay = 1 + below(this.random, STAY_FOR);
    }
    return this.place;
  }

  // Does { method, path, body, headers, wait }. `read(answer)` gives what of an answer matters to the checks, or null where
  // such an answer must not be.
  async perform(key, f, input, request, read) {
    const op = this.desk.history.begin(this.name, key, f, input);
    const { method, path, body, headers = {}, wait = 0 } = request;
    const answer = await this.desk.asker.ask(this.#turn(), method, path, body, headers, PATIENCE_MS + wait);
    if (answer.kind !== 'answer') {
      this.place = null;
      // Who waits may have got a place in line before the refusal.
      if (answer.kind === 'none' && wait === 0) this.desk.history.refuse(op, answer.why);
      else op.why = answer.why;
      return op;
    }
    const output = read(answer);
    if (output === null) this.desk.unexpected.push({ op, answer });
    else this.desk.history.end(op, output);
    return op;
  }

  // Acts until `over()`.
  async act(over) {
    while (!over()) {
      const before = performance.now();
      await this.step();
      // Where nobody listens an operation takes no time.
      const quick = performance.now() - before < 2;
      await pause(quick ? 20 : this.think * (0.5 + this.random()));
    }
  }
}

// A name that is changed now and then, so that no object's history becomes long: the search for an order takes time for
// every operation of unknown outcome.
export class Slot {
  constructor(history, kind, base) {
    Object.assign(this, { history, kind, base, turn: 0, uses: 0, used: [] });
    this.#next();
  }

  #next() {
    this.name = `${this.base}-${this.turn++}`;
    this.uses = 0;
    this.unknown = 0;
    this.used.push(this.name);
  }

  take() {
    if (this.uses++ > 240 || this.unknown > 6) this.#next();
    return { slot: this, name: this.name, key: `${this.kind} ${this.name}` };
  }

  note(op) {
    if (op.outcome === 'unknown' && op.key === `${this.kind} ${this.name}`) this.unknown += 1;
  }
}
