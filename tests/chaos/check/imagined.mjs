// Histories of a service that does everything right, imagined: clients call at random times, each operation takes effect
// at one moment between its call and its answer, and of some the answer is lost, the effect coming late or never. The
// checks must pass over all of them; what is then spoilt in them must be found.
import { below, pick } from '../random.mjs';

// Runs the clients over a time of their own. A client is () -> { f, input } | null; perform(op, at) does the operation and
// gives its output. Both are called in the order of that time.
function imagine({ random, clients, key, perform, lost }) {
  const agenda = [];
  const ops = [];
  const plan = (at, run) => agenda.push({ at, run });
  const call = (name, client, at) => {
    const asked = client(at);
    if (asked === null) return;
    const op = { client: name, key, ...asked, invoke: at, ret: Infinity, outcome: 'unknown', output: null };
    ops.push(op);
    const effect = at + 0.1 + random() * 5;
    const answer = effect + 0.1 + random() * 5;
    if (random() < lost) {
      if (random() < 0.5) plan(effect + random() * 60, (then) => perform(op, then));
      plan(answer, (then) => call(name, client, then));
      return;
    }
    plan(effect, (then) => {
      const output = perform(op, then);
      plan(answer, (end) => {
        Object.assign(op, { ret: end, outcome: 'ok', output });
        client.learns?.(op);
        plan(end + random() * 3, (next) => call(name, client, next));
      });
    });
  };
  clients.forEach((client, i) => plan(random(), (at) => call(`c${i}`, client, at)));
  while (agenda.length > 0) {
    const first = agenda.reduce((a, b) => (b.at < a.at ? b : a));
    agenda.splice(agenda.indexOf(first), 1);
    first.run(first.at);
  }
  return ops;
}

export function imagineSession(random, { clients = 3, each = 25, lost = 0.05 } = {}) {
  const session = { version: 0, data: {} };
  const perform = ({ f, input }) => {
    if (f === 'read') return session.version ? { status: 200, ...session } : { status: 404 };
    if (f === 'patch' && session.version === 0) return { status: 404 };
    const stale = f === 'cas' && (session.version === 0 || session.version !== input.version);
    if (stale || (f === 'create' && session.version > 0)) {
      return { status: 412, current: session.version };
    }
    const status = session.version === 0 ? 201 : 200;
    session.data = f === 'patch' ? { ...session.data, ...input.data } : input.data;
    session.version += 1;
    return { status, ...session };
  };
  const client = (name) => {
    let [n, version] = [0, 0];
    const next = () => {
      if (n++ === each) return null;
      const f = pick(random, ['create', 'cas', 'cas', 'patch', 'patch', 'put', 'read']);
      return { f, input: f === 'read' ? {} : { data: { [name]: n }, ...(f === 'cas' && { version }) } };
    };
    next.learns = ({ output }) => (version = output.version ?? output.current ?? version);
    return next;
  };
  const all = Array.from({ length: clients }, (_, i) => client(`c${i}`));
  return imagine({ random, clients: all, key: 'session s', perform, lost });
}

const TTL_MS = 40;

export function imagineLock(random, { clients = 3, each = 25, lost = 0.05 } = {}) {
  const lock = { holder: null, fence: 0, until: 0 };
  const ended = new Map();
  const end = (how) => {
    ended.set(lock.holder, how);
    lock.holder = null;
  };
  const perform = ({ f, input: { lease, ttl } }, at) => {
    if (lock.holder !== null && at >= lock.until) end('expired');
    const mine = lock.holder === lease;
    const refused = { status: ended.has(lease) ? 410 : 404 };
    if (f === 'acquire') {
      if (ended.has(lease)) return refused;
      if (mine) return { status: 200, fence: lock.fence };
      if (lock.holder !== null) return { status: 409, holder: { lease: lock.holder, fence: lock.fence } };
      Object.assign(lock, { holder: lease, fence: lock.fence + 1, until: at + ttl });
      return { status: 201, fence: lock.fence };
    }
    if (f === 'renew') {
      if (!mine) return refused;
      lock.until = at + ttl;
      return { status: 200, fence: lock.fence };
    }
    if (mine) end('released');
    return ended.get(lease) === 'expired' ? { status: 410 } : { status: 204 };
  };
  const client = (name) => {
    let [n, lease, held, sleeps] = [0, '', false, false];
    const next = () => {
      if (n++ === each) return null;
      if (!held) lease = `${name}-${n}`;
      const f = held ? pick(random, ['renew', 'release']) : 'acquire';
      held = false;
      return { f, input: { lease, ttl: TTL_MS, wait: 0 } };
    };
    next.learns = ({ f, output }) => (held = f !== 'release' && output.status < 300 && random() < 0.8);
    return next;
  };
  const all = Array.from({ length: clients }, (_, i) => client(`c${i}`));
  return imagine({ random, clients: all, key: 'lock l', perform, lost });
}

const LEASE_MS = 30;

class Queue {
  constructor() {
    Object.assign(this, { messages: [], fence: 0 });
  }

  send(list) {
    const ids = list.map(({ id, group }) => {
      this.messages.push({ id, group, of: String(this.messages.length), until: 0, done: false, receipt: null });
      return this.messages.at(-1).of;
    });
    return { ids };
  }

  receive(max, at) {
    const given = [];
    for (const message of this.messages) {
      if (given.length === max || message.done || message.until > at) continue;
      const before = this.messages.find((m) => m.group === message.group && !m.done);
      if (message.group && before !== message) continue;
      Object.assign(message, { until: at + LEASE_MS, fence: ++this.fence, receipt: `r${this.fence}` });
      given.push({ id: message.id, of: message.of, receipt: message.receipt, fence: message.fence });
    }
    return { messages: given };
  }

  ack(receipts, at) {
    const outcomes = receipts.map(({ receipt }) => {
      const message = this.messages.find((m) => m.receipt === receipt);
      if (message?.done) return 'already_acked';
      if (!message || message.until <= at) return 'lease_lost';
      message.done = true;
      return 'acked';
    });
    return { outcomes };
  }
}

export function imagineQueue(random, { each = 20, lost = 0.05 } = {}) {
  const queue = new Queue();
  const perform = ({ f, input }, at) => {
    if (f === 'send') return queue.send(input.messages);
    return f === 'receive' ? queue.receive(input.max, at) : queue.ack(input.receipts, at);
  };
  const producer = (name) => {
    let n = 0;
    return () => {
      if (n++ === each) return null;
      const some = Array.from({ length: 1 + below(random, 2) }, (_, i) => ({ id: `${name}-${n}-${i}`, group: i ? null : name }));
      return { f: 'send', input: { messages: some } };
    };
  };
  const all = () => queue.messages.every((m) => m.done);
  const consumer = () => {
    let [given, idle] = [[], 0];
    const next = (at) => {
      const receipts = given.map(({ receipt, id }) => ({ receipt, id }));
      given = [];
      if (receipts.length > 0 && random() < 0.9) return { f: 'ack', input: { receipts } };
      idle = at > 400 && all() ? idle + 1 : 0;
      return idle > 3 || at > 5000 ? null : { f: 'receive', input: { max: 2, lease_ms: LEASE_MS } };
    };
    next.learns = ({ f, output }) => (given = f === 'receive' ? output.messages : []);
    return next;
  };
  return imagine({ random, clients: [producer('p'), producer('q'), consumer(), consumer()], key: 'queue q', perform, lost });
}
