// A probe for each partition: it writes without a break through a member that is well, and measures how long nothing is
// acknowledged. The clients beside it do not know who is well; how long they wait is measured from their history.
import { pause } from './client.mjs';
import { pick } from './random.mjs';

const PATIENCE_MS = 1000;
const THINK_MS = 20;
const WEEK_MS = 7 * 24 * 3600 * 1000; // past every jump of the clock

export class Probe {
  // `well()` gives the places that a load balancer with good health checks would send to; it may be empty.
  constructor(name, asker, random, well) {
    Object.assign(this, { name, asker, random, well, n: 0, acked: 0, acks: [] });
  }

  async act(over) {
    while (!over()) {
      const places = this.well();
      if (places.length > 0) await this.write(pick(this.random, places));
      await pause(THINK_MS);
    }
  }

  async write(place) {
    const n = ++this.n;
    const headers = { 'Content-Type': 'application/json' };
    const body = { data: { n }, idle_ttl_ms: WEEK_MS, max_ttl_ms: WEEK_MS };
    const answer = await this.asker.ask(place, 'PUT', `/v1/sessions/${this.name}`, body, headers, PATIENCE_MS);
    if (answer.kind === 'answer' && answer.status < 300) {
      this.acked = n;
      this.acks.push(performance.now());
    }
  }

  // The longest time without an acknowledged write that has a part in [from, to].
  gap(from, to) {
    let longest = 0;
    for (let i = 1; i < this.acks.length; i++) {
      if (this.acks[i] >= from && this.acks[i - 1] <= to) longest = Math.max(longest, this.acks[i] - this.acks[i - 1]);
    }
    return longest;
  }
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
