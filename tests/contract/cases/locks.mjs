import { check, same, sleep } from '../api.mjs';
import { key } from '../names.mjs';

export const ASYNC = { Prefer: 'respond-async' };

/** Acquires under a fresh lease id unless told otherwise; returns the answer's body. */
export async function acquire(api, name, body = {}, { lease = key('l'), expect = 201, headers } = {}) {
  const answer = await api.call('putLease', {
    path: { name, lease },
    body: { owner: lease, ...body },
    headers,
    expect,
  });
  return answer.body;
}

export const line = (api, name, body = {}) =>
  acquire(api, name, { wait_ms: 60000, ...body }, { headers: ASYNC, expect: 202 });

const release = (api, { name, lease }) => api.call('releaseLease', { path: { name, lease }, expect: 204 });

/** When that many stand in the lock's line: how long a request is on its way nobody can say. */
async function lineOf(api, name, count) {
  for (;;) {
    const { body } = await api.call('getLock', { path: { name }, expect: 200 });
    if (body.waiter_count >= count) return body;
    await sleep(10);
  }
}

const get = (api, { name, lease }, expect = 200) => api.call('getLease', { path: { name, lease }, expect });

async function expired(api, body = {}) {
  const lease = await acquire(api, key('lock'), { ttl_ms: 30, ...body });
  await sleep(150);
  return lease;
}

