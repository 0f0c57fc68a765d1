import { check, same, sleep } from '../api.mjs';
import { key } from '../names.mjs';

const UNKNOWN = 'nobody~nothing';

async function created(api, body = {}) {
  const { body: session } = await api.call('createSession', { body, expect: 201 });
  return session;
}

async function put(api, data = {}) {
  const id = `${key('order')}~s`;
  const { body: session } = await api.call('putSession', { path: { id }, body: { data }, expect: 201 });
  return session;
}

async function ended(api) {
  const session = await created(api);
  await api.call('deleteSession', { path: { id: session.id }, expect: 204 });
  return session;
}

function creating(t) {
  t('createSession without a body takes the defaults', async (api) => {
    const { body, headers } = await api.call('createSession', { expect: 201 });
    same(body.data, {}, 'data');
    same([body.idle_ttl_ms, body.max_ttl_ms], [1800000, 86400000], 'the timeouts');
    same(body.version, 1, 'version');
    same(headers.location, `/v1/sessions/${body.id}`, 'Location');
    check(body.token.startsWith(`${body.id}.`), 'the token begins with the id');
    same(Date.parse(body.max_expires_at) - Date.parse(body.created_at), 86400000, 'the absolute end');
    check(body.subject === undefined, 'there is no subject');
  });
  t('createSession keeps the sessions of a subject together', async (api) => {
    const subject = key('user');
    const [one, two] = [await created(api, { subject }), await created(api, { subject })];
    check(one.id !== two.id, 'two ids');
    same(one.id.split('~')[0], two.id.split('~')[0], 'the tag of the second');
    same([one.subject, two.subject], [subject, subject], 'the subjects');
  });
  t('createSession refuses the session that is one too many', async (api) => {
    const body = { subject: key('user'), subject_limit: 2 };
    await created(api, body);
    await created(api, body);
    await api.call('createSession', { body, expect: '409 subject-limit' });
  });
  t('createSession ends the oldest session where it was asked to', async (api) => {
    const body = { subject: key('user'), subject_limit: 1, on_limit: 'evict_oldest' };
    const oldest = await created(api, body);
    await created(api, body);
    const { body: problem } = await api.call('getSession', {
      path: { id: oldest.id },
      expect: '410 session-ended',
    });
    same(problem.reason, 'revoked', 'reason');
  });
  t('createSession refuses a limit without a subject', (api) =>
    api.call('createSession', {
      body: { subject_limit: 1 },
      expect: '400 invalid-field',
    }),
  );
  t('createSession takes data that fills the largest body', async (api) => {
    const [before, behind] = ['{"data":{"a":"', '"}}'];
    const text = `${before}${'x'.repeat(1024 * 1024 - before.length - behind.length)}${behind}`;
    const { body } = await api.call('createSession', { text, expect: 201 });
    await api.call('patchSession', {
      path: { id: body.id },
      body: { data: { b: 'x'.repeat(100) } },
      expect: '413 body-too-large',
    });
  });
  t('createSession keeps NULs in data', async (api) => {
    const data = { text: 'O:1:"A":1:{s:4:"\0A\0b";}', 'a\0b': 1 };
    const { body } = await api.call('createSession', { body: { data }, expect: 201 });
    const patch = { path: { id: body.id }, body: { data: { 'a\0b': null, 'a\0c': 2 } }, expect: 200 };
    await api.call('patchSession', patch);
    const read = await api.call('getSession', { path: { id: body.id }, expect: 200 });
    same(read.body.data, { text: data.text, 'a\0c': 2 }, 'data');
  });
  t('createSession refuses a body that is declared as encoded', (api) =>
    api.call('createSession', {
      text: '{}',
      headers: { 'Content-Encoding': 'gzip' },
      expect: '415 unsupported-media-type',
    }),
  );
  t('createSession takes its body undeclared, or as curl declares it', async (api) => {
    for (const type of [
      'application/x-www-form-urlencoded',
      'text/plain',
      'application/vnd.any+json; charset=utf-8',
    ]) {
      await api.call('createSession', {
        text: '{"data":{"a":1}}',
        headers: { 'Content-Type': type },
        expect: 201,
      });
    }
  });
}

