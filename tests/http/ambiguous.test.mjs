// Requests that two readers could understand differently, and requests that nobody can: each gets a problem document or
// a clean close, and what hides behind it is never taken for a second request.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server } from './server.mjs';
import { Wire, expectProblem, once } from './wire.mjs';

let server;
before(async () => {
  server = await Server.start({ args: ['--node', 'front'] });
});
after(async () => {
  const { code } = await server.stop();
  assert.equal(code, 0, server.log);
});

async function alive() {
  const answer = await once(server.port, 'GET /livez HTTP/1.1\r\nHost: h\r\n\r\n');
  assert.equal(answer?.status, 200);
}

// What an attacker would smuggle: it would make this session.
const HIDDEN = 'PUT /v1/sessions/smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}';

// The head is refused, the connection ends, and what came behind it was not carried out.
async function refused(head, status, code, behind = HIDDEN) {
  const wire = await Wire.open(server.port);
  wire.send(head + behind);
  const answer = await wire.answer();
  if (answer) {
    expectProblem(answer, status, code);
    assert.equal(answer.headers.get('connection'), 'close');
    // Also where libmicrohttpd refused by itself: which of the two does differs with its version.
    assert.equal(answer.headers.get('ringhold-partition'), '0');
    assert.equal(answer.headers.get('ringhold-node'), 'front');
  }
  assert.ok(await wire.closes(), 'the connection stays open');
  wire.end();
  const { status: found } = await server.ask('GET', '/v1/sessions/smuggled');
  assert.equal(found, 404, 'the hidden request was carried out');
  await alive();
  return answer;
}

function head(...fields) {
  return ['POST /v1/sessions HTTP/1.1', ...fields, '', ''].join('\r\n');
}

