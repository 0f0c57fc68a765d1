// What a read may be answered from: the leader, a leader that the others have confirmed, any replica. And clients that are
// sent to the owner instead of being passed on to it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Wire, once } from '../http/wire.mjs';
import { Cluster, expect, pause, until } from './members.mjs';

const cluster = new Cluster();

before(async () => {
  await cluster.three();
  await cluster.placed();
});

after(() => cluster.stopWell());

const age = (answer) => Number(answer.headers.get('ringhold-age-ms'));
const lookup = async (name, member = cluster.members[0]) =>
  (await member.ask('GET', `/v1/ring/lookup?name=${name}`)).body;
const stale = (path) => path + (path.includes('?') ? '&' : '?') + 'consistency=stale';

// Names with that prefix, of partitions that the member leads, at most one of each partition.
async function namesOf(member, prefix) {
  const names = new Map();
  for (let i = 0; i < 40; i++) {
    const place = await lookup(`${prefix}-${i}`);
    if (place.owner === member.name && !names.has(place.partition)) names.set(place.partition, `${prefix}-${i}`);
  }
  assert.ok(names.size > 0, `${member.name} leads nothing`);
  return [...names.values()];
}

// Stops the members where they are, as if their machines hung, while `during` runs.
async function frozen(members, during) {
  for (const member of members) member.kill('SIGSTOP');
  try {
    return await during();
  } finally {
    for (const member of members) member.kill('SIGCONT');
  }
}

test('every read of a partition may be leader, strong or stale, and nothing else', async () => {
  const [a, b] = cluster.members;
  expect(await a.ask('PUT', '/v1/sessions/c1', { data: { n: 1 } }), 201);
  const { body: grant } = expect(await a.ask('PUT', '/v1/locks/c1/leases/x', { owner: 'o' }), 201);
  const { body: sent } = expect(await a.ask('POST', '/v1/queues/c1/messages', { messages: [{ body: 1 }] }), 201);
  const { body: made } = expect(await a.ask('POST', '/v1/sessions', { subject: 'c1' }), 201);
  const reads = {
    '/v1/sessions/c1': 200,
    [`/v1/sessions/${made.id}`]: 200,
    '/v1/subjects/c1/sessions': 200,
    '/v1/locks/c1': 200,
    '/v1/locks/c1/leases/x': 200,
    [`/v1/locks/c1/fences/${grant.fence}`]: 204,
    '/v1/locks': 200,
    '/v1/queues/c1': 200,
    '/v1/queues': 200,
    '/v1/queues/c1/messages': 200,
    [`/v1/queues/c1/messages/${sent.messages[0].id}`]: 200,
  };
  for (const [path, status] of Object.entries(reads)) {
    for (const member of cluster.members) {
      for (const kind of ['leader', 'strong']) {
        const answer = expect(await member.ask('GET', `${path}?consistency=${kind}`), status);
        assert.equal(answer.headers.get('age'), null);
        assert.equal(answer.headers.get('ringhold-age-ms'), null);
      }
      await until(async () => (await member.ask('GET', stale(path))).status === status);
      const answer = expect(await member.ask('GET', stale(path)), status);
      assert.match(answer.headers.get('ringhold-age-ms') ?? 'none', /^\d+$/, path);
      assert.equal(answer.headers.get('age'), String(Math.ceil(age(answer) / 1000)));
    }
    for (const wrong of ['', 'Strong', 'eventual', 'strong&consistency=strong']) {
      const { body } = expect(await b.ask('GET', `${path}?consistency=${wrong}`), 400);
      assert.equal(body.code, 'invalid-parameter');
      assert.equal(body.field, 'consistency');
    }
  }
  expect(await a.ask('GET', '/v1/ring?consistency=stale'), 400);
  expect(await a.ask('GET', '/v1/status?consistency=stale'), 400);
  const { body } = expect(await a.ask('PUT', '/v1/sessions/c1?consistency=strong', { data: {} }), 400);
  assert.equal(body.code, 'invalid-parameter');
});

test('a strong read sees what was answered before, whoever is asked', async () => {
  for (let i = 0; i < 60; i++) {
    const [one, two] = [cluster.members[i % 3], cluster.members[(i + 1) % 3]];
    const path = `/v1/sessions/strong-${i % 8}`;
    const written = await one.ask('PUT', path, { data: { i } });
    const read = expect(await two.ask('GET', `${path}?consistency=strong`), 200);
    assert.equal(read.body.version, written.body.version);
  }
});

