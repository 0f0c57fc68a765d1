import { same } from '../api.mjs';
import { key } from '../names.mjs';

/* What openapi.yaml says of the parameter itself is derived (derived.mjs); here is what it means on an instance alone. */
export default function consistency(t) {
  t('an instance alone answers the same, whatever a read may be answered from', async (api) => {
    const id = key('read');
    await api.call('putSession', { path: { id }, body: { data: { n: 1 } }, expect: 201 });
    for (const kind of ['leader', 'strong', 'stale']) {
      const { body, headers } = await api.call('getSession', {
        path: { id },
        query: { consistency: kind },
        expect: 200,
      });
      same(body.data, { n: 1 }, `what a ${kind} read says`);
      const old = kind === 'stale' ? '0' : undefined;
      same([headers.age, headers['ringhold-age-ms']], [old, old], `the age of a ${kind} read`);
      const list = await api.call('listLocks', { query: { consistency: kind }, expect: 200 });
      same(list.headers['ringhold-age-ms'], old, `the age of a ${kind} list`);
    }
    const gone = await api.call('getSession', {
      path: { id: key('none') },
      query: { consistency: 'stale' },
      expect: '404 session-not-found',
    });
    same(gone.headers['ringhold-age-ms'], '0', 'the age of what is not there');
  });

  t('an instance alone sends nobody elsewhere', async (api) => {
    const id = key('stay');
    const headers = { Prefer: 'redirect' };
    const put = await api.call('putSession', { path: { id }, body: {}, headers, expect: 201 });
    same(put.headers['preference-applied'], undefined, 'Preference-Applied');
    await api.call('getSession', { path: { id }, headers, expect: 200 });
  });
}
