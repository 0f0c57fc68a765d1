// Whether a history of one object is linearizable: whether its operations can be put in an order in which each takes
// effect between its call and its answer, and each answer is what the model says. The search is Wing and Gong's, with
// Lowe's memory of which sets of operations have led to which state before.
//
// A model is { initial, apply(state, op) -> state | null, key(state) -> string }: apply gives null where the operation
// cannot take effect with that answer in that state. An operation of unknown outcome need not take effect at all.

const STEPS_MAX = 3000000;

// Calls and returns in the order of time, as a doubly linked list behind a head. What is never answered returns last.
// Of equal times the call comes first: operations that touch are taken to overlap.
function timeline(ops) {
  const events = [];
  ops.forEach((op, id) => {
    const call = { id, op, at: op.invoke, isCall: true };
    const answer = { id, op, at: op.ret, isCall: false };
    call.match = answer;
    events.push(call, answer);
  });
  events.sort((a, b) => (a.at === b.at ? Number(b.isCall) - Number(a.isCall) || a.id - b.id : a.at - b.at));
  const head = { next: null };
  let last = head;
  for (const event of events) {
    event.previous = last;
    last.next = event;
    last = event;
  }
  last.next = null;
  return head;
}

function lift(call) {
  for (const event of [call, call.match]) {
    event.previous.next = event.next;
    if (event.next) event.next.previous = event.previous;
  }
}

function unlift(call) {
  for (const event of [call.match, call]) {
    event.previous.next = event;
    if (event.next) event.next.previous = event;
  }
}

// Which operations have taken effect: all before `from`, and of those behind it the ones whose bits are set. Operations
// are numbered by their calls, so that little is behind.
class Done {
  constructor(count) {
    this.bits = new Uint8Array(count);
    this.from = 0;
  }

  set(id, value) {
    this.bits[id] = value;
    if (!value && id < this.from) this.from = id;
    while (this.bits[this.from] === 1) this.from += 1;
  }

  key(highest) {
    let text = `${this.from}:`;
    for (let id = this.from; id <= highest; id++) if (this.bits[id]) text += `${id},`;
    return text;
  }
}

// { ok: true } or { ok: false, why, at }: `at` is the operation that no order found a place for, after the longest part
// of the history that has an order.
export function linearizable(model, history) {
  const ops = [...history].sort((a, b) => a.invoke - b.invoke);
  const head = timeline(ops);
  let left = ops.filter((op) => op.outcome === 'ok').length;
  const done = new Done(ops.length);
  const seen = new Set();
  const path = [];
  let state = model.initial;
  let highest = -1;
  let best = { length: -1, at: null, state: null };
  let event = head.next;
  for (let steps = 0; left > 0; steps++) {
    if (steps > STEPS_MAX) return { ok: false, why: `not decided within ${STEPS_MAX} steps`, at: best.at, state: best.state };
    if (event.isCall) {
      const next = model.apply(state, event.op);
      if (next !== null) {
        done.set(event.id, 1);
        const memory = `${done.key(Math.max(highest, event.id))} ${model.key(next)}`;
        if (!seen.has(memory)) {
          seen.add(memory);
          path.push({ event, state, highest });
          state = next;
          highest = Math.max(highest, event.id);
          left -= event.op.outcome === 'ok';
          lift(event);
          event = head.next;
          continue;
        }
        done.set(event.id, 0);
      }
      event = event.next;
    } else {
      // Every operation called before this answer has been tried here: one that was tried earlier was the wrong one.
      if (path.length > best.length) best = { length: path.length, at: event.op, state };
      if (path.length === 0) return { ok: false, why: 'no order explains it', at: best.at, state: best.state };
      const last = path.pop();
      done.set(last.event.id, 0);
      ({ state, highest } = last);
      left += last.event.op.outcome === 'ok';
      unlift(last.event);
      event = last.event.next;
    }
  }
  return { ok: true };
}
