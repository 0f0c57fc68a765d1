// A machine that goes silent, in networks of the test's own (tests/chaos/enter.sh): what was sent to it is neither answered
// nor refused nor acknowledged. How long that is waited for: by a member that has forwarded a request, and by HAProxy.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Namespaces } from '../chaos/world.mjs';
import { Cluster, pause, until } from '../members/members.mjs';

const skip = process.env.CHAOS_PLACE === 'namespaces' ? false : 'this kernel lets the test make no namespaces';
const scratch = mkdtempSync(join(tmpdir(), 'ringhold-silence-'));
const world = new Namespaces(scratch);
const children = [];

after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? new Promise((done) => child.once('close', done))));
  if (!skip) world.dismantle([]);
  rmSync(scratch, { recursive: true, force: true });
});

function run(words, options = {}) {
  const child = spawn(words[0], words.slice(1), { stdio: 'ignore', ...options });
  children.push(child);
  return child;
}

function cut(a, b) {
  world.cut(a, b);
  world.cut(b, a);
}

// The status, who answered, and how long that took. 0: nobody did.
function call(base, method, path, agent) {
  const begun = performance.now();
  return new Promise((done) => {
    const tell = (status, node) => done({ status, node, ms: performance.now() - begun });
    const request = http.request(`${base}${path}`, { method, agent }, (response) => {
      response.resume().on('end', () => tell(response.statusCode, response.headers['ringhold-node']));
    });
    request.on('error', () => tell(0)).end();
  });
}

test('a member does not wait for an owner that acknowledges nothing', { skip }, async () => {
  class Apart extends Cluster {
    async place(name) {
      return world.place(name);
    }
  }
  const cluster = new Apart();
  await cluster.three();
  await cluster.placed();
  const [n1] = cluster.members;
  let name;
  for (let i = 0; name === undefined; i++) {
    const { body } = await n1.ask('GET', `/v1/ring/lookup?name=silent-${i}`);
    if (body.owner === 'n3') name = `silent-${i}`;
  }
  const write = () => n1.ask('PUT', `/v1/sessions/${name}`, { data: {} });
  for (let i = 0; i < 5; i++) assert.ok((await write()).status < 300);
  cut('n1', 'n3'); // who goes on leading, with n2
  const begun = performance.now();
  const answer = await write();
  const ms = performance.now() - begun;
  world.heal();
  assert.deepEqual([answer.status, answer.body.code], [503, 'outcome-unknown']);
  assert.ok(ms > 1000 && ms < 5000, `after ${ms} ms`);
  await cluster.stop();
});

// A member that is played: says its name, and of /poll nothing, when it is the first.
const PLAYED = `
  const [name, host] = process.argv.slice(1);
  require('node:http').createServer((request, response) => {
    request.resume().on('end', () => {
      response.setHeader('Ringhold-Node', name);
      if (request.url !== '/poll' || name !== 'p1') response.end(name);
    });
  }).listen(7480, host);`;

test('HAProxy gives up a member that is silent, whether it had all of the request or not', { skip }, async () => {
  const hosts = {};
  for (const name of ['p1', 'p2', 'p3', 'balancer']) {
    const place = world.place(name);
    hosts[name] = { host: place.listen.split(':')[0], under: place.under };
  }
  for (const name of ['p1', 'p2', 'p3']) run([...hosts[name].under, process.execPath, '-e', PLAYED, name, hosts[name].host]);
  const address = (name) => `${hosts[name].host}:7480`;
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, RINGHOLD_BIND: address('balancer') };
  ['p1', 'p2', 'p3'].forEach((name, i) => { env[`RINGHOLD_${i + 1}`] = address(name); });
  const configuration = new URL('../../deploy/haproxy/', import.meta.url).pathname;
  run([...hosts.balancer.under, 'haproxy', '-db', '-f', `${configuration}common.cfg`, '-f', `${configuration}round-robin.cfg`], { env });
  const base = `http://${address('balancer')}`;
  // One connection of the client's, so that those to the members are used again: a new one would be refused.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const nodes = async (count) => {
    const seen = [];
    for (let i = 0; i < count; i++) seen.push((await call(base, 'POST', '/', agent)).node);
    return [...new Set(seen)].sort().join(' ');
  };
  const all = () => until(async () => (await nodes(6)) === 'p1 p2 p3');

  await all();
  cut('balancer', 'p1');
  const written = [];
  for (let i = 0; i < 3; i++) written.push(await call(base, 'POST', '/', agent));
  const lost = written.filter(({ status }) => status !== 200);
  assert.equal(lost.length, 1, JSON.stringify(written));
  assert.ok(lost[0].ms > 3000 && lost[0].ms < 9000, `a POST that is not acknowledged: after ${lost[0].ms} ms`);
  world.heal();

  await all();
  const polls = [0, 1, 2].map(() => call(base, 'GET', '/poll'));
  await pause(500);
  cut('balancer', 'p1');
  const read = await Promise.all(polls);
  world.heal();
  const slow = read.filter(({ ms }) => ms > 1000);
  assert.deepEqual(read.map(({ status }) => status), [200, 200, 200], 'a GET is asked once more, of another');
  assert.equal(slow.length, 1);
  assert.ok(slow[0].ms < 10000, `a long poll at a member that has gone: after ${slow[0].ms} ms`);
  agent.destroy();
});