test('while there is a leader, what a replica tells is soon and stays at most seconds old', async () => {
  for (const member of cluster.members) {
    for (const name of ['fresh-1', 'fresh-2', 'fresh-3']) {
      expect(await cluster.members[0].ask('PUT', `/v1/sessions/${name}`, { data: {} }), 201 - (member !== cluster.members[0]));
      await until(async () => (await member.ask('GET', stale(`/v1/sessions/${name}`))).status === 200);
      await pause(600);
      const answer = expect(await member.ask('GET', stale(`/v1/sessions/${name}`)), 200);
      assert.ok(age(answer) < 5000, `${age(answer)} ms`);
    }
  }
});

test('a replica counts down what a lease has left, though nothing is written', async () => {
  const path = '/v1/locks/counted';
  expect(await cluster.members[0].ask('PUT', `${path}/leases/x`, { owner: 'o', ttl_ms: 60000 }), 201);
  for (const member of cluster.members) {
    await until(async () => {
      const { body } = await member.ask('GET', stale(path));
      return body.holders.length === 1 && body.holders[0].expires_in_ms < 59500;
    });
    const { body } = await member.ask('GET', stale(path));
    assert.ok(body.holders[0].expires_in_ms > 20000);
  }
});

test('a change wakes who waits at a replica', async () => {
  for (const member of cluster.members) {
    const path = `/v1/locks/watched-${member.name}`;
    const { headers } = await cluster.members[0].ask('GET', path);
    const known = { 'If-None-Match': headers.get('etag') };
    const waits = cluster.members.map((m) => m.ask('GET', stale(`${path}?wait_ms=20000`), undefined, known));
    await pause(300);
    const begun = Date.now();
    expect(await member.ask('PUT', `${path}/leases/x`, { owner: 'o' }), 201);
    for (const waited of await Promise.all(waits)) assert.equal(expect(waited, 200).body.holders.length, 1);
    assert.ok(Date.now() - begun < 10000);
    const { headers: now } = await cluster.members[0].ask('GET', path);
    const again = { 'If-None-Match': now.get('etag') };
    for (const m of cluster.members) expect(await m.ask('GET', stale(`${path}?wait_ms=300`), undefined, again), 304);
  }
});

test('a stale look at a lease does not collect it', async () => {
  const path = '/v1/locks/collected/leases';
  const wait = { Prefer: 'respond-async' };
  expect(await cluster.members[0].ask('PUT', `${path}/x`, { owner: 'x' }), 201);
  expect(await cluster.members[0].ask('PUT', `${path}/y`, { owner: 'y', ttl_ms: 60000, wait_ms: 60000 }, wait), 202);
  expect(await cluster.members[0].ask('DELETE', `${path}/x`), 204);
  const looks = async () => (await cluster.members[1].ask('GET', stale(`${path}/y`))).body;
  await until(async () => (await looks()).state === 'held');
  assert.ok((await looks()).expires_in_ms <= 5000);
  expect(await cluster.members[2].ask('GET', `${path}/y`), 200);
  await until(async () => (await looks()).expires_in_ms > 5000);
});

test('a leader that hung answers no read with what it knew before', async () => {
  for (const old of cluster.members.slice(1)) {
    const names = await namesOf(old, `cut-${old.name}`);
    const others = cluster.members.filter((m) => m !== old);
    for (const name of names) expect(await old.ask('PUT', `/v1/sessions/${name}`, { data: { n: 1 } }), 201);
    const asked = [];
    const ask = (name) => {
      for (const kind of ['strong', 'leader']) {
        asked.push(old.ask('GET', `/v1/sessions/${name}?consistency=${kind}`).catch(() => null));
      }
    };
    await frozen([old], async () => {
      for (const name of names) {
        await until(async () => (await lookup(name, others[0])).owner !== old.name);
        await until(async () => (await others[0].ask('PUT', `/v1/sessions/${name}`, { data: { n: 2 } })).status === 200);
      }
      for (let i = 0; i < 20; i++) names.forEach(ask);
      await pause(200);
    });
    for (let i = 0; i < 10; i++) {
      names.forEach(ask);
      await pause(2);
    }
    const answers = await Promise.all(asked);
    let good = 0;
    for (const answer of answers) {
      assert.ok(answer !== null, 'an answer was lost');
      if (answer.status === 503) continue;
      assert.equal(expect(answer, 200).body.data.n, 2);
      good++;
    }
    assert.ok(good > 0);
    await cluster.placed();
  }
});