function idempotency(t) {
  t('createSession with an Idempotency-Key answers the same again', async (api) => {
    const call = { body: { data: { n: 1 } }, headers: { 'Idempotency-Key': key('k') }, expect: 201 };
    const first = await api.call('createSession', call);
    const again = await api.call('createSession', call);
    same(again.text, first.text, 'the second answer');
    same(again.headers['idempotent-replayed'], 'true', 'Idempotent-Replayed');
    check(first.headers['idempotent-replayed'] === undefined, 'the first answer is no replay');
    same(again.headers.location, first.headers.location, 'Location');
    same(again.headers['cache-control'], 'no-store', 'Cache-Control');
  });
  t('createSession reads a quoted Idempotency-Key as the same key', async (api) => {
    const name = key('k');
    const first = await api.call('createSession', { headers: { 'Idempotency-Key': name }, expect: 201 });
    const again = await api.call('createSession', {
      headers: { 'Idempotency-Key': `"${name}"` },
      expect: 201,
    });
    same(again.body.id, first.body.id, 'the id');
  });
  t('createSession refuses the Idempotency-Key of another request', async (api) => {
    const headers = { 'Idempotency-Key': key('k') };
    await api.call('createSession', { body: { data: { n: 1 } }, headers, expect: 201 });
    await api.call('createSession', {
      body: { data: { n: 2 } },
      headers,
      expect: '422 idempotency-key-reused',
    });
  });
  t('the Idempotency-Key of one path means nothing on another', async (api) => {
    const headers = { 'Idempotency-Key': key('k') };
    const [one, two] = [await created(api), await created(api)];
    await api.call('touchSession', { path: { id: one.id }, headers, expect: 200 });
    const other = await api.call('touchSession', { path: { id: two.id }, headers, expect: 200 });
    check(other.headers['idempotent-replayed'] === undefined, 'no replay');
  });
  t('a session’s POSTs refuse the Idempotency-Key of another body', async (api) => {
    const { id, token } = await created(api);
    const headers = { 'Idempotency-Key': key('k') };
    await api.call('resolveSession', { body: { token }, headers, expect: 200 });
    await api.call('resolveSession', {
      body: { token, touch: false },
      headers,
      expect: '422 idempotency-key-reused',
    });
    await api.call('touchSession', { path: { id }, headers, expect: 200 });
    await api.call('touchSession', {
      path: { id },
      text: '{ }',
      headers,
      expect: '422 idempotency-key-reused',
    });
    await api.call('rotateSession', { path: { id }, body: { grace_ms: 60000 }, headers, expect: 200 });
    await api.call('rotateSession', {
      path: { id },
      body: { grace_ms: 1 },
      headers,
      expect: '422 idempotency-key-reused',
    });
  });
  t('an Idempotency-Key keeps a refusal that repeating cannot change', async (api) => {
    const subject = key('user');
    const body = { subject, subject_limit: 1 };
    await created(api, body);
    const call = { body, headers: { 'Idempotency-Key': key('k') }, expect: '409 subject-limit' };
    await api.call('createSession', call);
    await api.call('revokeSubjectSessions', { path: { subject }, expect: 200 });
    const again = await api.call('createSession', call);
    same(again.headers['idempotent-replayed'], 'true', 'Idempotent-Replayed');
  });
  t('rotateSession shows the same token on a replay', async (api) => {
    const { id } = await created(api);
    const call = {
      path: { id },
      body: { grace_ms: 0 },
      headers: { 'Idempotency-Key': key('k') },
      expect: 200,
    };
    const first = await api.call('rotateSession', call);
    const again = await api.call('rotateSession', call);
    same(again.text, first.text, 'the second answer');
    same(again.headers['idempotent-replayed'], 'true', 'Idempotent-Replayed');
  });
}

