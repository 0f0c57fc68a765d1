// A client that knows what it does not know: each request is answered, was never sent, or has an unknown outcome.
import http from 'node:http';

export class Client {
  constructor() {
    this.unknown = 0;
    this.answered = 0;
    this.port = 0;
    this.agent = null;
  }

  // The server is (again) at this port.
  connect(port) {
    this.agent?.destroy();
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
    this.port = port;
  }

  // Resolves to { status, body, headers }, or to { status: 0 } when nobody knows whether it was carried out.
  ask(method, path, body, headers = {}) {
    const text = body === undefined ? '' : JSON.stringify(body);
    const options = {
      agent: this.agent,
      host: '127.0.0.1',
      port: this.port,
      method,
      path,
      headers: { 'Content-Length': Buffer.byteLength(text), ...headers },
    };
    return new Promise((resolve) => {
      const lost = () => {
        this.unknown += 1;
        resolve({ status: 0 });
      };
      const request = http.request(options, (answer) => {
        let received = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk) => {
          received += chunk;
        });
        answer.on('error', lost);
        answer.on('aborted', lost);
        answer.on('end', () => {
          if (!answer.complete) return;
          this.answered += 1;
          const isJson = (answer.headers['content-type'] ?? '').includes('json');
          resolve({ status: answer.statusCode, headers: answer.headers, body: isJson ? JSON.parse(received) : received });
        });
      });
      request.on('error', lost);
      request.end(text);
    });
  }

  // The same, for what must succeed: with one of these statuses.
  async must(statuses, method, path, body, headers) {
    const answer = await this.ask(method, path, body, headers);
    if (![].concat(statuses).includes(answer.status)) {
      throw new Error(`${method} ${path} answered ${answer.status} instead of ${statuses}: ${JSON.stringify(answer.body)}`);
    }
    return answer;
  }

  // All items of a list.
  async list(path) {
    const items = [];
    let cursor = '';
    do {
      const { body } = await this.must(200, 'GET', `${path}${path.includes('?') ? '&' : '?'}limit=1000${cursor}`);
      items.push(...body.items);
      cursor = body.next_cursor ? `&cursor=${encodeURIComponent(body.next_cursor)}` : '';
    } while (cursor !== '');
    return items;
  }
}