function acquiring(t) {
  t('putLease grants, and grants the same again', async (api) => {
    const name = key('lock');
    const body = { owner: 'w', ttl_ms: 20000, metadata: { a: 1 } };
    const first = await api.call('putLease', { path: { name, lease: 'l' }, body, expect: 201 });
    same(first.headers.location, `/v1/locks/${name}/leases/l`, 'Location');
    const { fence, ...rest } = first.body;
    same(
      [rest.name, rest.lease, rest.owner, rest.mode, rest.permits],
      [name, 'l', 'w', 'exclusive', 1],
      'the lease',
    );
    same([rest.ttl_ms, rest.metadata, rest.state], [20000, { a: 1 }, 'held'], 'the lease');
    check(rest.renew_after_ms > 0 && rest.renew_after_ms < 20000, 'renew_after_ms lies within the ttl');
    const again = await api.call('putLease', { path: { name, lease: 'l' }, body, expect: 200 });
    same(again.body.fence, fence, 'the fence of the replay');
  });
  t('putLease refuses other parameters under the same id', async (api) => {
    const lease = await acquire(api, key('lock'));
    for (const body of [
      { owner: 'other' },
      { owner: lease.owner, mode: 'shared' },
      { owner: lease.owner, ttl_ms: 1234 },
      { owner: lease.owner, metadata: { a: 1 } },
    ]) {
      await api.call('putLease', { path: lease, body, expect: '422 lease-mismatch' });
    }
  });
  t('putLease tells who is refused what it needs to know', async (api) => {
    const name = key('lock');
    const held = await acquire(api, name, { owner: 'holder', metadata: { url: 'x' } });
    const body = { owner: 'other' };
    const { body: problem, headers } = await api.call('putLease', {
      path: { name, lease: 'x' },
      body,
      expect: '409 lock-held',
    });
    same(
      problem.holders.map((one) => [one.owner, one.mode, one.metadata]),
      [['holder', 'exclusive', { url: 'x' }]],
      'holders',
    );
    check(
      problem.holders[0].expires_in_ms > 0 && problem.holders[0].expires_in_ms <= held.ttl_ms,
      'expires_in_ms',
    );
    same([problem.position, problem.delayed_for_ms], [0, 0], 'position and delayed_for_ms');
    check(Number(headers['retry-after']) >= 0, 'lock-held carries Retry-After');
    await line(api, name);
    const second = await api.call('putLease', { path: { name, lease: 'x' }, body, expect: '409 lock-held' });
    same(second.body.position, 1, 'position');
  });
  t('putLease grants a greater fence each time', async (api) => {
    const name = key('lock');
    let last = 0;
    for (let i = 0; i < 3; i += 1) {
      const lease = await acquire(api, name);
      check(lease.fence > last, `the fence ${lease.fence} comes after ${last}`);
      last = lease.fence;
      await release(api, lease);
    }
  });
  t('a lease is made, renewed and released under conditions', async (api) => {
    const path = { name: key('lock'), lease: 'l' };
    const body = { owner: 'w' };
    const create = { 'If-None-Match': '*' };
    const none = { 'If-Match': '*' };
    await api.call('putLease', { path, body, headers: none, expect: '412 version-mismatch' });
    const { body: made, headers } = await api.call('putLease', { path, body, headers: create, expect: 201 });
    const again = await api.call('putLease', { path, body, headers: create, expect: '412 version-mismatch' });
    same(again.body.current_version, made.version, 'current_version');
    const stale = { 'If-Match': `"${made.version - 1}"` };
    const now = { 'If-Match': headers.etag };
    await api.call('putLease', { path, body, headers: stale, expect: '412 version-mismatch' });
    await api.call('putLease', { path, body, headers: now, expect: 200 });
    await api.call('renewLease', { path, headers: stale, expect: '412 version-mismatch' });
    await api.call('renewLease', { path, headers: now, expect: 200 });
    await api.call('releaseLease', { path, headers: stale, expect: '412 version-mismatch' });
    await api.call('releaseLease', { path, headers: now, expect: 204 });
    await api.call('releaseLease', { path, headers: now, expect: 204 });
  });
  t('putLease does not bring an ended lease back', async (api) => {
    const lease = await acquire(api, key('lock'));
    await release(api, lease);
    const { body } = await api.call('putLease', {
      path: lease,
      body: { owner: lease.owner },
      expect: '410 lease-ended',
    });
    same(body.reason, 'released', 'reason');
  });
  t('shared leases are held together, and keep an exclusive one out', async (api) => {
    const name = key('lock');
    await acquire(api, name, { mode: 'shared' });
    await acquire(api, name, { mode: 'shared' });
    await acquire(api, name, {}, { expect: '409 lock-held' });
  });
  t('createLease makes an id', async (api) => {
    const name = key('lock');
    const { body, headers } = await api.call('createLease', {
      path: { name },
      body: { owner: 'w' },
      expect: 201,
    });
    same(headers.location, `/v1/locks/${name}/leases/${body.lease}`, 'Location');
    await get(api, body);
    await api.call('createLease', { path: { name }, body: { owner: 'x' }, expect: '409 lock-held' });
    const call = { path: { name }, body: { owner: 'y', wait_ms: 60000 }, headers: ASYNC };
    const waiting = await api.call('createLease', { ...call, expect: 202 });
    same(waiting.headers.location, `/v1/locks/${name}/leases/${waiting.body.lease}`, 'Location');
  });
  t('createLease with an Idempotency-Key acquires once', async (api) => {
    const name = key('lock');
    const headers = { 'Idempotency-Key': key('k') };
    const call = { path: { name }, body: { owner: 'w' }, headers };
    const first = await api.call('createLease', { ...call, expect: 201 });
    const again = await api.call('createLease', { ...call, expect: 201 });
    same([again.body.lease, again.body.fence], [first.body.lease, first.body.fence], 'the lease');
    await api.call('createLease', { ...call, body: { owner: 'x' }, expect: '422 idempotency-key-reused' });
  });
  t('an Idempotency-Key does not keep a refusal that is retryable', async (api) => {
    const name = key('lock');
    const held = await acquire(api, name);
    const call = { path: { name }, body: { owner: 'w' }, headers: { 'Idempotency-Key': key('k') } };
    await api.call('createLease', { ...call, expect: '409 lock-held' });
    await release(api, held);
    await api.call('createLease', { ...call, expect: 201 });
  });
  t('createLease says that the first request with the key is still running', async (api) => {
    const name = key('lock');
    const held = await acquire(api, name);
    const call = {
      path: { name },
      body: { owner: 'w', wait_ms: 10000 },
      headers: { 'Idempotency-Key': key('k') },
    };
    const first = api.call('createLease', { ...call, expect: 201 });
    await lineOf(api, name, 1);
    await api.call('createLease', { ...call, expect: '409 idempotency-in-flight' });
    await release(api, held);
    await first;
  });
}

