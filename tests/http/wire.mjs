// Raw bytes over a socket, and strict reading of what comes back.
import assert from 'node:assert/strict';
import net from 'node:net';

const PATIENCE_MS = 8000;

// One answer from the front of `bytes`: { status, headers, text, json, length }, or null when it is not whole yet.
// What is no HTTP/1.1 answer fails the test.
function readAnswer(bytes, method) {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [line, ...fields] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const match = /^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(line);
  assert.ok(match, `not a status line: ${JSON.stringify(line)}`);
  const headers = new Map();
  for (const field of fields) {
    const pair = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?(.*)$/.exec(field);
    assert.ok(pair, `not a header field: ${JSON.stringify(field)}`);
    const name = pair[1].toLowerCase();
    assert.ok(!headers.has(name), `the answer has ${name} twice`);
    headers.set(name, pair[2]);
  }
  const status = Number(match[1]);
  const none = method === 'HEAD' || status === 204 || status === 304 || status < 200;
  assert.ok(none || headers.has('content-length'), `no Content-Length in ${bytes.subarray(0, end)}`);
  const bodyBytes = none ? 0 : Number(headers.get('content-length'));
  if (bytes.length < end + 4 + bodyBytes) return null;
  const text = bytes.subarray(end + 4, end + 4 + bodyBytes).toString('utf8');
  assert.doesNotMatch(text, /<html|<body/i, 'HTML');
  const json = /json/.test(headers.get('content-type') ?? '') && text !== '' ? JSON.parse(text) : undefined;
  return { status, headers, text, json, length: end + 4 + bodyBytes };
}

export class Wire {
  static async open(port) {
    const wire = new Wire();
    wire.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    wire.socket.setNoDelay(true);
    wire.bytes = Buffer.alloc(0);
    wire.closed = false;
    wire.wakers = [];
    const wake = () => wire.wakers.splice(0).forEach((waker) => waker());
    wire.socket.on('data', (chunk) => {
      wire.bytes = Buffer.concat([wire.bytes, chunk]);
      wake();
    });
    for (const event of ['end', 'close', 'error']) {
      wire.socket.on(event, () => {
        wire.closed = true;
        wake();
      });
    }
    await new Promise((resolve, reject) => {
      wire.socket.once('connect', resolve);
      wire.socket.once('error', reject);
    });
    return wire;
  }

  send(...parts) {
    for (const part of parts) {
      this.socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
    }
    return this;
  }

  #moved(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      this.wakers.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  // The next answer; null when the server closes instead. Fails when neither happens in time.
  async answer({ method = 'GET', patience = PATIENCE_MS } = {}) {
    const until = Date.now() + patience;
    for (;;) {
      const answer = readAnswer(this.bytes, method);
      if (answer) {
        this.bytes = this.bytes.subarray(answer.length);
        return answer;
      }
      if (this.closed) {
        assert.equal(this.bytes.length, 0, `the connection ended in the middle of ${this.bytes}`);
        return null;
      }
      const left = until - Date.now();
      assert.ok(left > 0, `a hang: no answer in ${patience} ms, only ${JSON.stringify(this.bytes.toString('latin1'))}`);
      await this.#moved(left);
    }
  }

  // Whether the server closes the connection within that time, saying nothing more.
  async closes(patience = PATIENCE_MS) {
    const until = Date.now() + patience;
    while (!this.closed && Date.now() < until) await this.#moved(until - Date.now());
    assert.equal(this.bytes.length, 0, `more came: ${this.bytes.toString('latin1')}`);
    return this.closed;
  }

  end() {
    this.socket.destroy();
  }
}

// Sends the bytes on a connection of their own and returns the first answer (null: closed without one).
export async function once(port, bytes, options) {
  const wire = await Wire.open(port);
  try {
    wire.send(bytes);
    return await wire.answer(options);
  } finally {
    wire.end();
  }
}

// The answer is this problem, as a problem document should be.
export function expectProblem(answer, status, code) {
  assert.ok(answer, `closed without an answer instead of ${status} ${code}`);
  assert.equal(`${answer.status} ${answer.json?.code}`, `${status} ${code}`, answer.text);
  assert.equal(answer.headers.get('content-type'), 'application/problem+json');
  assert.equal(answer.json.status, status);
  assert.equal(answer.json.type, `/problems/${code}`);
  assert.ok(answer.headers.get('request-id'), 'no Request-Id');
  for (const member of ['title', 'detail']) assert.ok(answer.json[member], `no ${member}`);
  if (status === 429 || status === 503) assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/);
  if (status === 405) assert.ok(answer.headers.get('allow'));
}