function resolving(t) {
  t('resolveSession finds the session and renews it', async (api) => {
    const { token, ...session } = await created(api, { data: { a: 1 } });
    await sleep(20);
    const { body } = await api.call('resolveSession', { body: { token }, expect: 200 });
    same([body.id, body.data, body.version], [session.id, session.data, session.version], 'the session');
    check(body.token === undefined, 'the token is not shown again');
    check(body.last_seen_at > session.last_seen_at, 'last_seen_at moved');
  });
  t('resolveSession leaves the session alone where it was asked to', async (api) => {
    const { token, ...session } = await created(api);
    await sleep(20);
    const { body } = await api.call('resolveSession', { body: { token, touch: false }, expect: 200 });
    same(body.last_seen_at, session.last_seen_at, 'last_seen_at');
  });
  t('resolveSession knows no token that it did not make', async (api) => {
    const { id, token } = await created(api);
    const call = { body: { token: 'x' }, headers: { 'Idempotency-Key': key('k') } };
    await api.call('resolveSession', { ...call, expect: '404 session-not-found' });
    const again = await api.call('resolveSession', { ...call, expect: '404 session-not-found' });
    same(again.headers['idempotent-replayed'], 'true', 'Idempotent-Replayed');
    for (const wrong of ['x', `${id}.`, `${id}.wrong`, `${token}x`, `.${token}`, 'ä.ö', `${UNKNOWN}.x`]) {
      await api.call('resolveSession', { body: { token: wrong }, expect: '404 session-not-found' });
    }
  });
  t('resolveSession tells that the session has ended', async (api) => {
    const { token } = await ended(api);
    const { body } = await api.call('resolveSession', { body: { token }, expect: '410 session-ended' });
    same(body.reason, 'revoked', 'reason');
  });
}

function reading(t) {
  t('getSession reads and does not touch', async (api) => {
    const session = await created(api, { data: { deep: [1, { a: null }], text: 'ünï "q" \u0001' } });
    await sleep(20);
    const { body } = await api.call('getSession', { path: { id: session.id }, expect: 200 });
    same(body.data, session.data, 'data');
    same(body.last_seen_at, session.last_seen_at, 'last_seen_at');
    check(body.expires_in_ms < session.expires_in_ms, 'time has passed');
    await api.call('getSession', { path: { id: session.id }, head: true, expect: 200 });
    await api.call('getSession', {
      path: { id: encodeURIComponent(session.id).replace('~', '%7E') },
      expect: 200,
    });
  });
  t('getSession says 404 of an unknown id', (api) =>
    api.call('getSession', { path: { id: UNKNOWN }, expect: '404 session-not-found' }),
  );
  t('getSession says 304 of a version that the client has', async (api) => {
    const { id } = await created(api);
    for (const tag of ['"1"', 'W/"1"', '*', '"3", W/"1"', ['"3"', '"1"']]) {
      await api.call('getSession', { path: { id }, headers: { 'If-None-Match': tag }, expect: 304 });
    }
    for (const tag of ['"a"', '"01"']) {
      await api.call('getSession', { path: { id }, headers: { 'If-None-Match': tag }, expect: 200 });
    }
    await api.call('getSession', {
      path: { id },
      headers: { 'If-None-Match': '1' },
      expect: '400 invalid-header',
    });
    await api.call('getSession', { path: { id }, headers: { 'If-None-Match': '"9"' }, expect: 200 });
  });
  t('getSession waits for a change', async (api) => {
    const { id } = await created(api);
    const headers = { 'If-None-Match': '"1"' };
    const waiting = api.call('getSession', { path: { id }, query: { wait_ms: 20000 }, headers, expect: 200 });
    await sleep(100);
    const begun = Date.now();
    await api.call('patchSession', { path: { id }, body: { data: { a: 1 } }, expect: 200 });
    same((await waiting).body.version, 2, 'version');
    check(Date.now() - begun < 2000, 'the change wakes the waiting GET');
  });
  t('getSession waits as long as Prefer says, and says so', async (api) => {
    const { id } = await created(api);
    for (const Prefer of ['foo, wait=1', 'foo; wait=9, wait="1"; a=b', ['respond-async', 'wait=1']]) {
      const begun = Date.now();
      const headers = { 'If-None-Match': '"1"', Prefer };
      const answer = await api.call('getSession', { path: { id }, headers, expect: 304 });
      check(Date.now() - begun >= 950, 'it waited');
      same(answer.headers['preference-applied'], 'wait=1', 'Preference-Applied');
    }
  });
  t('getSession caps a wait that is too long', async (api) => {
    const { id } = await created(api);
    const headers = { 'If-None-Match': '"1"' };
    const waiting = api.call('getSession', {
      path: { id },
      query: { wait_ms: 3600000 },
      headers,
      expect: 200,
    });
    await sleep(100);
    await api.call('patchSession', { path: { id }, body: {}, expect: 200 });
    same((await waiting).body.version, 2, 'version');
    const query = { wait_ms: -1 };
    await api.call('getSession', { path: { id }, query, headers, expect: '400 invalid-parameter' });
  });
  t('getSession is woken by the session’s expiry', async (api) => {
    const { id } = await created(api, { idle_ttl_ms: 300 });
    const headers = { 'If-None-Match': '"1"' };
    const begun = Date.now();
    const expect = '410 session-ended';
    const { body } = await api.call('getSession', {
      path: { id },
      query: { wait_ms: 20000 },
      headers,
      expect,
    });
    same(body.reason, 'idle', 'reason');
    check(Date.now() - begun < 5000, 'the expiry wakes the waiting GET');
  });
  t('a session ends when it has been idle, and at its absolute end', async (api) => {
    const idle = await created(api, { idle_ttl_ms: 50 });
    const absolute = await created(api, { max_ttl_ms: 50 });
    await sleep(150);
    for (const [session, reason] of [
      [idle, 'idle'],
      [absolute, 'absolute'],
    ]) {
      const { body } = await api.call('getSession', {
        path: { id: session.id },
        expect: '410 session-ended',
      });
      same(body.reason, reason, 'reason');
    }
  });
}