function waiting(t) {
  t('putLease waits in line and is granted in turn', async (api) => {
    const name = key('lock');
    const held = await acquire(api, name);
    const first = acquire(api, name, { owner: 'first', wait_ms: 20000 });
    await lineOf(api, name, 1);
    const second = acquire(api, name, { owner: 'second', wait_ms: 20000 });
    const lock = await lineOf(api, name, 2);
    same(
      lock.waiters.map((one) => [one.owner, one.position]),
      [
        ['first', 0],
        ['second', 1],
      ],
      'the line',
    );
    same([lock.holder_count, lock.waiter_count], [1, 2], 'the counts');
    await release(api, held);
    const granted = await first;
    check(granted.fence > held.fence, 'a greater fence');
    await release(api, granted);
    check((await second).fence > granted.fence, 'a greater fence');
  });
  t('putLease whose wait is over leaves nothing behind', async (api) => {
    const name = key('lock');
    await acquire(api, name);
    const begun = Date.now();
    await acquire(api, name, { wait_ms: 300 }, { lease: 'x', expect: '409 lock-held' });
    check(Date.now() - begun >= 250, 'it waited');
    const { body } = await api.call('getLock', { path: { name }, expect: 200 });
    same(body.waiters, [], 'the line');
    await get(api, { name, lease: 'x' }, '404 lease-not-found');
  });
  t('putLease answers 202 where asked to, and the lease is granted in its turn', async (api) => {
    const name = key('lock');
    const held = await acquire(api, name);
    const body = { owner: 'w', wait_ms: 60000 };
    const answer = await api.call('putLease', {
      path: { name, lease: 'x' },
      body,
      headers: ASYNC,
      expect: 202,
    });
    same(answer.headers.location, `/v1/locks/${name}/leases/x`, 'Location');
    same([answer.body.state, answer.body.position], ['waiting', 0], 'the lease');
    await get(api, answer.body);
    const watching = api.call('getLease', {
      path: answer.body,
      query: { wait_ms: 20000 },
      headers: { 'If-None-Match': answer.headers.etag },
      expect: 200,
    });
    await sleep(100);
    await release(api, held);
    same((await watching).body.state, 'held', 'state');
  });
  t('a lease that waits can be cancelled, and lapses at its deadline', async (api) => {
    const name = key('lock');
    await acquire(api, name);
    await release(api, await line(api, name));
    const late = await line(api, name, { wait_ms: 50 });
    await sleep(200);
    same((await get(api, late, '410 lease-ended')).body.reason, 'expired', 'reason');
  });
  t('a wait that would close a cycle is refused', async (api) => {
    const [x, y] = [key('lock'), key('lock')];
    await acquire(api, x, { owner: 'A' });
    await acquire(api, y, { owner: 'B' });
    await line(api, y, { owner: 'A' });
    const { cycle } = await acquire(api, x, { owner: 'B', wait_ms: 1000 }, { expect: '409 deadlock' });
    same(cycle.map((edge) => `${edge.owner} ${edge.lock}`).sort(), [`A ${y}`, `B ${x}`].sort(), 'the cycle');
    const call = { path: { name: x }, body: { owner: 'B', wait_ms: 1000 }, expect: '409 deadlock' };
    await api.call('createLease', call);
  });
}

