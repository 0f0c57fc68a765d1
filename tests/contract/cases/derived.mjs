// What openapi.yaml itself says that every operation must refuse: bodies that break their schema, names and query
// parameters that are not valid, methods that a path does not take. Nothing here is written down twice: the cases come
// out of the document.
import { check, same } from '../api.mjs';
import { METHODS } from '../contract.mjs';
import { mutations } from '../mutations.mjs';

const BODY_BYTES_MAX = 1024 * 1024;
const JSON_DEPTH_TRIED = 1000;
const NAME = '^[A-Za-z0-9._~:@+=,-]+$';

const BAD_NAMES = [
  'a%2Fb',
  'a%00b',
  '%',
  'a%zzb',
  'a%20b',
  '%C3%A9',
  '%FF',
  'a'.repeat(256),
  'a%5Cb',
  'a%3Fb',
  'a;b',
];

/** Values for the parameters that a call cannot do without: their examples. */
function given(operation) {
  const path = {};
  const query = {};
  for (const parameter of operation.parameters) {
    if (parameter.in === 'path')
      path[parameter.name] = encodeURIComponent(parameter.example).replace(/%40/g, '@');
    if (parameter.in === 'query' && parameter.required) query[parameter.name] = parameter.example;
  }
  return { path, query };
}

/**
 * A body whose receipts are real ones: a made-up receipt would be refused before what the case is about. They stay good,
 * because every case here is refused.
 */