function putting(t) {
  t('putSession creates, then replaces', async (api) => {
    const id = `${key('order')}~s`;
    const first = await api.call('putSession', {
      path: { id },
      body: { data: { a: 1 }, idle_ttl_ms: 5000 },
      expect: 201,
    });
    same(first.headers.location, `/v1/sessions/${id}`, 'Location');
    same([first.body.id, first.body.version, first.body.idle_ttl_ms], [id, 1, 5000], 'the session');
    const second = await api.call('putSession', { path: { id }, body: { data: { b: 2 } }, expect: 200 });
    same(
      [second.body.data, second.body.version, second.body.idle_ttl_ms],
      [{ b: 2 }, 2, 1800000],
      'the session',
    );
    same(second.body.created_at, first.body.created_at, 'created_at');
  });
  t('putSession without a body is a session without data', async (api) => {
    const { body } = await api.call('putSession', { path: { id: key('s') }, expect: 201 });
    same(body.data, {}, 'data');
  });
  t('putSession creates only, where it was asked to', async (api) => {
    const { id } = await put(api);
    const headers = { 'If-None-Match': '*' };
    const { body } = await api.call('putSession', { path: { id }, headers, expect: '412 version-mismatch' });
    same(body.current_version, 1, 'current_version');
    await api.call('putSession', { path: { id: key('s') }, headers, expect: 201 });
    await api.call('putSession', {
      path: { id },
      headers: { 'If-None-Match': '"1"' },
      expect: '400 invalid-header',
    });
  });
  t('putSession replaces only the version that If-Match names', async (api) => {
    const { id } = await put(api);
    const stale = await api.call('putSession', {
      path: { id },
      headers: { 'If-Match': '"7"' },
      expect: '412 version-mismatch',
    });
    same(stale.body.current_version, 1, 'current_version');
    for (const tag of ['W/"1"', '"a"', '"01"', '""', '"2", "3"', 'W/"1", "2"', '"99999999999999999999"']) {
      const { body } = await api.call('putSession', {
        path: { id },
        headers: { 'If-Match': tag },
        expect: '412 version-mismatch',
      });
      same(body.current_version, 1, 'current_version');
    }
    for (const tag of ['1', '"1', '*, "1"', '"1" "2"', '', Array(9).fill('"1"').join()]) {
      await api.call('putSession', {
        path: { id },
        headers: { 'If-Match': tag },
        expect: '400 invalid-header',
      });
    }
    await api.call('putSession', { path: { id }, headers: { 'If-Match': '"1"' }, expect: 200 });
    await api.call('putSession', { path: { id }, headers: { 'If-Match': '*' }, expect: 200 });
  });
  t('putSession replaces any of the versions that If-Match lists', async (api) => {
    const { id } = await put(api);
    for (const tag of ['"9", "1"', ', "1", "2", W/"2" ,', ['"8"', '"3"'], '"3","2","4"']) {
      await api.call('putSession', { path: { id }, headers: { 'If-Match': tag }, expect: 200 });
    }
    const none = { path: { id }, headers: { 'If-Match': '"1","2","3","4"' }, expect: '412 version-mismatch' };
    same((await api.call('putSession', none)).body.current_version, 5, 'current_version');
  });
  t('putSession with If-Match creates nothing', async (api) => {
    for (const tag of ['"1"', '*']) {
      const call = { path: { id: key('s') }, headers: { 'If-Match': tag }, expect: '412 version-mismatch' };
      same((await api.call('putSession', call)).body.current_version, 0, 'current_version');
    }
  });
  t('putSession does not bring an ended session back', async (api) => {
    const { id } = await ended(api);
    const { body } = await api.call('putSession', { path: { id }, expect: '410 session-ended' });
    same(body.reason, 'revoked', 'reason');
  });
}