function keeping(t) {
  t('renewLease keeps the fence and can change the time', async (api) => {
    const lease = await acquire(api, key('lock'));
    const { body } = await api.call('renewLease', { path: lease, body: { ttl_ms: 60000 }, expect: 200 });
    same([body.fence, body.ttl_ms], [lease.fence, 60000], 'fence and ttl_ms');
    check(body.expires_in_ms > 59000, 'the time starts anew');
    const again = await api.call('renewLease', { path: lease, expect: 200 });
    same(again.body.ttl_ms, 60000, 'ttl_ms');
  });
  t('renewLease with an Idempotency-Key', async (api) => {
    const lease = await acquire(api, key('lock'));
    const headers = { 'Idempotency-Key': key('k') };
    await api.call('renewLease', { path: lease, body: { ttl_ms: 60000 }, headers, expect: 200 });
    await api.call('renewLease', {
      path: lease,
      body: { ttl_ms: 50000 },
      headers,
      expect: '422 idempotency-key-reused',
    });
  });
  t('a lease that is not renewed is lost, and everybody is told', async (api) => {
    const lease = await expired(api);
    const told = [
      await api.call('getLease', { path: lease, expect: '410 lease-ended' }),
      await api.call('renewLease', { path: lease, expect: '410 lease-ended' }),
      await api.call('patchLease', { path: lease, body: { metadata: {} }, expect: '410 lease-ended' }),
      await api.call('releaseLease', { path: lease, expect: '410 lease-ended' }),
      await api.call('putLease', {
        path: lease,
        body: { owner: lease.owner, ttl_ms: 30 },
        expect: '410 lease-ended',
      }),
    ];
    for (const { body } of told) same(body.reason, 'expired', 'reason');
  });
  t('getLease is woken by expiry', async (api) => {
    const lease = await acquire(api, key('lock'), { ttl_ms: 300 });
    const headers = { 'If-None-Match': `"${lease.version}"` };
    await api.call('getLease', { path: lease, headers, expect: 304 });
    const begun = Date.now();
    await api.call('getLease', {
      path: lease,
      query: { wait_ms: 20000 },
      headers,
      expect: '410 lease-ended',
    });
    check(Date.now() - begun < 5000, 'the expiry wakes the waiting GET');
  });
  t('a lease nobody knows', async (api) => {
    const path = { name: key('lock'), lease: 'x' };
    for (const operation of ['getLease', 'renewLease']) {
      await api.call(operation, { path, expect: '404 lease-not-found' });
    }
    await api.call('releaseLease', { path, expect: 204 });
    await api.call('patchLease', { path, body: { metadata: {} }, expect: '404 lease-not-found' });
  });
  t('a lease that waits is not held', async (api) => {
    const name = key('lock');
    await acquire(api, name);
    const lease = await line(api, name);
    await api.call('renewLease', { path: lease, expect: '409 lease-not-held' });
    await api.call('patchLease', { path: lease, body: { mode: 'shared' }, expect: '409 lease-not-held' });
  });
  t('releaseLease is 204, however often', async (api) => {
    const lease = await acquire(api, key('lock'));
    await release(api, lease);
    await release(api, lease);
    same((await get(api, lease, '410 lease-ended')).body.reason, 'released', 'reason');
  });
  t('patchLease merges metadata under If-Match', async (api) => {
    const lease = await acquire(api, key('lock'), { metadata: { a: 1, b: 2 } });
    const headers = { 'If-Match': `"${lease.version}"` };
    const patch = { path: lease, body: { metadata: { a: null, c: 3 } }, headers };
    const { body } = await api.call('patchLease', { ...patch, expect: 200 });
    same([body.metadata, body.fence], [{ b: 2, c: 3 }, lease.fence], 'metadata and fence');
    check(body.version > lease.version, 'the version grows');
    const stale = await api.call('patchLease', { ...patch, expect: '412 version-mismatch' });
    same(stale.body.current_version, body.version, 'current_version');
    const cleared = await api.call('patchLease', { path: lease, body: { metadata: null }, expect: 200 });
    same(cleared.body.metadata, {}, 'metadata');
    await api.call('patchLease', {
      path: lease,
      body: { metadata: { a: 'x'.repeat(16384) } },
      expect: '413 body-too-large',
    });
  });
  t('patchLease makes no lease shared beside an exclusive one', async (api) => {
    const name = key('lock');
    await api.call('putLock', { path: { name }, body: { limit: 2 }, expect: 201 });
    const [one, two] = [await acquire(api, name), await acquire(api, name)];
    const patch = { path: one, body: { mode: 'shared' }, expect: '409 lock-held' };
    const { body } = await api.call('patchLease', patch);
    check(
      body.holders.some((holder) => holder.lease === two.lease),
      'holders lists the other',
    );
  });
  t('patchLease makes an exclusive lease shared, never the other way', async (api) => {
    const name = key('lock');
    const lease = await acquire(api, name);
    const waiter = await line(api, name, { mode: 'shared' });
    const { body } = await api.call('patchLease', { path: lease, body: { mode: 'shared' }, expect: 200 });
    same([body.mode, body.fence], ['shared', lease.fence], 'mode and fence');
    same((await get(api, waiter)).body.state, 'held', 'the waiter’s state');
    await api.call('patchLease', { path: lease, body: { mode: 'exclusive' }, expect: '409 mode-conflict' });
  });
}

