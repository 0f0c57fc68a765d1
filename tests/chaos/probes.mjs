// A probe for each partition: it writes without a break through members that are well, and measures how long nothing is
// acknowledged. A write begins every so often whatever has become of those before, so that one that hangs makes no gap:
// what is seen is when the service takes writes, not how patient its client is. The clients beside it ask one after the
// other, and do not know who is well; how long they wait is measured from their history.
import { pause } from './client.mjs';
import { pick } from './random.mjs';

export const EVERY_MS = 50;
export const PATIENCE_MS = 1000; // so at most 20 are under way
const WEEK_MS = 7 * 24 * 3600 * 1000; // past every jump of the clock

const REAL = { now: () => performance.now(), pause };

export class Probe {
  // Writes to the session `name`. `well()` gives the places that a load balancer with good health checks would send to; it
  // may be empty. `time` is { now, pause }.
  constructor(name, asker, random, well, time = REAL) {
    Object.assign(this, { name, asker, random, well, time, begun: 0, acks: [] });
  }

  async act(over) {
    const underWay = new Set();
    while (!over()) {
      const places = this.well();
      if (places.length > 0) {
        const write = this.#write(pick(this.random, places)).finally(() => underWay.delete(write));
        underWay.add(write);
      }
      await this.time.pause(EVERY_MS);
    }
    await Promise.all(underWay);
  }

  async #write(place) {
    const begun = this.time.now();
    const headers = { 'Content-Type': 'application/json' };
    const body = { data: { n: ++this.begun }, idle_ttl_ms: WEEK_MS, max_ttl_ms: WEEK_MS };
    const answer = await this.asker.ask(place, 'PUT', `/v1/sessions/${this.name}`, body, headers, PATIENCE_MS);
    if (answer.kind === 'answer' && answer.status < 300) {
      this.acks.push({ begun, ended: this.time.now(), version: answer.body.version });
    }
  }

  // The longest time without an acknowledged write that has a part in [from, to].
  gap(from, to) {
    let longest = 0;
    for (let i = 1; i < this.acks.length; i++) {
      const [before, after] = [this.acks[i - 1].ended, this.acks[i].ended];
      if (after >= from && before <= to) longest = Math.max(longest, after - before);
    }
    return longest;
  }

  // When a write that began at or after `from` was acknowledged for the first time; Infinity: none was.
  firstAck(from) {
    return this.acks.find(({ begun }) => begun >= from)?.ended ?? Infinity;
  }

  // What is wrong when the session is at that version in the end; null when nothing is. Every write makes a version of its
  // own, and none is taken back.
  loss(version) {
    const versions = this.acks.map((ack) => ack.version);
    const most = Math.max(0, ...versions);
    if (!(version >= most)) return `${this.name} is at version ${version}, ${most} was acknowledged`;
    const twice = versions.sort((a, b) => a - b).find((v, i) => v === versions[i - 1]);
    return twice === undefined ? null : `${this.name}: version ${twice} was acknowledged for two writes`;
  }
}

// Which of the partitions of a ring have a majority of their replicas among those that are well. A set of their ids.
export function served(ring, ill) {
  const alive = ({ replicas }) => replicas.filter((name) => !ill.has(name)).length * 2 > replicas.length;
  return new Set(ring.partitions.filter(alive).map(({ id }) => id));
}

// The longest that a partition took no write although it had a majority of well replicas, while a fault began at `from`,
// was taken back at `back`, and all was well at `to`. `probes` by partition, `kept` are those that had it all the time.
export function longestGap(probes, kept, { from, back, to }) {
  const without = [...probes].map(([id, probe]) => (kept.has(id) ? probe.gap(from, to) : probe.firstAck(back) - back));
  return Math.max(0, ...without);
}

// The longest that any client went without an acknowledged operation, as far as it has a part in [from, to].
export function longestWait(ops, from, to) {
  const last = new Map();
  let longest = 0;
  for (const { client, ret } of ops.filter((op) => op.outcome === 'ok').sort((a, b) => a.ret - b.ret)) {
    const before = last.get(client);
    if (before !== undefined && ret >= from && before <= to) longest = Math.max(longest, ret - before);
    last.set(client, ret);
  }
  return longest;
}
