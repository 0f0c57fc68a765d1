// Producers and consumers of queues. Some producers repeat what has an unknown outcome, under a dedup_id; consumers leave
// a message now and then, so that it comes again.
import { Client, pause } from './client.mjs';
import { below } from './random.mjs';

const LEASE_MS = 4000;
const WAIT_MS = 400;
const DAY_MS = 24 * 3600 * 1000; // past every jump of the clock
const TRIES = 8;
const jsonHeaders = { 'Content-Type': 'application/json' };

export const queueSettings = { max_attempts: 0, lease_ms: LEASE_MS, dedup_window_ms: DAY_MS };

export class Producer extends Client {
  constructor(name, desk, random, queue) {
    super(name, desk, random);
    Object.assign(this, { queue, think: 60, n: 0, repeats: random() < 0.5 });
  }

  async step() {
    const messages = Array.from({ length: 1 + below(this.random, 2) }, () => {
      const id = `${this.name}-${++this.n}`;
      const group = this.random() < 0.6 ? `${this.name}-g${below(this.random, 3)}` : null;
      return { id, group };
    });
    const body = {
      messages: messages.map(({ id, group }) => ({
        body: { id },
        ...(group && { group }),
        ...(this.repeats && { dedup_id: id }),
      })),
    };
    const request = { method: 'POST', path: `/v1/queues/${this.queue}/messages`, body, headers: jsonHeaders };
    const read = (answer) => (answer.status === 201 ? { ids: answer.body.messages.map((m) => m.id) } : null);
    for (let tries = 0; tries < TRIES; tries++) {
      const op = await this.perform(`queue ${this.queue}`, 'send', { messages }, request, read);
      if (op.outcome === 'ok' || !this.repeats) return;
      await pause(50);
    }
  }
}

export class Consumer extends Client {
  constructor(name, desk, random, queue) {
    super(name, desk, random);
    Object.assign(this, { queue, think: 10 });
  }

  async #receive(max) {
    const body = { max, wait_ms: WAIT_MS, lease_ms: LEASE_MS, consumer: this.name };
    const request = { method: 'POST', path: `/v1/queues/${this.queue}/receive`, body, headers: jsonHeaders, wait: WAIT_MS };
    const of = (m) => ({ id: m.body.id, of: m.id, receipt: m.receipt, fence: m.fence });
    const read = (answer) => (answer.status === 200 ? { messages: answer.body.messages.map(of) } : null);
    const op = await this.perform(`queue ${this.queue}`, 'receive', { lease_ms: LEASE_MS }, request, read);
    return op.outcome === 'ok' ? op.output.messages : [];
  }

  async #ack(messages) {
    const receipts = messages.map(({ receipt, id }) => ({ receipt, id }));
    const body = { acks: receipts.map(({ receipt }) => receipt) };
    const request = { method: 'POST', path: `/v1/queues/${this.queue}/settle`, body, headers: jsonHeaders };
    const read = (answer) => (answer.status === 200 ? { outcomes: answer.body.results.map((r) => r.outcome) } : null);
    return this.perform(`queue ${this.queue}`, 'ack', { receipts }, request, read);
  }

  async step() {
    const messages = await this.#receive(1 + below(this.random, 5));
    const kept = messages.filter(() => this.random() < 0.97);
    if (kept.length > 0) await this.#ack(kept);
  }

  // Whether nothing is left that could come, leases that run out included.
  async #isEmpty() {
    const answer = await this.desk.asker.ask(this.desk.places[0], 'GET', `/v1/queues/${this.queue}`, undefined, {}, 4000);
    if (answer.status !== 200) return false;
    const { ready, delayed, leased, dead } = answer.body;
    return ready + delayed + leased + dead === 0;
  }

  // Takes what there is. Resolves to whether nothing was left in time.
  async finish(until) {
    while (performance.now() < until) {
      const messages = await this.#receive(50);
      if (messages.length > 0) await this.#ack(messages);
      else if (await this.#isEmpty()) return true;
    }
    return false;
  }
}
