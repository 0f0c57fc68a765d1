import { check, same, sleep } from '../api.mjs';
import { key } from '../names.mjs';
import { ASYNC, acquire } from './locks.mjs';

function fresh() {
  const order = key('order');
  return { pay: `${order}~pay`, stock: `${order}~stock`, lease: `${order}~set` };
}

const set = (api, lease, body, expect, headers) =>
  api.call('putLockSet', { path: { lease }, body, headers, expect });

export default function lockSets(t) {
  t('putLockSet grants all, and the same again', async (api) => {
    const { pay, stock, lease } = fresh();
    const body = { owner: 'w', locks: [{ name: stock }, { name: pay, mode: 'shared' }] };
    const first = await set(api, lease, body, 201);
    same(
      first.body.locks.map((one) => [one.name, one.mode]),
      [
        [stock, 'exclusive'],
        [pay, 'shared'],
      ],
      'the locks',
    );
    check(
      first.body.locks.every((one) => one.fence > 0),
      'each has a fence',
    );
    const again = await set(api, lease, body, 200);
    same(
      again.body.locks.map((one) => one.fence),
      first.body.locks.map((one) => one.fence),
      'the fences of the replay',
    );
    for (const { name, fence } of first.body.locks) {
      const { body: member } = await api.call('getLease', { path: { name, lease }, expect: 200 });
      same([member.fence, member.owner], [fence, 'w'], 'the member as a lease');
    }
    await set(api, lease, { ...body, owner: 'other' }, '422 lease-mismatch');
    await set(api, lease, { ...body, metadata: { a: 1 } }, '422 lease-mismatch');
  });
  t('putLockSet under If-Match and If-None-Match', async (api) => {
    const { pay, stock, lease } = fresh();
    const body = { owner: 'w', locks: [{ name: stock }, { name: pay }] };
    const create = { 'If-None-Match': '*' };
    const made = await set(api, lease, body, 201, create);
    const versions = made.body.locks.map((one) => one.version);
    same(
      [made.body.version, made.headers.etag],
      [Math.max(...versions), `"${made.body.version}"`],
      'the version of the set',
    );
    const again = await set(api, lease, body, '412 version-mismatch', create);
    same(again.body.current_version, made.body.version, 'current_version');
    await api.call('patchLease', { path: { name: pay, lease }, body: { metadata: { a: 1 } }, expect: 200 });
    await set(api, lease, body, '412 version-mismatch', { 'If-Match': made.headers.etag });
    const now = await set(api, lease, body, 200);
    check(now.body.version > made.body.version, 'the version grows with a member');
    await set(api, lease, body, 200, { 'If-Match': now.headers.etag });
  });
  t('putLockSet grants nothing where it cannot grant all', async (api) => {
    const { pay, stock, lease } = fresh();
    await acquire(api, stock);
    const { body, headers } = await set(
      api,
      lease,
      { owner: 'w', locks: [{ name: pay }, { name: stock }] },
      '409 lock-held',
    );
    check(Number(headers['retry-after']) >= 0, 'lock-held carries Retry-After');
    same(body.holders.length, 1, 'the holders');
    same(
      (await api.call('getLock', { path: { name: pay }, expect: 200 })).body.holders,
      [],
      'the holders of the other',
    );
  });
  t('putLockSet waits, and is granted in its turn', async (api) => {
    const { pay, stock, lease } = fresh();
    const held = await acquire(api, stock);
    const waiting = set(
      api,
      lease,
      { owner: 'w', wait_ms: 20000, locks: [{ name: pay }, { name: stock }] },
      201,
    );
    await sleep(100);
    await api.call('releaseLease', { path: held, expect: 204 });
    same((await waiting).body.state, 'held', 'state');
  });
  t('putLockSet answers 202 where asked to', async (api) => {
    const { pay, stock, lease } = fresh();
    const held = await acquire(api, stock);
    const body = { owner: 'w', wait_ms: 60000, locks: [{ name: pay }, { name: stock }] };
    same((await set(api, lease, body, 202, ASYNC)).body.state, 'waiting', 'state');
    await api.call('releaseLease', { path: held, expect: 204 });
    same((await set(api, lease, body, 200)).body.state, 'held', 'state');
  });
  t('putLockSet refuses a wait that would close a cycle', async (api) => {
    const { pay, stock, lease } = fresh();
    await acquire(api, pay, { owner: 'A' });
    await acquire(api, stock, { owner: 'B' });
    await acquire(api, stock, { owner: 'A', wait_ms: 60000 }, { headers: ASYNC, expect: 202 });
    await set(api, lease, { owner: 'B', wait_ms: 1000, locks: [{ name: pay }] }, '409 deadlock');
  });
  t('putLockSet takes locks of one routing key, each once', async (api) => {
    const { pay, lease } = fresh();
    await set(
      api,
      lease,
      { owner: 'w', locks: [{ name: pay }, { name: key('other') }] },
      '422 cross-partition',
    );
    await set(
      api,
      lease,
      { owner: 'w', locks: [{ name: pay }, { name: pay, mode: 'shared' }] },
      '400 invalid-field',
    );
    await set(api, lease, { owner: 'w', locks: [{ name: pay, permits: 2 }] }, '422 permits-exceed-limit');
    const many = Array.from({ length: 64 }, (_, i) => ({ name: `${pay}${i}` }));
    await set(api, lease, { owner: 'w', locks: many }, 201);
  });
  t('putLockSet does not bring an ended set back', async (api) => {
    const { pay, lease } = fresh();
    const body = { owner: 'w', locks: [{ name: pay }] };
    await set(api, lease, body, 201);
    await api.call('releaseLease', { path: { name: pay, lease }, expect: 204 });
    same((await set(api, lease, body, '410 lease-ended')).body.reason, 'released', 'reason');
  });
}
