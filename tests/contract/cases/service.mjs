import { check, same } from '../api.mjs';
import { key } from '../names.mjs';

function ring(t) {
  t('getRing has one member that owns the partition', async (api) => {
    const { body, headers } = await api.call('getRing', { expect: 200 });
    same(headers.etag, `"${body.epoch}"`, 'ETag');
    same([body.partition_count, body.replica_count], [1, 1], 'partitions and replicas');
    const [member] = body.members;
    same(body.partitions, [{ id: 0, owner: member.name, replicas: [member.name] }], 'partitions');
    same(member.url, api.base, 'the member’s url');
    same(headers['ringhold-node'], member.name, 'Ringhold-Node');
    await api.call('getRing', { headers: { 'If-None-Match': headers.etag }, expect: 304 });
    await api.call('getRing', { head: true, expect: 200 });
  });
  t('lookupRing tells where a name lives', async (api) => {
    const order = key('order');
    const { body } = await api.call('lookupRing', { query: { name: `${order}~pay` }, expect: 200 });
    same([body.name, body.routing_key, body.partition], [`${order}~pay`, order, 0], 'the name');
    const other = await api.call('lookupRing', { query: { name: `${order}~jobs` }, expect: 200 });
    same(other.body.hash, body.hash, 'the hash');
  });
  t('getRingStatus tells how the ring is doing', async (api) => {
    const { body } = await api.call('getRingStatus', { expect: 200 });
    const [member] = body.members;
    const group = { leader: member.name, replicas: [{ member: member.name, role: 'voter', behind: 0 }] };
    same(body.table, group, 'the group of the table');
    same(body.partitions, [{ id: 0, ...group }], 'partitions');
    same(body.moves, [], 'moves');
    const { text, headers } = await api.call('getRingStatus', { query: { format: 'text' }, expect: 200 });
    check(headers['content-type'].startsWith('text/plain'), `Content-Type is ${headers['content-type']}`);
    check(text.includes(member.id) && text.includes('PARTITION'), text);
    await api.call('getRingStatus', { query: { format: 'xml' }, expect: '400 invalid-parameter' });
  });
}

function health(t) {
  t('getLiveness and getReadiness say yes', async (api) => {
    await api.call('getLiveness', { expect: 200 });
    same((await api.call('getReadiness', { expect: 200 })).body.checks, undefined, 'checks');
    const { body } = await api.call('getReadiness', { target: '/readyz?verbose', expect: 200 });
    same(body.checks, { started: 'ok', storage: 'ok', accepting: 'ok' }, 'checks');
    await api.call('getReadiness', { query: { verbose: 'true' }, expect: 200 });
  });
  t('getStatus counts', async (api) => {
    const before = (await api.call('getStatus', { expect: 200 })).body;
    same(before.ready, true, 'ready');
    same(before.durability, 'full', 'durability');
    await api.call('putSession', { path: { id: key('s') }, expect: 201 });
    const after = (await api.call('getStatus', { expect: 200 })).body;
    same(after.counts.sessions, before.counts.sessions + 1, 'sessions');
    check(
      after.uptime_ms >= before.uptime_ms && after.connections >= 1,
      'time passes, and somebody is connected',
    );
  });
  t('getMetrics is Prometheus text', async (api) => {
    const { text, headers } = await api.call('getMetrics', { expect: 200 });
    check(headers['content-type'].includes('version=0.0.4'), `Content-Type is ${headers['content-type']}`);
    const line = /^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? (-?[0-9.e+-]+|\+Inf|NaN))$/;
    const wrong = text.split('\n').filter((one) => one !== '' && !line.test(one));
    same(wrong, [], 'the lines that are no metrics');
  });
  t('getOpenapi is the document the server was built with', async (api) => {
    same((await api.call('getOpenapi', { expect: 200 })).text, api.contract.text, 'the document');
  });
  t('explainProblem explains what is a problem', async (api) => {
    for (const code of ['no-such-code', 'ok', 'created', 'waiting']) {
      await api.call('explainProblem', { path: { code }, expect: '404 not-found' });
    }
  });
}

function requests(t) {
  const everywhere = ['getLiveness', 'getMetrics', 'getStatus', 'getRing', 'listLocks'];
  t('every answer gives the Request-Id back, or makes one', async (api) => {
    for (const id of everywhere) {
      const { headers } = await api.call(id, { headers: { 'Request-Id': 'mine-1' }, expect: 200 });
      same(headers['request-id'], 'mine-1', 'Request-Id');
      const made = await api.call(id, { expect: 200 });
      check(made.headers['request-id'] !== headers['request-id'], 'one is made');
    }
    const options = {
      path: { id: 'x~nobody' },
      headers: { 'Request-Id': 'mine-2' },
      expect: '404 session-not-found',
    };
    same((await api.call('getSession', options)).headers['request-id'], 'mine-2', 'Request-Id');
  });
  t('HEAD answers as GET does, without the body', async (api) => {
    for (const id of [...everywhere, 'getReadiness', 'getOpenapi', 'listQueues'])
      await api.call(id, { head: true, expect: 200 });
    await api.call('explainProblem', { path: { code: 'draining' }, head: true, expect: 200 });
    await api.call('getSession', { path: { id: 'x~nobody' }, head: true, expect: 404 });
  });
  t('a path that is no route is a problem', async (api) => {
    for (const target of [
      '/',
      '/v1',
      '/v1/',
      '/v2/sessions',
      '/v1/session',
      '/v1/sessions/a/b',
      '/v1//sessions',
      '/livez/',
    ]) {
      await api.call('explainProblem', { target, expect: '404 not-found' });
    }
  });
  t('a target or a head that is too long is a problem', async (api) => {
    await api.call('getStatus', { target: `/v1/status?x=${'a'.repeat(6000)}`, expect: '414 uri-too-long' });
    const bytes = `GET /v1/status HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(20000)}\r\n\r\n`;
    await api.raw('getStatus', Buffer.from(bytes), '431 headers-too-large');
  });
  t('another version of HTTP is a problem', async (api) => {
    const bytes = 'GET /v1/status HTTP/2.0\r\nHost: a\r\n\r\n';
    await api.raw('getStatus', Buffer.from(bytes), '505 http-version');
  });
  t('an expectation that cannot be met is a problem', async (api) => {
    const bytes =
      'POST /v1/sessions HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\nContent-Length: 0\r\n\r\n';
    await api.raw('createSession', Buffer.from(bytes), '417 expectation-failed');
  });
}

export default function service(t) {
  ring(t);
  health(t);
  requests(t);
}
