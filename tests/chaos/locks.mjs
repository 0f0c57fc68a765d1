// Clients that want the same locks: some wait, some renew, some forget to release.
import { Client, pause } from './client.mjs';

const TTL_MS = 2500;
const WAIT_MS = 500;
const TRIES = 6;
const jsonHeaders = { 'Content-Type': 'application/json' };

const holderOf = (body) => (body.holders?.length ? { lease: body.holders[0].lease, fence: body.holders[0].fence } : null);

function readAcquire({ status, body }) {
  if (status === 201 || status === 200) return { status, fence: body.fence };
  if (status === 409 && body.code === 'lock-held') return { status, holder: holderOf(body) };
  return status === 410 ? { status } : null;
}

const readRenew = ({ status, body }) =>
  status === 200 ? { status, fence: body.fence } : [404, 410].includes(status) ? { status } : null;
const readRelease = ({ status }) => ([204, 410].includes(status) ? { status } : null);

export class LockClient extends Client {
  constructor(name, desk, random, slot) {
    super(name, desk, random);
    Object.assign(this, { slot, think: 15, n: 0 });
  }

  async #lease(f, key, lease, wait, method, path, body, read) {
    const request = { method, path, body, headers: jsonHeaders, wait };
    const op = await this.perform(key, f, { lease, ttl: TTL_MS, wait }, request, read);
    this.slot.note(op);
    return op;
  }

  // Until the outcome is known: it is safe to repeat under the same lease.
  async #certain(...request) {
    for (let tries = 1; ; tries++) {
      const op = await this.#lease(...request);
      if (op.outcome === 'ok' || tries === TRIES) return op;
      await pause(50);
    }
  }

  async step() {
    const { name, key } = this.slot.take();
    const lease = `${this.name}-${++this.n}`;
    const path = `/v1/locks/${name}/leases/${lease}`;
    const wait = this.random() < 0.6 ? WAIT_MS : 0;
    // Each lease has an owner of its own: one that stands in two lines, in one of them since before all were killed, may
    // be refused for a deadlock.
    const asked = { owner: lease, ttl_ms: TTL_MS, wait_ms: wait };
    const acquired = await this.#certain('acquire', key, lease, wait, 'PUT', path, asked, readAcquire);
    const granted = acquired.outcome === 'ok' && acquired.output.status < 300;
    if (granted) {
      await pause(this.random() * 40);
      if (this.random() < 0.3) {
        await this.#lease('renew', key, lease, 0, 'POST', `${path}/renew`, {}, readRenew);
        await pause(this.random() * 40);
      }
      if (this.random() < 0.02) return; // and it runs out
    }
    if (granted || acquired.outcome !== 'ok') {
      await this.#certain('release', key, lease, 0, 'DELETE', path, undefined, readRelease);
    }
  }
}