test('without a leader a replica goes on telling what it knows, and how old that is', async () => {
  const [survivor, ...others] = cluster.members;
  const names = [];
  for (const member of cluster.members) names.push(...(await namesOf(member, 'kept')));
  for (const name of names) {
    expect(await survivor.ask('PUT', `/v1/sessions/${name}`, { data: { name } }), 201);
    expect(await survivor.ask('PUT', `/v1/locks/${name}/leases/x`, { owner: 'o', ttl_ms: 3000 }), 201);
    await until(async () => (await survivor.ask('GET', stale(`/v1/locks/${name}/leases/x`))).status === 200);
  }
  await frozen(others, async () => {
    const begun = Date.now();
    await pause(1500); // whoever of them led, nobody does now
    const ages = new Map();
    for (let i = 0; i < 3; i++) {
      for (const name of names) {
        const answer = expect(await survivor.ask('GET', stale(`/v1/sessions/${name}`)), 200);
        assert.equal(answer.body.data.name, name);
        assert.ok(age(answer) >= Date.now() - begun - 500, `${age(answer)} ms, ${Date.now() - begun} after the stop`);
        assert.ok(age(answer) > (ages.get(name) ?? 0));
        ages.set(name, age(answer));
      }
      await pause(1000);
    }
    const list = expect(await survivor.ask('GET', stale('/v1/locks?limit=1000')), 200);
    for (const name of names) assert.ok(list.body.items.some((lock) => lock.name === name));
    assert.ok(age(list) >= Math.max(...ages.values()));
    for (const name of names) {
      // Its time is over, but that is the leader's to say: the next one will let it go on.
      const { body } = expect(await survivor.ask('GET', stale(`/v1/locks/${name}/leases/x`)), 200);
      assert.equal(body.state, 'held');
    }
    const refused = expect(await survivor.ask('GET', `/v1/sessions/${names[0]}?consistency=strong`), 503);
    assert.equal(refused.body.code, 'no-leader');
  });
  await cluster.placed();
  for (const name of names) {
    await until(async () => age(await survivor.ask('GET', stale(`/v1/sessions/${name}`))) < 2000);
  }
});

test('a client that prefers it is sent to the owner', async () => {
  const redirect = { Prefer: 'redirect' };
  for (const owner of cluster.members) {
    const [name] = await namesOf(owner, `sent-${owner.name}`);
    const path = `/v1/sessions/${name}`;
    for (const member of cluster.members.filter((m) => m !== owner)) {
      const reply = await fetch(`${member.base}${path}`, { headers: redirect, redirect: 'manual' });
      assert.equal(reply.status, 307);
      assert.equal(await reply.text(), '');
      assert.equal(reply.headers.get('location'), owner.base + path);
      assert.equal(reply.headers.get('preference-applied'), 'redirect');
      assert.equal(reply.headers.get('ringhold-owner'), owner.name);
      assert.match(reply.headers.get('ringhold-ring-epoch'), /^\d+$/);
      const data = { through: member.name };
      const put = await fetch(`${member.base}${path}`, { method: 'PUT', headers: redirect, body: JSON.stringify({ data }) });
      assert.ok(put.redirected && put.status < 300, String(put.status));
      assert.equal(put.headers.get('ringhold-node'), owner.name);
      const read = await fetch(`${member.base}${path}`, { headers: { Prefer: 'wait=1, Redirect' } });
      assert.equal(read.headers.get('ringhold-node'), owner.name);
      assert.deepEqual((await read.json()).data, data);
    }
    const here = expect(await owner.ask('GET', path, undefined, redirect), 200);
    assert.equal(here.headers.get('preference-applied'), null);
  }
  for (const member of cluster.members) {
    const list = expect(await member.ask('GET', '/v1/locks', undefined, redirect), 200); // of all partitions: gathered here
    assert.equal(list.headers.get('ringhold-owner'), null);
    assert.equal(list.headers.get('ringhold-partition'), '0');
    assert.match(list.headers.get('ringhold-ring-epoch'), /^\d+$/);
    expect(await member.ask('GET', '/v1/ring', undefined, redirect), 200);
    expect(await member.ask('GET', stale('/v1/locks/c1'), undefined, redirect), 200); // its own replica answers
  }
});