function sessions(t) {
  t('a lease ends with its session', async (api) => {
    const order = key('order');
    const [name, id] = [`${order}~pay`, `${order}~s`];
    await api.call('putSession', { path: { id }, expect: 201 });
    const lease = await acquire(api, name, { session: id });
    same(lease.session, id, 'session');
    await api.call('deleteSession', { path: { id }, expect: 204 });
    same((await get(api, lease, '410 lease-ended')).body.reason, 'session-ended', 'reason');
    const late = await acquire(api, name, { session: id, lock_delay_ms: 0 }, { expect: '410 session-ended' });
    same(late.reason, 'revoked', 'reason');
    const call = { path: { name }, body: { owner: 'w', session: id }, expect: '410 session-ended' };
    await api.call('createLease', call);
    const set = { owner: 'w', session: id, locks: [{ name }] };
    await api.call('putLockSet', { path: { lease: key('set') }, body: set, expect: '410 session-ended' });
  });
  t('a lease’s session must be there, and have the same routing key', async (api) => {
    const order = key('order');
    const [name, session] = [`${order}~pay`, `${order}~nobody`];
    await acquire(api, name, { session }, { expect: '404 session-not-found' });
    await acquire(api, name, { session: key('other') }, { expect: '422 cross-partition' });
    await api.call('createLease', {
      path: { name },
      body: { owner: 'w', session },
      expect: '404 session-not-found',
    });
    const elsewhere = { owner: 'w', session: key('other') };
    await api.call('createLease', { path: { name }, body: elsewhere, expect: '422 cross-partition' });
    const set = { owner: 'w', session, locks: [{ name }] };
    await api.call('putLockSet', { path: { lease: key('set') }, body: set, expect: '404 session-not-found' });
  });
}