async function withReceipts(api, body) {
  const text = JSON.stringify(body);
  if (!/"r1\./.test(text)) return body;
  api.receipt ??= await anyReceipt(api);
  return JSON.parse(text.replace(/"r1\.[^"]*"/g, JSON.stringify(api.receipt)));
}

async function anyReceipt(api) {
  const queue = api.contract
    .operation('settleMessages')
    .parameters.find(({ name }) => name === 'queue').example;
  await api.call('sendMessages', { path: { queue }, body: { messages: [{ body: 1 }] }, expect: 201 });
  const { body } = await api.call('receiveMessages', {
    path: { queue },
    body: { lease_ms: 3600000 },
    expect: 200,
  });
  return body.messages[0].receipt;
}

function names(problem, word) {
  return `${problem.field ?? ''} ${problem.detail}`.includes(word);
}

function bodies(t, contract, operation) {
  const id = operation.operationId;
  const schema = contract.bodySchema(operation);
  const example = contract.bodyExample(operation);
  for (const { what, body, codes, names: field } of mutations(schema, example)) {
    t(`${id} refuses a body with ${what}`, async (api) => {
      const expect = codes.map((code) => `400 ${code}`);
      const answer = await api.call(id, {
        ...given(operation),
        body: await withReceipts(api, body),
        expect,
        invalid: true,
      });
      check(names(answer.body, field), `${id}: neither field nor detail names ${field}: ${answer.text}`);
    });
  }
}

function malformed(t, contract, operation) {
  const id = operation.operationId;
  const refuses = (what, text, expect, headers) =>
    t(`${id} refuses ${what}`, (api) => api.call(id, { ...given(operation), text, expect, headers }));
  const example = JSON.stringify(contract.bodyExample(operation));
  const twice = example === '{}' ? '{"a":1,"a":1}' : `{${example.slice(1, -1)},${example.slice(1, -1)}}`;
  refuses('a body that ends early', '{"a":', '400 bad-json');
  refuses('a body with something behind it', `${example} x`, '400 bad-json');
  refuses('a body that is a list', '[]', '400 bad-json');
  refuses('a body that is null', 'null', '400 bad-json');
  refuses(
    'a body that is not UTF-8',
    Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    '400 bad-json',
  );
  refuses('a repeated key', twice, '400 duplicate-key');
  const deep = `${'{"a":'.repeat(JSON_DEPTH_TRIED)}1${'}'.repeat(JSON_DEPTH_TRIED)}`;
  refuses('a body nested too deeply', deep, '400 nesting-too-deep');
  refuses('a body declared as XML', example, '415 unsupported-media-type', {
    'Content-Type': 'application/xml',
  });
  t(`${id} refuses a body over 1 MiB before reading it`, (api) => {
    const { path } = given(operation);
    const target = operation.template.replace(/\{(\w+)\}/g, (_, name) => path[name]);
    const head =
      `${operation.method} ${target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${BODY_BYTES_MAX + 1}\r\n\r\n`;
    return api.raw(id, Buffer.from(head), '413 body-too-large');
  });
}

function pathNames(t, operation) {
  const id = operation.operationId;
  const { path, query } = given(operation);
  for (const parameter of operation.parameters) {
    if (parameter.in !== 'path' || parameter.schema.pattern !== NAME) continue;
    for (const bad of BAD_NAMES) {
      const shown = bad.length > 20 ? `${bad.length} bytes` : bad;
      t(`${id} refuses ${shown} as ${parameter.name}`, (api) =>
        api.call(id, { path: { ...path, [parameter.name]: bad }, query, expect: '400 invalid-name' }),
      );
    }
  }
}

function wrongQueryValues(schema) {
  if (schema.type === 'integer')
    return [schema.minimum - 1, schema.maximum + 1, 'x', '1.5', '', ' 1', '+1', '1e3'];
  if (schema.type === 'boolean') return ['maybe'];
  if (schema.enum) return ['no-such-choice'];
  if (schema.pattern) return ['a b/c'];
  return schema.maxLength ? ['a'.repeat(schema.maxLength + 1)] : [];
}

function queryParameters(t, operation) {
  const id = operation.operationId;
  const { path, query } = given(operation);
  const bad = ['400 invalid-parameter', '400 invalid-cursor', '400 invalid-name'];
  for (const parameter of operation.parameters.filter((one) => one.in === 'query')) {
    const { name, schema, required } = parameter;
    for (const value of wrongQueryValues(schema)) {
      const shown = String(value).length > 20 ? `${String(value).length} bytes` : `"${value}"`;
      t(`${id} refuses ${shown} as ${name}`, async (api) => {
        const answer = await api.call(id, { path, query: { ...query, [name]: value }, expect: bad });
        check(names(answer.body, name), `${id}: neither field nor detail names ${name}: ${answer.text}`);
      });
    }
    if (required) t(`${id} refuses to go without ${name}`, (api) => api.call(id, { path, expect: bad }));
  }
  if (operation.template.startsWith('/v1/')) {
    t(`${id} refuses a query parameter that it does not know`, async (api) => {
      const body = operation.requestBody && (await withReceipts(api, api.contract.bodyExample(operation)));
      const call = { path, query: { ...query, no_such: 1 }, body, expect: '400 invalid-parameter' };
      const answer = await api.call(id, call);
      check(names(answer.body, 'no_such'), `${id}: neither field nor detail names no_such: ${answer.text}`);
    });
  }
}

function headers(t, operation) {
  const id = operation.operationId;
  const wrong = {
    'If-Match': ['7', 'x', '"7', '"7" "8"', '*, "7"', ''],
    'If-None-Match': ['7', '"x', '"7" "8"', '"7", 8'],
    'Idempotency-Key': ['', 'a'.repeat(256), '""'],
  };
  for (const { name } of operation.parameters.filter((one) => one.in === 'header' && wrong[one.name])) {
    for (const value of wrong[name]) {
      const shown = value.length > 20 ? `${value.length} bytes` : `'${value}'`;
      t(`${id} refuses ${shown} as ${name}`, async (api) => {
        const body = operation.requestBody && (await withReceipts(api, api.contract.bodyExample(operation)));
        const options = { ...given(operation), body, headers: { [name]: value } };
        const answer = await api.call(id, { ...options, expect: '400 invalid-header' });
        check(names(answer.body, name), `${id}: neither field nor detail names ${name}: ${answer.text}`);
      });
    }
  }
}

/* A path can be of two templates: /v1/sessions/resolve is also where a session called "resolve" is found. */
function methods(t, contract) {
  for (const template of Object.keys(contract.document.paths)) {
    const target = template.replace(/\{(\w+)\}/g, 'x');
    const taken = contract.methodsOf(target);
    for (const method of [...METHODS, 'options']
      .map((name) => name.toUpperCase())
      .filter((name) => !taken.has(name))) {
      t(`${template} does not take ${method}`, (api) => api.wrongMethod(template, method, target));
    }
  }
}

function everyRequest(t, operation) {
  const id = operation.operationId;
  const target = operation.template.replace(/\{(\w+)\}/g, 'x');
  t(`${id} refuses two Host headers`, (api) =>
    api.raw(
      id,
      Buffer.from(`${operation.method} ${target} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`),
      '400 bad-request',
    ),
  );
  t(`${id} refuses both Content-Length and Transfer-Encoding`, (api) => {
    const head = `${operation.method} ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n`;
    return api.raw(id, Buffer.from(`${head}2\r\n{}\r\n0\r\n\r\n`), '400 bad-request');
  });
}

export default function derived(t, contract) {
  for (const operation of contract.operations.values()) {
    if (operation.requestBody) {
      bodies(t, contract, operation);
      malformed(t, contract, operation);
    }
    pathNames(t, operation);
    queryParameters(t, operation);
    headers(t, operation);
    everyRequest(t, operation);
  }
  methods(t, contract);
  t('every problem code that an answer may have is explained', async (api) => {
    for (const code of contract.problemCodes()) {
      const { body } = await api.call('explainProblem', { path: { code }, expect: 200 });
      same(body.code, code, 'the explained code');
    }
  });
}
