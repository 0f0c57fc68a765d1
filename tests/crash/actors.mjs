// Who writes while the process is killed. Each actor acts until a request's outcome is unknown, remembers what was
// acknowledged and what is unknown, and after the restart finds out: whatever was acknowledged must be there.
import assert from 'node:assert/strict';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- sessions: every acknowledged PUT and PATCH is there, in its version ----------------------------------------------

export class SessionWriter {
  constructor(name, client, random) {
    Object.assign(this, { name, client, random, counter: 0 });
    this.sessions = [0, 1, 2].map((i) => ({ path: `/v1/sessions/${name}-${i}`, version: 0, n: null, maybe: null }));
  }

  async act(running) {
    while (running()) {
      const session = this.sessions[Math.floor(this.random() * 3)];
      const n = ++this.counter;
      const fresh = session.version === 0;
      const method = fresh || this.random() < 0.5 ? 'PUT' : 'PATCH';
      const condition = fresh ? { 'If-None-Match': '*' } : { 'If-Match': `"${session.version}"` };
      const answer = await this.client.ask(method, session.path, { data: { n } }, condition);
      if (answer.status === 0) {
        session.maybe = n;
        return;
      }
      assert.equal(answer.status, fresh ? 201 : 200, JSON.stringify(answer.body));
      assert.equal(answer.body.version, session.version + 1);
      Object.assign(session, { version: answer.body.version, n });
    }
  }

  async verify() {
    for (const session of this.sessions) {
      const { status, body } = await this.client.ask('GET', session.path);
      if (session.version === 0 && session.maybe === null) {
        assert.equal(status, 404);
        continue;
      }
      const now = status === 404 ? [0, null] : [body.version, body.data.n];
      const known = [session.version, session.n];
      const maybe = [session.version + 1, session.maybe];
      const allowed = session.maybe === null ? [known] : [known, maybe];
      assert.ok(
        allowed.some((pair) => pair[0] === now[0] && pair[1] === now[1]),
        `${session.path} is ${now}, acknowledged was ${known}, unknown ${session.maybe}`,
      );
      [session.version, session.n] = now;
      session.maybe = null;
    }
  }
}

// ---- locks: nobody holds what another holds, and no fence goes back ---------------------------------------------------

// What all users of a lock know together.
export class LockBoard {
  constructor(name) {
    this.path = `/v1/locks/${name}`;
    this.fence = 0; // the highest that was acknowledged
    this.holder = null; // who is between an acknowledged grant and the release it sends
    this.leases = new Map(); // that may be there after a crash: id -> { fence } or {}
  }

  granted(lease, fence, before) {
    assert.ok(fence > before, `${this.path}: fence ${fence} was granted after ${before} was acknowledged`);
    assert.equal(this.holder, null, `${this.path} is held by ${lease} and by ${this.holder}`);
    this.holder = lease;
    this.fence = Math.max(this.fence, fence);
    this.leases.set(lease, { fence });
  }

  async verify(client) {
    const { body } = await client.must(200, 'GET', this.path);
    assert.ok(body.fence >= this.fence, `${this.path}: the fence went back from ${this.fence} to ${body.fence}`);
    assert.ok(body.holders.length <= 1, `${this.path} is held twice`);
    if (this.holder !== null) {
      assert.equal(body.holders[0]?.lease, this.holder, `${this.path}: an acknowledged hold is gone`);
      assert.equal(body.holders[0].fence, this.leases.get(this.holder).fence);
    }
    for (const { lease } of [...body.holders, ...body.waiters]) {
      assert.ok(this.leases.has(lease), `${this.path}: nobody asked for the lease ${lease}`);
    }
    for (const lease of this.leases.keys()) {
      await client.must([204, 404, 410], 'DELETE', `${this.path}/leases/${lease}`);
    }
    this.leases.clear();
    this.holder = null;
    const { body: left } = await client.must(200, 'GET', this.path);
    assert.deepEqual([left.holders, left.waiters], [[], []]);
    assert.ok(left.fence >= body.fence);
    this.fence = Math.max(this.fence, left.fence);
  }
}

export class LockUser {
  constructor(name, client, random, boards) {
    Object.assign(this, { name, client, random, boards, counter: 0 });
  }

  async act(running) {
    while (running()) {
      const board = this.boards[Math.floor(this.random() * this.boards.length)];
      const lease = `${this.name}-${++this.counter}`;
      const path = `${board.path}/leases/${lease}`;
      const before = board.fence;
      board.leases.set(lease, {});
      const wait_ms = Math.floor(this.random() * 300);
      const answer = await this.client.ask('PUT', path, { owner: this.name, ttl_ms: 600000, wait_ms });
      if (answer.status === 0) return;
      if (answer.status === 409) {
        assert.equal(answer.body.code, 'lock-held');
        board.leases.delete(lease);
        continue;
      }
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      board.granted(lease, answer.body.fence, before);
      await pause(this.random() * 3);
      if (!running()) return; // killed while holding: the hold must survive
      board.holder = null;
      const released = await this.client.ask('DELETE', path);
      if (released.status === 0) return;
      assert.equal(released.status, 204, JSON.stringify(released.body));
      board.leases.delete(lease);
    }
  }

