// Queues: nothing acknowledged is lost, nothing settled comes again, nothing is made up, groups keep their order, and what
// one consumer holds no other is given.
//
// Operations: send     input { messages: [{ id, group? }] }   output { ids: [the service's] }
//             receive  input { lease_ms }                      output { messages: [{ id, of, receipt, fence }] }
//             ack      input { receipts: [{ receipt, id }] }   output { outcomes: [...] }
// `id` is the body's own, made by the sender; `of` is the service's. A send may be repeated under a dedup_id: then several
// operations have the same message, and it must be there once. The last receives are made when all is well and until
// nothing more comes: what has not come by then is lost.
import { show } from './history.mjs';

class Message {
  constructor(id) {
    Object.assign(this, { id, group: null, sends: [], deliveries: [], acks: [] });
  }

  get asked() {
    return Math.min(...this.sends.map((op) => op.invoke));
  }

  // By when it was surely in the queue.
  get stored() {
    return Math.min(Infinity, ...this.sends.filter((op) => op.outcome === 'ok').map((op) => op.ret));
  }

  // From when on it must not come again.
  get settled() {
    return Math.min(Infinity, ...this.acks.filter((ack) => ack.done).map((ack) => ack.op.ret));
  }

  story() {
    const ops = [...this.sends, ...this.deliveries.map((d) => d.op), ...this.acks.map((a) => a.op)];
    return [...new Set(ops)].sort((a, b) => a.invoke - b.invoke).map((op) => `    ${show(op)}`).join('\n');
  }
}

function gather(ops) {
  const messages = new Map();
  const of = (id) => {
    if (!messages.has(id)) messages.set(id, new Message(id));
    return messages.get(id);
  };
  for (const op of ops) {
    if (op.f === 'send') {
      for (const { id, group } of op.input.messages) {
        Object.assign(of(id), { group: group ?? null }).sends.push(op);
      }
    } else if (op.f === 'receive' && op.outcome === 'ok') {
      for (const given of op.output.messages) of(given.id).deliveries.push({ op, ...given });
    } else if (op.f === 'ack') {
      op.input.receipts.forEach(({ id }, i) => {
        const outcome = op.outcome === 'ok' ? op.output.outcomes[i] : 'unknown';
        const done = outcome === 'acked' || outcome === 'already_acked';
        if (done || outcome === 'unknown') of(id).acks.push({ op, done });
      });
    }
  }
  return messages;
}

function checkMessage(message) {
  const wrong = [];
  const say = (what) => wrong.push(`${what}\n${message.story()}`);
  const { id, deliveries } = message;
  if (message.sends.length === 0) say(`message ${id} was delivered, and nobody sent it`);
  if (deliveries.length === 0 && message.stored < Infinity) say(`message ${id} was acknowledged, and is lost`);
  if (new Set(deliveries.map((d) => d.of)).size > 1) say(`message ${id} is in the queue twice`);
  const again = deliveries.find((d) => d.op.invoke > message.settled);
  if (again) say(`message ${id} was delivered again after it was acknowledged`);
  const inTime = [...deliveries].sort((a, b) => a.op.ret - b.op.ret);
  inTime.forEach((a, i) => {
    for (const b of inTime.slice(i + 1)) {
      if (a.op.ret < b.op.invoke && a.fence >= b.fence) say(`message ${id}: fence ${b.fence} after ${a.fence}`);
      // The lease lasts from the moment it was asked for, at least; it ends early by an ack alone.
      if (b.op.ret < a.op.invoke + a.op.input.lease_ms) say(`message ${id} was delivered to a second while leased to the first`);
    }
  });
  return wrong;
}

// Of one group, one at a time and in order: when `later` comes, `earlier` must have been settled.
function checkGroup(group) {
  const wrong = [];
  const inOrder = group.filter((m) => m.stored < Infinity).sort((a, b) => a.stored - b.stored);
  for (const later of group) {
    if (later.deliveries.length === 0) continue;
    const came = Math.min(...later.deliveries.map((d) => d.op.ret));
    // The last that was there before this one was asked for stands for all before it: it must itself have come after them.
    const earlier = inOrder.filter((m) => m.stored < later.asked).at(-1);
    if (!earlier) continue;
    const settling = Math.min(Infinity, ...earlier.acks.map((ack) => ack.op.invoke));
    if (settling > came) {
      const story = `${earlier.story()}\n  and\n${later.story()}`;
      wrong.push(`group ${later.group}: ${later.id} came before ${earlier.id} was settled\n${story}`);
    }
  }
  return wrong;
}

// Sentences on what is wrong with the history of one queue.
export function checkQueue(key, ops) {
  const messages = [...gather(ops).values()];
  const wrong = messages.flatMap(checkMessage);
  const fences = new Map();
  for (const { id, deliveries } of messages) {
    for (const { fence, op } of deliveries) {
      const other = fences.get(fence);
      if (other) wrong.push(`fence ${fence} is of two deliveries\n    ${show(other)}\n    ${show(op)}`);
      fences.set(fence, op);
    }
  }
  const groups = new Map();
  for (const message of messages.filter((m) => m.group !== null)) {
    groups.set(message.group, [...(groups.get(message.group) ?? []), message]);
  }
  wrong.push(...[...groups.values()].flatMap(checkGroup));
  return wrong.map((sentence) => `${key}: ${sentence}`);
}
