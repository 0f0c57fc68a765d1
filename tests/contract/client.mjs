// Speaks HTTP to the server: `send` as any client would, `sendRaw` byte by byte for what no client library would send.
import { Agent, request } from 'node:http';
import { connect } from 'node:net';

const TIMEOUT_MS = 70000;
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function answerOf(status, headers, text) {
  return { status, headers, text, body: parsed(text) };
}

/** Sends one request. `target` goes out as it stands: nothing encodes or normalizes it. */
export function send(base, { method, target, headers = {}, text }) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const outgoing = { ...headers };
    if (text !== undefined) outgoing['Content-Length'] = Buffer.byteLength(text);
    const call = request({
      agent,
      hostname,
      port,
      method,
      path: target,
      headers: outgoing,
      timeout: TIMEOUT_MS,
    });
    call.on('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve(answerOf(response.statusCode, response.headers, Buffer.concat(chunks).toString())),
      );
    });
    call.on('timeout', () => call.destroy(new Error(`${method} ${target}: no answer for ${TIMEOUT_MS} ms`)));
    call.on('error', reject);
    call.end(text);
  });
}

function parseAnswer(bytes) {
  const text = bytes.toString('latin1');
  const split = text.indexOf('\r\n\r\n');
  if (split < 0) return undefined;
  const [statusLine, ...lines] = text.slice(0, split).split('\r\n');
  const status = Number(/^HTTP\/1\.\d (\d{3})/.exec(statusLine)?.[1]);
  const headers = Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const body = bytes.subarray(split + 4);
  const length = Number(headers['content-length'] ?? 0);
  return body.length < length ? undefined : answerOf(status, headers, body.subarray(0, length).toString());
}

/** Sends these bytes and reads one answer. */
export function sendRaw(base, bytes) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let got = Buffer.alloc(0);
    const end = (settle, value) => {
      socket.destroy();
      settle(value);
    };
    socket.setTimeout(TIMEOUT_MS, () => end(reject, new Error('no answer')));
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      const answer = parseAnswer(got);
      if (answer) end(resolve, answer);
    });
    socket.on('error', (error) => end(reject, error));
    socket.on('close', () =>
      end(reject, new Error(`closed without an answer: ${got.toString('latin1').slice(0, 200)}`)),
    );
  });
}

export function closeConnections() {
  agent.destroy();
}