function patching(t) {
  t('patchSession merges', async (api) => {
    const { id } = await put(api, { keep: 1, drop: 2, deep: { a: 1, b: 2 } });
    const body = { data: { drop: null, deep: { b: null, c: 3 }, list: [null] }, idle_ttl_ms: 5000 };
    const answer = await api.call('patchSession', { path: { id }, body, expect: 200 });
    same(answer.body.data, { keep: 1, deep: { a: 1, c: 3 }, list: [null] }, 'data');
    same([answer.body.version, answer.body.idle_ttl_ms], [2, 5000], 'version and idle_ttl_ms');
  });
  t('patchSession keeps and removes what has a NUL in it', async (api) => {
    const { id } = await put(api, { 'a\u0000b': 1, a: '\u0000' });
    const body = { data: { 'a\u0000b': null, '\u0000': 'x\u0000' } };
    const answer = await api.call('patchSession', { path: { id }, body, expect: 200 });
    same(answer.body.data, { a: '\u0000', '\u0000': 'x\u0000' }, 'data');
  });
  t('patchSession puts defaults back where it is given null', async (api) => {
    const { id } = await put(api, { a: 1 });
    await api.call('patchSession', {
      path: { id },
      body: { idle_ttl_ms: 5000, max_ttl_ms: 6000 },
      expect: 200,
    });
    const body = { data: null, idle_ttl_ms: null, max_ttl_ms: null };
    const answer = await api.call('patchSession', { path: { id }, body, expect: 200 });
    same(
      [answer.body.data, answer.body.idle_ttl_ms, answer.body.max_ttl_ms],
      [{}, 1800000, 86400000],
      'the session',
    );
  });
  t('patchSession takes a declared merge patch, and If-Match', async (api) => {
    const { id } = await put(api);
    const headers = { 'Content-Type': 'application/merge-patch+json', 'If-Match': '"1"' };
    await api.call('patchSession', { path: { id }, body: { data: { a: 1 } }, headers, expect: 200 });
    const { body } = await api.call('patchSession', {
      path: { id },
      body: {},
      headers,
      expect: '412 version-mismatch',
    });
    same(body.current_version, 2, 'current_version');
  });
  t('patchSession refuses what would make the data too large', async (api) => {
    const { id } = await put(api, { a: 'x'.repeat(600 * 1024) });
    await api.call('patchSession', {
      path: { id },
      body: { data: { b: 'x'.repeat(500 * 1024) } },
      expect: '413 body-too-large',
    });
  });
  t('patchSession, touchSession and rotateSession know unknown and ended sessions', async (api) => {
    const gone = await ended(api);
    for (const [operation, body] of [['patchSession', {}], ['touchSession'], ['rotateSession']]) {
      await api.call(operation, { path: { id: UNKNOWN }, body, expect: '404 session-not-found' });
      const answer = await api.call(operation, { path: { id: gone.id }, body, expect: '410 session-ended' });
      same(answer.body.reason, 'revoked', 'reason');
    }
  });
  t('touchSession leaves version and data alone', async (api) => {
    const session = await created(api, { idle_ttl_ms: 60000 });
    await sleep(20);
    const { body } = await api.call('touchSession', { path: { id: session.id }, expect: 200 });
    check(body.expires_in_ms > 59000, 'the idle timeout is renewed');
    const { body: read } = await api.call('getSession', { path: { id: session.id }, expect: 200 });
    same([read.version, read.data], [session.version, session.data], 'version and data');
    check(read.last_seen_at > session.last_seen_at, 'last_seen_at moved');
    same(read.expires_at, body.expires_at, 'expires_at');
  });
}

