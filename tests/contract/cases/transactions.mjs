import { check, same } from '../api.mjs';
import { key } from '../names.mjs';
import { acquire } from './locks.mjs';

const run = (api, operations, expect, more = {}) =>
  api.call('runTransaction', { body: { operations }, expect, ...more });

/** A lock held, a session, and a message received, all of one routing key. */
async function scene(api) {
  const order = key('order');
  const [lock, session, jobs] = [`${order}~pay`, `${order}~s`, `${order}~jobs`];
  const { fence, lease } = await acquire(api, lock);
  await api.call('putSession', { path: { id: session }, body: { data: { step: 1 } }, expect: 201 });
  await api.call('sendMessages', {
    path: { queue: jobs },
    body: { messages: [{ body: 'charge' }] },
    expect: 201,
  });
  const { body } = await api.call('receiveMessages', { path: { queue: jobs }, expect: 200 });
  const { receipt } = body.messages[0];
  return { order, lock, session, jobs, fence, lease, receipt };
}

function steps({ lock, session, jobs, fence, lease, receipt }) {
  return [
    { method: 'GET', path: `/v1/locks/${lock}/fences/${fence}` },
    { method: 'PUT', path: `/v1/sessions/${session}`, body: { data: { step: 2 } }, if_match: 1 },
    { method: 'POST', path: `/v1/queues/${jobs}/messages`, body: { messages: [{ body: 'ship' }] } },
    { method: 'POST', path: `/v1/queues/${jobs}/settle`, body: { acks: [receipt], atomic: true } },
    { method: 'DELETE', path: `/v1/locks/${lock}/leases/${lease}` },
  ];
}

function committing(t) {
  t('runTransaction does all of it', async (api) => {
    const all = await scene(api);
    const { body } = await run(api, steps(all), 200);
    same(
      body.results.map((result) => result.status),
      [204, 200, 201, 200, 204],
      'the statuses',
    );
    same(body.results[1].body.data, { step: 2 }, 'the session');
    same(body.results[3].body.results[0].outcome, 'acked', 'the outcome');
    same(body.results.filter((result) => 'body' in result).length, 3, 'the bodies');
    await api.call('releaseLease', { path: { name: all.lock, lease: all.lease }, expect: 204 });
    const { body: jobs } = await api.call('getQueue', { path: { queue: all.jobs }, expect: 200 });
    same([jobs.ready, jobs.leased], [1, 0], 'the queue');
  });
  t('runTransaction takes if_match as a version, as an ETag and as *', async (api) => {
    const id = key('s');
    const path = `/v1/sessions/${id}`;
    const put = (if_match) => [{ method: 'PUT', path, body: {}, if_match }];
    for (const none of [1, '"1"', '*']) {
      same((await run(api, put(none), '409 transaction-failed')).body.problem.status, 412, 'the problem');
    }
    const { headers } = await api.call('putSession', { path: { id }, expect: 201 });
    for (const version of [headers.etag, 2, '3', '*']) await run(api, put(version), 200);
    const { body } = await run(api, put(headers.etag), '409 transaction-failed');
    same([body.problem.code, body.problem.current_version], ['version-mismatch', 5], 'the problem');
    for (const wrong of ['', 'x', '"x"', 'W/"5"', '-1', '"5', true, null, 1.5, -1, ['5']])
      await run(api, put(wrong), '400 invalid-field', { invalid: true });
  });
  t('runTransaction lets operations see each other', async (api) => {
    const id = `${key('order')}~s`;
    const put = (n) => ({ method: 'PUT', path: `/v1/sessions/${id}`, body: { data: { n } } });
    const operations = [
      put(1),
      { method: 'PATCH', path: `/v1/sessions/${id}`, body: { data: { m: 2 } }, if_match: 1 },
    ];
    const { body } = await run(api, operations, 200);
    same(body.results[1].body.data, { n: 1, m: 2 }, 'data');
  });
  t('runTransaction does nothing where one operation fails', async (api) => {
    const all = await scene(api);
    const operations = steps(all);
    operations[1].if_match = 9;
    const { body } = await run(api, operations, '409 transaction-failed');
    same(
      [body.index, body.problem.code, body.problem.current_version],
      [1, 'version-mismatch', 1],
      'what failed',
    );
    await api.call('getLease', { path: { name: all.lock, lease: all.lease }, expect: 200 });
    const stale = [
      { method: 'GET', path: `/v1/locks/${all.lock}/fences/${all.fence + 1000}` },
      ...operations.slice(1),
    ];
    const { body: guarded } = await run(api, stale, '409 transaction-failed');
    same(
      [guarded.index, guarded.problem.code, guarded.problem.current],
      [0, 'stale-fence', all.fence],
      'what failed',
    );
    const { body: jobs } = await api.call('getQueue', { path: { queue: all.jobs }, expect: 200 });
    same([jobs.ready, jobs.leased], [0, 1], 'the queue');
  });
  t('runTransaction says which operation names what is not there', async (api) => {
    const name = key('order');
    const operations = [
      { method: 'PUT', path: `/v1/sessions/${name}` },
      { method: 'POST', path: '/v1/sessions/resolve', body: { token: 'no-token' } },
    ];
    const { body } = await run(api, operations, '409 transaction-failed');
    same([body.index, body.problem.code], [1, 'session-not-found'], 'what failed');
    await api.call('getSession', { path: { id: name }, expect: '404 session-not-found' });
  });
  t('runTransaction with an Idempotency-Key', async (api) => {
    const operations = (n) => [{ method: 'PUT', path: `/v1/sessions/${key('s')}`, body: { data: { n } } }];
    const headers = { 'Idempotency-Key': key('k') };
    const first = operations(1);
    const one = await run(api, first, 200, { headers });
    const again = await run(api, first, 200, { headers });
    same(again.text, one.text, 'the second answer');
    await run(api, operations(2), '422 idempotency-key-reused', { headers });
  });
}