  async verify() {}
}

// ---- queues: sent = acknowledged + present, each message in one place -------------------------------------------------

export class QueueBoard {
  constructor(name) {
    this.path = `/v1/queues/${name}`;
    this.sent = new Set();
    this.maybeSent = new Set();
    this.acked = new Map(); // id -> the fence of the delivery that was acknowledged
    this.maybeAcked = new Set();
    this.repeats = []; // sends that can be repeated safely: { messages, headers }
  }

  async prepare(client) {
    await client.must([200, 201], 'PUT', this.path, { lease_ms: 1500, max_attempts: 0 });
  }

  delivered(message) {
    const { id } = message.body;
    assert.ok(this.sent.has(id) || this.maybeSent.has(id), `${this.path} delivers ${id}, which nobody sent`);
    const fence = this.acked.get(id);
    assert.ok(fence === undefined || message.fence < fence, `${this.path} delivers ${id} again after it was acknowledged`);
  }

  async verify(client) {
    for (const { messages, headers } of this.repeats.splice(0)) {
      await client.must(201, 'POST', `${this.path}/messages`, { messages }, headers);
      for (const { body } of messages) {
        this.maybeSent.delete(body.id);
        this.sent.add(body.id);
      }
    }
    const present = new Set();
    for (const { body } of await client.list(`${this.path}/messages`)) {
      assert.ok(!present.has(body.id), `${this.path} has ${body.id} twice`);
      assert.ok(!this.acked.has(body.id), `${this.path} still has ${body.id}, which was acknowledged`);
      assert.ok(this.sent.has(body.id) || this.maybeSent.has(body.id), `${this.path} has ${body.id}, which nobody sent`);
      present.add(body.id);
    }
    for (const id of this.sent) {
      assert.ok(present.has(id) || this.acked.has(id) || this.maybeAcked.has(id), `${this.path} has lost ${id}`);
    }
    const { body: queue } = await client.must(200, 'GET', this.path);
    assert.equal(queue.ready + queue.delayed + queue.leased + queue.dead, present.size, 'its depths are wrong');
    // From here on everything is known.
    for (const id of this.maybeAcked) if (!present.has(id)) this.acked.set(id, Infinity);
    this.maybeAcked.clear();
    for (const id of this.maybeSent) if (present.has(id)) this.sent.add(id);
    this.maybeSent.clear();
  }
}

export class Producer {
  constructor(name, client, random, boards) {
    Object.assign(this, { name, client, random, boards, counter: 0 });
  }

  async act(running) {
    while (running()) {
      const board = this.boards[Math.floor(this.random() * this.boards.length)];
      const kind = ['none', 'key', 'dedup'][Math.floor(this.random() * 3)];
      const messages = [];
      for (let i = 0; i <= this.random() * 5; i++) {
        const id = `${this.name}-${++this.counter}`;
        messages.push({ body: { id }, ...(kind === 'dedup' ? { dedup_id: id } : {}), ...(this.random() < 0.3 ? { group: `g${i}` } : {}) });
        board.maybeSent.add(id);
      }
      const headers = kind === 'key' ? { 'Idempotency-Key': messages[0].body.id } : {};
      const answer = await this.client.ask('POST', `${board.path}/messages`, { messages }, headers);
      if (answer.status === 0) {
        if (kind !== 'none') board.repeats.push({ messages, headers });
        return;
      }
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      for (const { body } of messages) {
        board.maybeSent.delete(body.id);
        board.sent.add(body.id);
      }
      await pause(this.random() * 4);
    }
  }

  async verify() {}
}

export class Consumer {
  constructor(name, client, random, boards) {
    Object.assign(this, { name, client, random, boards });
  }

  async act(running) {
    while (running()) {
      const board = this.boards[Math.floor(this.random() * this.boards.length)];
      const answer = await this.client.ask('POST', `${board.path}/receive`, { max: 8, wait_ms: 50 });
      if (answer.status === 0) return;
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      const { messages } = answer.body;
      for (const message of messages) board.delivered(message);
      const mine = messages.filter(() => this.random() < 0.8);
      if (mine.length === 0) continue;
      const done = this.random() < 0.5 ? await this.settle(board, mine) : await this.remove(board, mine[0]);
      if (!done) return;
    }
  }

  async settle(board, messages) {
    for (const { body } of messages) board.maybeAcked.add(body.id);
    const answer = await this.client.ask('POST', `${board.path}/settle`, { acks: messages.map(({ receipt }) => receipt) });
    if (answer.status === 0) return false;
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    answer.body.results.forEach(({ outcome }, i) => this.settled(board, messages[i], outcome === 'acked'));
    return true;
  }

  async remove(board, message) {
    board.maybeAcked.add(message.body.id);
    const answer = await this.client.ask('DELETE', `${board.path}/messages/${message.id}`, undefined, { Receipt: message.receipt });
    if (answer.status === 0) return false;
    assert.ok([204, 409, 410].includes(answer.status), JSON.stringify(answer.body));
    this.settled(board, message, answer.status === 204);
    return true;
  }