function rotating(t) {
  t('rotateSession gives a new id and token and keeps the rest', async (api) => {
    const old = await created(api, { subject: key('user'), data: { a: 1 } });
    const { body } = await api.call('rotateSession', { path: { id: old.id }, expect: 200 });
    check(body.id !== old.id && body.token !== old.token, 'both are new');
    same(
      [body.data, body.subject, body.max_expires_at],
      [old.data, old.subject, old.max_expires_at],
      'the rest',
    );
    same(body.id.split('~')[0], old.id.split('~')[0], 'the tag');
    const read = await api.call('getSession', { path: { id: old.id }, expect: '410 session-ended' });
    same(read.body.reason, 'rotated', 'reason');
    await api.call('resolveSession', { body: { token: old.token }, expect: '410 session-ended' });
    await api.call('resolveSession', { body: { token: body.token }, expect: 200 });
  });
  t('rotateSession lets the old id and token resolve for their grace', async (api) => {
    const old = await created(api);
    const { body } = await api.call('rotateSession', {
      path: { id: old.id },
      body: { grace_ms: 60000 },
      expect: 200,
    });
    same(
      (await api.call('resolveSession', { body: { token: old.token }, expect: 200 })).body.id,
      body.id,
      'the id',
    );
    same((await api.call('getSession', { path: { id: old.id }, expect: 200 })).body.id, body.id, 'the id');
  });
  t('rotateSession gives an anonymous session a subject', async (api) => {
    const subject = key('user');
    const { id } = await created(api, { data: { cart: 1 } });
    const { body } = await api.call('rotateSession', { path: { id }, body: { subject }, expect: 200 });
    same([body.subject, body.data], [subject, { cart: 1 }], 'the session');
    const { body: page } = await api.call('listSubjectSessions', { path: { subject }, expect: 200 });
    same(
      page.items.map((item) => item.id),
      [body.id],
      'the subject’s sessions',
    );
  });
}

function subjects(t) {
  t('deleteSession is 204, however often', async (api) => {
    const { id } = await created(api);
    for (const path of [{ id }, { id }, { id: UNKNOWN }])
      await api.call('deleteSession', { path, expect: 204 });
  });
  t('listSubjectSessions pages through the sessions, without tokens', async (api) => {
    const subject = key('user');
    const ids = [];
    for (let i = 0; i < 3; i += 1) ids.push((await created(api, { subject })).id);
    const listed = [];
    let query = { limit: 2 };
    do {
      const { body } = await api.call('listSubjectSessions', { path: { subject }, query, expect: 200 });
      listed.push(...body.items.map((item) => item.id));
      query = body.next_cursor === undefined ? undefined : { limit: 2, cursor: body.next_cursor };
    } while (query);
    same(listed.sort(), ids.sort(), 'the sessions');
    const { body } = await api.call('listSubjectSessions', { path: { subject: key('nobody') }, expect: 200 });
    same(body.items, [], 'the sessions of nobody');
  });
  t('listSubjectSessions refuses a cursor that it did not give', async (api) => {
    const subject = key('user');
    const refuses = (id, path, cursor) =>
      api.call(id, { path, query: { cursor }, expect: '400 invalid-cursor' });
    await created(api, { subject });
    await created(api, { subject });
    const { body } = await api.call('listSubjectSessions', {
      path: { subject },
      query: { limit: 1 },
      expect: 200,
    });
    await refuses('listSubjectSessions', { subject: 'x' }, '!!');
    await refuses('listSubjectSessions', { subject: key('other') }, body.next_cursor);
    await refuses('listLocks', {}, body.next_cursor);
    await refuses('listQueues', {}, body.next_cursor);
  });
  t('revokeSubjectSessions ends all sessions but one', async (api) => {
    const subject = key('user');
    const [one, two, three] = [
      await created(api, { subject }),
      await created(api, { subject }),
      await created(api, { subject }),
    ];
    const { body } = await api.call('revokeSubjectSessions', {
      path: { subject },
      query: { except: two.id },
      expect: 200,
    });
    same(body.revoked, 2, 'revoked');
    await api.call('getSession', { path: { id: two.id }, expect: 200 });
    for (const { id } of [one, three])
      await api.call('getSession', { path: { id }, expect: '410 session-ended' });
    same(
      (await api.call('revokeSubjectSessions', { path: { subject }, expect: 200 })).body.revoked,
      1,
      'revoked',
    );
    same(
      (await api.call('revokeSubjectSessions', { path: { subject }, expect: 200 })).body.revoked,
      0,
      'revoked',
    );
  });
}

export default function sessions(t) {
  creating(t);
  idempotency(t);
  resolving(t);
  reading(t);
  putting(t);
  patching(t);
  rotating(t);
  subjects(t);
}
