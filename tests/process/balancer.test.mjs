// deploy/haproxy's three forms before three members that are played here: how requests are spread, where they go when a
// member is stopped, dies or hangs up, and that no write is ever sent twice. Real members: cluster_tour.sh.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';

const CONFIGURATION = new URL('../../deploy/haproxy/', import.meta.url).pathname;
const PATIENCE_MS = 15000;
const members = [];

// A member that answers with its name, waits while the path says so, and dies of /dies before it answers.
class Member {
  constructor(name) {
    this.name = name;
    this.ready = true;
    this.seen = []; // methods and paths, but for health checks
    this.waiting = [];
    this.server = http.createServer((request, response) => this.take(request, response));
  }

  take(request, response) {
    response.setHeader('Ringhold-Node', this.name);
    if (request.url === '/readyz') {
      response.writeHead(this.ready ? 200 : 503).end();
      return;
    }
    this.seen.push(`${request.method} ${request.url}`);
    request.resume().on('end', () => {
      if (request.url === '/dies') request.socket.destroy();
      else if (request.url === '/waits') this.waiting.push(response);
      else response.end(this.name);
    });
  }

  async open(port = 0) {
    await new Promise((done) => this.server.listen(port, '127.0.0.1', done));
    this.port = this.server.address().port;
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}

const free_port = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, condition) {
  for (const end = Date.now() + PATIENCE_MS; !(await condition()); await sleep(50)) {
    assert.ok(Date.now() < end, what);
  }
}

class Balancer {
  constructor(form, port) {
    this.form = form;
    this.port = port;
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, RINGHOLD_BIND: `127.0.0.1:${port}` };
    members.forEach((member, i) => { env[`RINGHOLD_${i + 1}`] = `127.0.0.1:${member.port}`; });
    this.child = spawn('haproxy', ['-db', '-f', `${CONFIGURATION}common.cfg`, '-f', `${CONFIGURATION}${form}.cfg`], { env });
    this.ended = new Promise((done) => this.child.on('close', done));
    this.said = '';
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (bytes) => { this.said += bytes; });
  }

  // Answers are { status, node }; status 0 when none came.
  call(method, path, { key, agent } = {}) {
    return new Promise((done) => {
      const headers = key === undefined ? {} : { 'Routing-Key': key };
      const request = http.request({ host: '127.0.0.1', port: this.port, method, path, headers, agent }, (response) => {
        response.resume().on('end', () => done({ status: response.statusCode, node: response.headers['ringhold-node'] }));
      });
      request.on('error', () => done({ status: 0 })).end();
    });
  }

  async nodes(count, options) {
    const nodes = [];
    for (let i = 0; i < count; i++) nodes.push((await this.call('GET', '/', options)).node);
    return nodes;
  }

  async stop() {
    this.child.kill('SIGTERM');
    await this.ended;
  }
}

async function balanced(form, use) {
  const balancer = new Balancer(form, await free_port());
  try {
    await until(`${form} starts: ${balancer.said}`, async () => (await balancer.call('GET', '/')).status === 200);
    await use(balancer);
  } finally {
    await balancer.stop();
    for (const member of members) {
      member.waiting.splice(0).forEach((response) => response.end());
      member.seen.length = 0;
    }
  }
}

const sorted = (nodes) => [...nodes].sort().join(' ');
const seen = (what) => members.flatMap((member) => member.seen).filter((each) => each === what).length;

before(async () => {
  for (const name of ['n1', 'n2', 'n3']) {
    const member = new Member(name);
    await member.open();
    members.push(member);
  }
});
after(() => Promise.all(members.map((member) => member.close())));

test('round-robin takes one member after the other', () => balanced('round-robin', async (balancer) => {
  assert.equal(sorted(await balancer.nodes(6)), 'n1 n1 n2 n2 n3 n3');
}));

test('least-connections leaves alone who has long polls', () => balanced('least-connections', async (balancer) => {
  const polls = [balancer.call('POST', '/waits'), balancer.call('POST', '/waits')];
  await until('two long polls wait', () => members.filter((member) => member.waiting.length === 1).length === 2);
  const idle = members.find((member) => member.waiting.length === 0);
  assert.deepEqual(await balancer.nodes(4), Array(4).fill(idle.name));
  for (const member of members) member.waiting.splice(0).forEach((response) => response.end());
  await Promise.all(polls);
}));

test('header-hash keeps a key at one member, and those of the others when one dies', () => balanced('header-hash', async (balancer) => {
  const keys = Array.from({ length: 30 }, (_, i) => `key-${i}`);
  const where = new Map();
  for (const key of keys) {
    const nodes = new Set(await balancer.nodes(3, { key }));
    assert.equal(nodes.size, 1, key);
    where.set(key, [...nodes][0]);
  }
  assert.equal(sorted(new Set(where.values())), 'n1 n2 n3');
  assert.equal(sorted(new Set(await balancer.nodes(9))), 'n1 n2 n3', 'without the header');
  const [, lost] = members;
  await lost.close();
  try {
    for (const key of keys) {
      const { status, node } = await balancer.call('GET', '/', { key });
      assert.equal(status, 200, key);
      assert.ok(where.get(key) === lost.name ? node !== lost.name : node === where.get(key), `${key} at ${node}`);
    }
  } finally {
    lost.server = http.createServer((request, response) => lost.take(request, response));
    await lost.open(lost.port);
  }
}));

test('a member that dies of a request: a GET is asked elsewhere, nothing else is', () => balanced('round-robin', async (balancer) => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    for (let i = 0; i < 6; i++) { // on new connections to members and on kept ones
      members.forEach((member) => { member.seen.length = 0; });
      const { status } = await balancer.call(method, '/dies', { agent });
      assert.ok(status === 502 || status === 0, `${method}: ${status}`);
      assert.equal(seen(`${method} /dies`), 1, `${method} was sent once`);
      await balancer.nodes(3, { agent });
    }
  }
  await balancer.call('GET', '/dies');
  assert.equal(seen('GET /dies'), 3, 'once at each');
  assert.equal(members.filter((member) => member.seen.includes('GET /dies')).length, 3);
  agent.destroy();
}));

test('a member that is stopped is turned away from, and ends what it has', () => balanced('round-robin', async (balancer) => {
  const poll = balancer.call('POST', '/waits');
  await until('a long poll waits', () => members.some((member) => member.waiting.length === 1));
  const stopped = members.find((member) => member.waiting.length === 1);
  stopped.ready = false;
  try {
    await until('nothing more goes there', async () => !(await balancer.nodes(6)).includes(stopped.name));
    stopped.waiting.pop().end();
    assert.deepEqual(await poll, { status: 200, node: stopped.name });
  } finally {
    stopped.ready = true;
  }
}));

test('a client that hangs up is gone for the member too', () => balanced('least-connections', async (balancer) => {
  const request = http.request({ host: '127.0.0.1', port: balancer.port, method: 'POST', path: '/waits' });
  request.on('error', () => {}).end();
  await until('a long poll waits', () => members.some((member) => member.waiting.length === 1));
  const [response] = members.find((member) => member.waiting.length === 1).waiting;
  request.destroy();
  await until('the member sees it', () => response.destroyed);
}));