function configuring(t) {
  t('putLock makes a semaphore', async (api) => {
    const name = key('lock');
    const first = await api.call('putLock', { path: { name }, body: { limit: 3 }, expect: 201 });
    same([first.body.limit, first.headers.location], [3, `/v1/locks/${name}`], 'limit and Location');
    await acquire(api, name, { permits: 4 }, { expect: '422 permits-exceed-limit' });
    await api.call('createLease', {
      path: { name },
      body: { owner: 'w', permits: 4 },
      expect: '422 permits-exceed-limit',
    });
    await acquire(api, name, { permits: 2 });
    await acquire(api, name, { permits: 1 });
    await acquire(api, name, { permits: 1 }, { expect: '409 lock-held' });
    await api.call('putLock', { path: { name }, body: { limit: 4 }, expect: 200 });
    await acquire(api, name, { permits: 1 });
  });
  t('putLock under If-Match and If-None-Match', async (api) => {
    const name = key('lock');
    const { body: first } = await api.call('putLock', {
      path: { name },
      headers: { 'If-None-Match': '*' },
      expect: 201,
    });
    const again = { path: { name }, headers: { 'If-None-Match': '*' }, expect: '412 version-mismatch' };
    same((await api.call('putLock', again)).body.current_version, first.version, 'current_version');
    const headers = { 'If-Match': `"${first.version}"` };
    await api.call('putLock', { path: { name }, body: { limit: 2 }, headers, expect: 200 });
    await api.call('putLock', {
      path: { name },
      body: { limit: 2 },
      headers,
      expect: '412 version-mismatch',
    });
  });
  t('getLock answers for a name never used', async (api) => {
    const name = key('lock');
    const { body } = await api.call('getLock', { path: { name }, expect: 200 });
    same([body.name, body.version, body.fence, body.limit, body.holders], [name, 0, 0, 1, []], 'the lock');
    await api.call('getLock', { path: { name }, headers: { 'If-None-Match': '"0"' }, expect: 304 });
    await api.call('getLock', { path: { name }, head: true, expect: 200 });
    const headers = { 'If-None-Match': '"0"' };
    const watching = api.call('getLock', { path: { name }, query: { wait_ms: 20000 }, headers, expect: 200 });
    await sleep(100);
    const lease = await acquire(api, name);
    same(
      (await watching).body.holders.map((one) => one.lease),
      [lease.lease],
      'holders',
    );
  });
  t('a lock is shut for a while after a lease was lost', async (api) => {
    const { name } = await expired(api, { lock_delay_ms: 60000 });
    const problem = await acquire(api, name, {}, { expect: '409 lock-held' });
    check(
      problem.delayed_for_ms > 50000 && problem.delayed_for_ms <= 60000,
      `delayed_for_ms is ${problem.delayed_for_ms}`,
    );
    const { body } = await api.call('getLock', { path: { name }, expect: 200 });
    check(body.delayed_for_ms > 50000, 'the lock says so too');
  });
  t('breakLock ends what is held and tells why', async (api) => {
    const lease = await acquire(api, key('lock'));
    const path = { name: lease.name };
    const stale = { path, headers: { 'If-Match': '"999999999"' }, expect: '412 version-mismatch' };
    await api.call('breakLock', stale);
    const query = { reason: 'it was unplugged', lock_delay_ms: 0 };
    same((await api.call('breakLock', { path, query, expect: 200 })).body.released, 1, 'released');
    const { body } = await get(api, lease, '410 lease-ended');
    same([body.reason, body.reason_text], ['revoked', 'it was unplugged'], 'why');
    await api.call('releaseLease', { path: lease, expect: '410 lease-ended' });
    same((await api.call('breakLock', { path, expect: 200 })).body.released, 0, 'released');
  });
  t('checkFence tells the newest grant from older ones', async (api) => {
    const old = await acquire(api, key('lock'));
    const { name } = old;
    await api.call('checkFence', { path: { name, fence: old.fence }, expect: 204 });
    await release(api, old);
    const { fence } = await acquire(api, name);
    const { body } = await api.call('checkFence', {
      path: { name, fence: old.fence },
      expect: '409 stale-fence',
    });
    same(body.current, fence, 'current');
    await api.call('checkFence', { path: { name, fence: fence + 1000 }, expect: '409 stale-fence' });
    await api.call('checkFence', { path: { name: key('lock'), fence: 1 }, expect: '409 stale-fence' });
    for (const wrong of ['0', '-1', 'x', '1.5', '99999999999999999999']) {
      await api.call('checkFence', {
        path: { name, fence: wrong },
        expect: '400 invalid-parameter',
      });
    }
  });
  t('listLocks finds by prefix and by owner, page by page', async (api) => {
    const prefix = key('list');
    const held = [];
    for (const word of ['a', 'b', 'c'])
      held.push(await acquire(api, `${prefix}~${word}`, { owner: `${prefix}-${word}` }));
    const first = await api.call('listLocks', { query: { prefix: `${prefix}~`, limit: 2 }, expect: 200 });
    same(
      first.body.items.map((lock) => lock.name),
      [`${prefix}~a`, `${prefix}~b`],
      'the first page',
    );
    const query = { prefix: `${prefix}~`, limit: 2, cursor: first.body.next_cursor };
    const second = await api.call('listLocks', { query, expect: 200 });
    same(
      second.body.items.map((lock) => lock.name),
      [`${prefix}~c`],
      'the second page',
    );
    same(second.body.next_cursor, undefined, 'next_cursor of the last page');
    const owned = await api.call('listLocks', { query: { owner: `${prefix}-b` }, expect: 200 });
    same(
      owned.body.items.map((lock) => lock.name),
      [`${prefix}~b`],
      'the locks of an owner',
    );
  });
}

export default function locks(t) {
  acquiring(t);
  waiting(t);
  keeping(t);
  sessions(t);
  configuring(t);
}