function refusing(t) {
  t('runTransaction takes operations of one routing key', (api) => {
    const put = (id) => ({ method: 'PUT', path: `/v1/sessions/${id}` });
    return run(api, [put(key('one')), put(key('two'))], '422 cross-partition');
  });
  t('runTransaction takes only what can be in one', async (api) => {
    const name = key('order');
    const lease = { method: 'PUT', path: `/v1/locks/${name}/leases/l`, body: { owner: 'w', wait_ms: 1000 } };
    await run(api, [lease], '422 not-transactional');
    const receive = { method: 'POST', path: `/v1/queues/${name}/receive`, body: { wait_ms: 1000 } };
    await run(api, [receive], '422 not-transactional');
    const inner = { method: 'POST', path: '/v1/transactions', body: { operations: [lease] } };
    for (const operation of [
      inner,
      { method: 'GET', path: '/v1/status' },
      { method: 'GET', path: '/v1/ring' },
    ]) {
      await run(api, [operation], '422 not-transactional');
    }
  });
  t('runTransaction refuses what is no operation', async (api) => {
    const name = key('order');
    await run(api, [{ method: 'GET', path: '/v1/nothing' }], '422 not-transactional');
    await run(api, [{ method: 'POST', path: `/v1/sessions/${name}` }], '422 not-transactional');
    await run(api, [{ method: 'PUT', path: '/v1/sessions/a%2Fb' }], '400 invalid-name');
    const unknown = { method: 'PUT', path: `/v1/sessions/${name}`, body: { dta: {} } };
    const { body } = await run(
      api,
      [{ method: 'PUT', path: `/v1/sessions/${name}` }, unknown],
      '400 unknown-field',
    );
    check(`${body.field} ${body.detail}`.includes('operations[1]'), `the operation is named: ${body.detail}`);
    const missing = { method: 'PUT', path: `/v1/locks/${name}/leases/l`, body: {} };
    await run(api, [missing], '400 missing-field');
    await api.call('getSession', { path: { id: name }, expect: '404 session-not-found' });
  });
  t('runTransaction takes 64 operations, not more', async (api) => {
    const name = key('order');
    const many = Array.from({ length: 65 }, (_, i) => ({ method: 'PUT', path: `/v1/sessions/${name}~${i}` }));
    await run(api, many, '400 invalid-field', { invalid: true });
    same((await run(api, many.slice(1), 200)).body.results.length, 64, 'the results');
  });
}

export default function transactions(t) {
  committing(t);
  refusing(t);
}