  settled(board, message, acked) {
    board.maybeAcked.delete(message.body.id);
    if (acked) board.acked.set(message.body.id, message.fence);
  }

  async verify() {}
}

// ---- transactions: a message moves from one queue to the other, and a session counts it, all or nothing ---------------

export class Mover {
  constructor(name, client, random) {
    Object.assign(this, { name, client, random, moved: 0, sent: 0, maybe: false, fence: 0, version: 0 });
    this.session = `/v1/sessions/${name}~count`;
    this.lock = `/v1/locks/${name}~lock`;
    this.from = `/v1/queues/${name}~from`;
    this.to = `/v1/queues/${name}~to`;
  }

  async prepare() {
    await this.client.must(201, 'PUT', this.from, { lease_ms: 1500, max_attempts: 0 });
    await this.client.must(201, 'PUT', this.to, {});
    await this.client.must(201, 'PUT', this.session, { data: { moved: 0 } });
    const { body } = await this.client.must(201, 'PUT', `${this.lock}/leases/only`, { owner: this.name, ttl_ms: 3600000 });
    Object.assign(this, { fence: body.fence, version: 1 });
  }

  async fill() {
    const messages = Array.from({ length: 200 }, () => ({ body: { id: ++this.sent } }));
    await this.client.must(201, 'POST', `${this.from}/messages`, { messages });
  }

  async act(running) {
    while (running()) {
      const answer = await this.client.ask('POST', `${this.from}/receive`, { wait_ms: 100 });
      if (answer.status === 0) return;
      const [message] = answer.body.messages;
      if (!message) continue;
      const failing = this.random() < 0.2;
      const operations = [
        { method: 'GET', path: `${this.lock}/fences/${this.fence}` },
        { method: 'POST', path: `${this.from}/settle`, body: { acks: [message.receipt], atomic: true } },
        { method: 'POST', path: `${this.to}/messages`, body: { messages: [{ body: message.body }] } },
        { method: 'PATCH', path: this.session, body: { data: { moved: this.moved + 1 } }, if_match: failing ? this.version + 7 : this.version },
      ];
      this.maybe = !failing;
      const moved = await this.client.ask('POST', '/v1/transactions', { operations });
      if (moved.status === 0) return;
      this.maybe = false;
      assert.equal(moved.status, failing ? 409 : 200, JSON.stringify(moved.body));
      if (failing) {
        assert.equal(moved.body.index, 3);
        continue;
      }
      this.moved += 1;
      this.version += 1;
    }
  }

  async verify() {
    const { body: session } = await this.client.must(200, 'GET', this.session);
    const { moved } = session.data;
    assert.ok(moved === this.moved || (this.maybe && moved === this.moved + 1), `${this.session} counts ${moved}, acknowledged were ${this.moved}`);
    const from = (await this.client.list(`${this.from}/messages`)).map(({ body }) => body.id);
    const to = (await this.client.list(`${this.to}/messages`)).map(({ body }) => body.id);
    assert.equal(to.length, moved, 'the follow-ups are not as many as the session counts');
    const all = [...from, ...to].sort((a, b) => a - b);
    assert.deepEqual(all, Array.from({ length: this.sent }, (_, i) => i + 1), 'a message is lost or in two places');
    await this.client.must(204, 'GET', `${this.lock}/fences/${this.fence}`);
    Object.assign(this, { moved, version: session.version, maybe: false });
    if (from.length < 100) await this.fill();
  }
}

// ---- idempotency: one session a key, however often it is asked for ----------------------------------------------------

export class Creator {
  constructor(name, client, random) {
    Object.assign(this, { name, client, random, counter: 0, made: new Map(), maybe: null });
  }

  create(key) {
    return this.client.ask('POST', '/v1/sessions', { subject: this.name, data: { key } }, { 'Idempotency-Key': key });
  }

  async act(running) {
    while (running()) {
      const key = `${this.name}-${++this.counter}`;
      this.maybe = key;
      const answer = await this.create(key);
      if (answer.status === 0) return;
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      this.made.set(key, answer.body);
      this.maybe = null;
      await pause(this.random() * 5);
    }
  }

  async verify() {
    if (this.maybe !== null) {
      const answer = await this.create(this.maybe);
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      this.made.set(this.maybe, answer.body);
      this.maybe = null;
    }
    const keys = [...this.made.keys()];
    for (const key of keys.slice(-3)) {
      const again = await this.create(key);
      const { id, token } = this.made.get(key);
      assert.deepEqual([again.status, again.body.id, again.body.token], [201, id, token], 'a replay is another session');
      assert.equal(again.headers['idempotent-replayed'], 'true');
    }
    const listed = await this.client.list(`/v1/subjects/${this.name}/sessions`);
    assert.deepEqual(listed.map(({ id }) => id).sort(), [...this.made.values()].map(({ id }) => id).sort());
  }
}
