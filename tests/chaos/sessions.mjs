// Clients that write sessions, several the same one: on a version, over everything, and merging; and read them, as they are
// now, or as they were a while ago.
import { Client } from './client.mjs';

const WEEK_MS = 7 * 24 * 3600 * 1000; // past every jump of the clock

function read({ status, body }) {
  if (status === 200 || status === 201) return { status, version: body.version, data: body.data };
  if (status === 412) return { status, current: body.current_version };
  return status === 404 ? { status } : null;
}

// Nobody may know how old it is at most, and then nothing is told.
const readStale = (answer) => {
  const output = read(answer);
  const age = answer.headers['ringhold-age-ms'];
  return output && { ...output, age: age === undefined ? null : Number(age) };
};

const jsonHeaders = { 'Content-Type': 'application/json' };

export class SessionClient extends Client {
  constructor(name, desk, random, slot) {
    super(name, desk, random);
    Object.assign(this, { slot, think: 25, n: 0, key: null, version: 0 });
  }

  // A merge shows what it was merged into: as good as a read of now.
  async #write(f, name, key) {
    const data = { [this.name]: ++this.n };
    const path = `/v1/sessions/${name}`;
    const condition = { create: { 'If-None-Match': '*' }, cas: { 'If-Match': `"${this.version}"` } }[f] ?? {};
    const method = f === 'patch' ? 'PATCH' : 'PUT';
    const body = f === 'patch' ? { data } : { data, idle_ttl_ms: WEEK_MS, max_ttl_ms: WEEK_MS };
    const input = f === 'cas' ? { data, version: this.version } : { data };
    const request = { method, path, body, headers: { ...jsonHeaders, ...condition } };
    const op = await this.perform(key, f, input, request, read);
    this.slot.note(op);
    if (op.outcome === 'ok') this.version = op.output.version ?? op.output.current ?? this.version;
  }

  async #read(f, name, key) {
    const path = `/v1/sessions/${name}?consistency=${f === 'read' ? 'strong' : 'stale'}`;
    const op = await this.perform(key, f, {}, { method: 'GET', path }, f === 'read' ? read : readStale);
    this.slot.note(op);
  }

  async step() {
    const { name, key } = this.slot.take();
    if (key !== this.key) {
      Object.assign(this, { key, version: 0 });
      return this.#write('create', name, key);
    }
    const look = this.random();
    if (look < 0.3) return this.#read(look < 0.15 ? 'read' : 'stale', name, key);
    const turn = this.random();
    if (turn < 0.4) return this.#write('patch', name, key);
    return this.#write(turn < 0.85 ? 'cas' : 'put', name, key);
  }

  // Once more on every session there was: what it is at the end belongs to its history.
  async finish() {
    for (const name of this.slot.used) await this.#write('patch', name, `session ${name}`);
  }
}
