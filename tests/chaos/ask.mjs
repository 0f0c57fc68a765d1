// Requests of clients that know what they do not know: an answer, surely nothing done, or nobody knows.
import http from 'node:http';

const CONNECTIONS_MAX = 64;
const SURELY_NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH']);

// Answers with these statuses say that nothing was done, unless their code is outcome-unknown.
const REFUSED = new Set([429, 503]);

export class Asker {
  // At most so many requests are with one place at a time; others wait, and their patience runs.
  constructor({ connectionsMax = CONNECTIONS_MAX } = {}) {
    this.connectionsMax = connectionsMax;
    this.agents = new Map();
  }

  #agent(place) {
    const at = `${place.host}:${place.port}`;
    if (!this.agents.has(at)) this.agents.set(at, new http.Agent({ keepAlive: true, maxSockets: this.connectionsMax }));
    return this.agents.get(at);
  }

  // Resolves to { kind: 'answer', status, body, headers }, { kind: 'none', why } or { kind: 'unknown', why }.
  ask(place, method, path, body, headers, patience) {
    const text = body === undefined ? '' : JSON.stringify(body);
    const options = {
      agent: this.#agent(place),
      host: place.host,
      port: place.port,
      method,
      path,
      headers: { 'Content-Length': Buffer.byteLength(text), ...headers },
    };
    return new Promise((resolve) => {
      let connected = false;
      const request = http.request(options, (answer) => {
        let received = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk) => (received += chunk));
        answer.on('error', (error) => lost(error));
        answer.on('end', () => (answer.complete ? finish(judge(answer, received)) : lost(new Error('cut short'))));
      });
      const timer = setTimeout(() => request.destroy(new Error(`no answer in ${patience} ms`)), patience);
      const finish = (result) => {
        clearTimeout(timer);
        resolve(result);
      };
      const lost = (error) => {
        const unsent = !connected || SURELY_NOT_SENT.has(error.code);
        finish({ kind: unsent ? 'none' : 'unknown', why: error.code ?? error.message });
      };
      request.on('socket', (socket) => {
        if (!socket.connecting) connected = true;
        else socket.once('connect', () => (connected = true));
      });
      request.on('error', lost);
      request.end(text);
    });
  }

  close() {
    for (const agent of this.agents.values()) agent.destroy();
  }
}

function judge(answer, text) {
  const isJson = (answer.headers['content-type'] ?? '').includes('json');
  const body = isJson && text !== '' ? JSON.parse(text) : text;
  const status = answer.statusCode;
  if (REFUSED.has(status)) return { kind: body.code === 'outcome-unknown' ? 'unknown' : 'none', why: body.code };
  return { kind: 'answer', status, body, headers: answer.headers };
}