const LENGTHS = {
  'Content-Length and Transfer-Encoding': ['Host: h', 'Content-Length: 4', 'Transfer-Encoding: chunked'],
  'Transfer-Encoding and Content-Length': ['Host: h', 'Transfer-Encoding: chunked', 'Content-Length: 4'],
  'two different Content-Lengths': ['Host: h', 'Content-Length: 2', 'Content-Length: 60'],
  'the same Content-Length twice': ['Host: h', 'Content-Length: 2', 'content-length: 2'],
  'a list of Content-Lengths': ['Host: h', 'Content-Length: 2, 2'],
  'a signed Content-Length': ['Host: h', 'Content-Length: +2'],
  'a negative Content-Length': ['Host: h', 'Content-Length: -2'],
  'a hexadecimal Content-Length': ['Host: h', 'Content-Length: 0x2'],
  'an empty Content-Length': ['Host: h', 'Content-Length:'],
  'two Transfer-Encodings': ['Host: h', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
  'Transfer-Encoding: identity': ['Host: h', 'Transfer-Encoding: identity'],
  'Transfer-Encoding: gzip, chunked': ['Host: h', 'Transfer-Encoding: gzip, chunked'],
  'Transfer-Encoding: chunked, identity': ['Host: h', 'Transfer-Encoding: chunked, identity'],
  'white space behind Transfer-Encoding: chunked': ['Host: h', 'Transfer-Encoding: chunked '],
  'Transfer-Encoding: xchunked': ['Host: h', 'Transfer-Encoding: xchunked'],
};
for (const [name, fields] of Object.entries(LENGTHS)) {
  test(`${name} is refused`, async () => {
    const answer = await refused(head(...fields), 400, 'bad-request');
    assert.ok(answer, 'it says why');
  });
}

const HEADS = {
  'no Host': [],
  'two Hosts': ['Host: a', 'Host: b'],
  'a space before the colon': ['Host: h', 'Content-Length : 2'],
  'a tab before the colon': ['Host: h', 'Content-Length\t: 2'],
  'a space before the name': [' Host: h', 'Content-Length: 2'],
  'a folded field': ['Host: h', 'X-A: one', ' two', 'Content-Length: 0'],
  'a folded Transfer-Encoding': ['Host: h', 'Transfer-Encoding:', ' chunked'],
  'a field that folding would turn into Content-Length': ['Host: h', 'Content-Lengt: 9', ' h'],
  'a fold behind the last field': ['Host: h', 'Content-Length: 0', ' 9'],
  'a field without a colon': ['Host: h', 'Content-Length 2'],
  'a field without a name': ['Host: h', ': 2'],
  'a control character in a value': ['Host: h', 'X-A: a\x01b'],
  'a NUL in a value': ['Host: h', 'X-A: a\0b'],
  'a NUL in a name': ['Host: h', 'X\0A: b'],
  'a bare CR in a value': ['Host: h', 'X-A: a\rContent-Length: 2'],
  'a name with a bracket': ['Host: h', 'X(A): b'],
};
for (const [name, fields] of Object.entries(HEADS)) {
  test(`${name} is refused`, async () => {
    await refused(head(...fields), 400, 'bad-request');
  });
}

test('HTTP/1.0 with a Transfer-Encoding is refused', async () => {
  await refused('POST /v1/sessions HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n', 400, 'bad-request');
});

const LINES = {
  'an absolute target without a path': ['GET http://h HTTP/1.1', 400, 'bad-request'],
  'an absolute target of another scheme': ['GET ftp://h/v1/status HTTP/1.1', 400, 'bad-request'],
  'an asterisk': ['OPTIONS * HTTP/1.1', 400, 'bad-request'],
  'an authority': ['CONNECT h:80 HTTP/1.1', 400, 'bad-request'],
  'a space in the target': ['GET /v1/status x HTTP/1.1', 400, 'bad-request'],
  'a NUL in the target': ['GET /v1/sessions/a\0b HTTP/1.1', 400, 'bad-request'],
  'a control character in the target': ['GET /v1/sessions/a\x01b HTTP/1.1', 400, 'bad-request'],
  'HTTP/2.0': ['GET /v1/status HTTP/2.0', 505, 'http-version'],
  'HTTP/1.2': ['GET /v1/status HTTP/1.2', 505, 'http-version'],
  'HTTP/0.9': ['GET /v1/status HTTP/0.9', 505, 'http-version'],
  'no version': ['GET /v1/status', 400, 'bad-request'],
  'a version that is none': ['GET /v1/status HTTP/one', 400, 'bad-request'],
  'no target': ['GET', 400, 'bad-request'],
};
for (const [name, [line, status, code]] of Object.entries(LINES)) {
  test(`${name} in the request line is refused`, async () => {
    const wire = await Wire.open(server.port);
    wire.send(`${line}\r\nHost: h\r\n\r\n${HIDDEN}`);
    const answer = await wire.answer();
    if (answer) {
      // Which of the two it is may differ with the parser's version; a success or HTML may not be.
      const codes = [`${status} ${code}`, '400 bad-request', '505 http-version'];
      assert.ok(codes.includes(`${answer.status} ${answer.json?.code}`), `${answer.status} ${answer.text}`);
    }
    assert.ok(await wire.closes(), 'the connection stays open');
    wire.end();
    assert.equal((await server.ask('GET', '/v1/sessions/smuggled')).status, 404);
    await alive();
  });
}

test('the start of a TLS handshake is closed or refused', async () => {
  const hello = Buffer.from('16030100a5010000a1030368656c6c6f', 'hex');
  const wire = await Wire.open(server.port);
  wire.send(hello, '\r\n\r\n');
  const answer = await wire.answer();
  if (answer) assert.equal(answer.status, 400);
  wire.end();
  await alive();
});

const CHUNKS = {
  'a chunk size that is no number': 'zz\r\n{}\r\n0\r\n\r\n',
  'a negative chunk size': '-2\r\n{}\r\n0\r\n\r\n',
  'a chunk size that overflows': 'ffffffffffffffffff\r\n{}\r\n0\r\n\r\n',
  'a chunk longer than it says': '2\r\n{}xx\r\n0\r\n\r\n',
  'a chunk size without digits': '\r\n{}\r\n0\r\n\r\n',
};
for (const [name, body] of Object.entries(CHUNKS)) {
  test(`${name} is refused or closed`, async () => {
    const wire = await Wire.open(server.port);
    wire.send(head('Host: h', 'Transfer-Encoding: chunked'), body, HIDDEN);
    const answer = await wire.answer();
    if (answer) assert.ok([400, 413].includes(answer.status), answer.text);
    assert.ok(await wire.closes(), 'the connection stays open');
    wire.end();
    assert.equal((await server.ask('GET', '/v1/sessions/smuggled')).status, 404);
    await alive();
  });
}

test('a chunked body with trailers is read', async () => {
  const wire = await Wire.open(server.port);
  wire.send(
    'PUT /v1/sessions/chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n',
    '5\r\n{"dat\r\n',
    'a\r\na":{"n":1}\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n',
  );
  const answer = await wire.answer();
  assert.equal(answer.status, 201, answer.text);
  assert.deepEqual(answer.json.data, { n: 1 });
  wire.end();
});

// No client of this API sends them, and libmicrohttpd waits for the end of one without a bound.
test('a chunk with an extension is refused', async () => {
  const wire = await Wire.open(server.port);
  wire.send(
    'PUT /v1/sessions/extended HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n',
    'e;a=b\r\n{"data":{"n":2\r\n2\r\n}}\r\n0\r\n\r\n',
  );
  expectProblem(await wire.answer(), 400, 'bad-request');
  assert.ok(await wire.closes());
  wire.end();
});

for (const [name, line] of [['an extension', '2;'], ['zeros', '0']]) {
  test(`a chunk's size with ${name} without end is refused, and keeps no processor busy`, async () => {
    const wire = await Wire.open(server.port);
    wire.send('PUT /v1/sessions/endless HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n', line.padEnd(100000, name === 'zeros' ? '0' : 'a'));
    expectProblem(await wire.answer(), 400, 'bad-request');
    assert.ok(await wire.closes());
    wire.end();
  });
}

test('a trailer cannot change how a request is understood', async () => {
  const wire = await Wire.open(server.port);
  wire.send(
    'PUT /v1/sessions/trailed HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n',
    '2\r\n{}\r\n0\r\nIf-Match: "99"\r\nContent-Length: 50\r\n\r\n',
  );
  const answer = await wire.answer();
  if (answer) assert.ok([201, 400].includes(answer.status), answer.text);
  wire.end();
  await alive();
});

// ---- names ----------------------------------------------------------------------------------------------------------

for (const path of ['a%2Fb', 'a%2fb', 'a%00', '%00', 'a%20b', 'a%', 'a%2', 'a%zz', '%ff', 'a%0d%0ab', 'a%3Fb', 'a%23', 'a;b', 'ä']) {
  test(`the name ${path} is invalid and means nothing else`, async () => {
    const raw = Buffer.from(`GET /v1/sessions/${path} HTTP/1.1\r\nHost: h\r\n\r\n`, 'utf8');
    expectProblem(await once(server.port, raw), 400, 'invalid-name');
  });
}

for (const path of ['/v1/sessions/', '/v1//sessions', '//v1/sessions', '/v1/sessions/a/', '/v1/./sessions', '/v1/sessions/../status', '/V1/status', '/v1/sessions/%2e%2e/status']) {
  test(`the path ${path} is not tidied up into another one`, async () => {
    const answer = await once(server.port, `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`);
    assert.ok([400, 404].includes(answer.status), `${answer.status} ${answer.text}`);
    assert.ok(['not-found', 'invalid-name'].includes(answer.json.code));
  });
}

test('a name may be percent-encoded', async () => {
  await server.ask('PUT', '/v1/sessions/a~b', { data: { n: 7 } });
  const answer = await once(server.port, 'GET /v1/sessions/%61%7Eb HTTP/1.1\r\nHost: h\r\n\r\n');
  assert.equal(answer.status, 200);
  assert.equal(answer.json.id, 'a~b');
});

test('a name of 255 bytes is taken, one of 256 is not', async () => {
  const ask = (n) => once(server.port, `GET /v1/sessions/${'n'.repeat(n)} HTTP/1.1\r\nHost: h\r\n\r\n`);
  expectProblem(await ask(255), 404, 'session-not-found');
  expectProblem(await ask(256), 400, 'invalid-name');
});