test('a session that has moved to another partition is found by every kind of read, and sends nobody in circles', async () => {
  const [a] = cluster.members;
  let moved = 0;
  for (let i = 0; i < 6; i++) {
    const { body: old } = expect(await a.ask('POST', '/v1/sessions', { data: { i } }), 201);
    const rotation = { subject: `mover-${i}`, grace_ms: 3600000 };
    const { body: made } = expect(await a.ask('POST', `/v1/sessions/${old.id}/rotate`, rotation), 200);
    moved += (await lookup(old.id)).partition !== (await lookup(made.id)).partition;
    for (const member of cluster.members) {
      const path = `/v1/sessions/${old.id}`;
      for (const kind of ['leader', 'strong']) {
        assert.equal(expect(await member.ask('GET', `${path}?consistency=${kind}`), 200).body.id, made.id);
      }
      await until(async () => (await member.ask('GET', stale(path))).body.id === made.id);
      assert.ok(age(await member.ask('GET', stale(path))) < 5000);
      const reply = await fetch(member.base + path, { headers: { Prefer: 'redirect' } });
      assert.equal(reply.status, 200);
      assert.equal((await reply.json()).id, made.id);
    }
  }
  assert.ok(moved > 0, 'none went to another partition: this tests nothing');
});

test('where a client is sent to is spelt so that it means the same', async () => {
  const owner = cluster.members[0];
  const [name] = await namesOf(owner, 'spelt');
  const other = cluster.members[1];
  const head = (target) => `DELETE ${target} HTTP/1.1\r\nHost: h\r\nPrefer: redirect\r\n\r\n`;
  const target = `/v1/locks/${name}/leases?reason=a#b"<y>\u00c3\u00a9`;
  expect(await owner.ask('PUT', `/v1/locks/${name}/leases/x`, { owner: 'o' }), 201);
  const answer = await once(other.port, head(target), { method: 'DELETE' });
  assert.equal(answer.status, 307);
  const location = answer.headers.get('location');
  assert.equal(location, `${owner.base}/v1/locks/${name}/leases?reason=a%23b%22%3Cy%3E%C3%A9`);
  const absolute = await once(other.port, head(`http://elsewhere.example/v1/locks/${name}/leases`), { method: 'DELETE' });
  assert.equal(absolute.headers.get('location'), `${owner.base}/v1/locks/${name}/leases`);
  const wire = await Wire.open(owner.port);
  wire.send(head(location.slice(owner.base.length)));
  assert.deepEqual((await wire.answer()).json, { released: 1 });
  wire.end();
});

test('a stale read is answered elsewhere where the member has no replica, and tells that one\'s age', async () => {
  const pair = new Cluster({ replicas: 1 });
  const members = [await pair.found('n1'), await pair.join('n2')];
  await pair.placed();
  for (let i = 0; i < 12; i++) {
    const path = `/v1/sessions/far-${i}`;
    expect(await members[0].ask('PUT', path, { data: { i } }), 201);
    for (const member of members) {
      const answer = expect(await member.ask('GET', stale(path)), 200);
      assert.deepEqual(answer.body.data, { i });
      assert.equal(age(answer), 0);
      expect(await member.ask('GET', `${path}?consistency=strong`), 200);
    }
  }
  for (const member of members) assert.equal(age(expect(await member.ask('GET', stale('/v1/queues')), 200)), 0);
  for (const end of await pair.stop()) assert.equal(end.code, 0, JSON.stringify(end));
});

test('a member that is started and reaches nobody tells what it has, without an age', async () => {
  const names = await namesOf(cluster.members[0], 'alone');
  for (const name of names) expect(await cluster.members[0].ask('PUT', `/v1/sessions/${name}`, { data: { name } }), 201);
  await pause(1000); // until the others have it, too
  let alone = cluster.members[1];
  const others = cluster.members.filter((m) => m !== alone);
  await frozen(others, async () => {
    alone.kill('SIGKILL');
    await alone.exited;
    alone = await cluster.again(alone);
    for (const name of names) {
      let answer;
      await until(async () => (answer = await alone.ask('GET', stale(`/v1/sessions/${name}`))).status === 200);
      assert.equal(answer.body.data.name, name);
      assert.equal(answer.headers.get('ringhold-age-ms'), null);
      assert.equal(answer.headers.get('age'), null);
    }
  });
  await cluster.placed();
  for (const name of names) {
    await until(async () => age(await alone.ask('GET', stale(`/v1/sessions/${name}`))) < 5000);
    assert.notEqual((await alone.ask('GET', stale(`/v1/sessions/${name}`))).headers.get('ringhold-age-ms'), null);
  }
});
