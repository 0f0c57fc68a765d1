// The server under test: the real binary, on a port of its own choosing and, unless told otherwise, a data directory of
// its own. RINGHOLD names the binary.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 30000;
const STOP_MS = 20000;
export const BINARY = process.env.RINGHOLD ?? 'build/ringhold';

export function makeDirectory() {
  return mkdtempSync(join(process.env.RINGHOLD_TEST_DIR ?? tmpdir(), 'ringhold-http-'));
}

export class Server {
  // Starts it and waits until it listens. `under` is a command to run it by, as ['prlimit', '--fsize=…'].
  static async start({ data, args = [], under = [], listen } = {}) {
    const server = new Server(data);
    await server.begin(args, under, listen);
    return server;
  }

  constructor(data) {
    this.ownsData = data === undefined;
    this.data = data ?? makeDirectory();
    this.log = '';
    this.out = '';
  }

  // Starts the process at once; resolves when it listens.
  async begin(args = [], under = [], listen = '127.0.0.1:0') {
    const command = [...under, BINARY, '--listen', listen, '--data', this.data, ...args];
    this.child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => resolve({ code, signal }));
      this.child.once('error', (error) => resolve({ error }));
    });
    this.child.stderr.on('data', (chunk) => {
      this.log = (this.log + chunk).slice(-50000);
    });
    const listening = new Promise((resolve) => {
      this.child.stdout.on('data', (chunk) => {
        this.out += chunk;
        const match = /^ringhold listening on (http:\/\/[\d.]+:(\d+))\n/.exec(this.out);
        if (match) resolve({ base: match[1], port: Number(match[2]) });
      });
    });
    const timer = setTimeout(() => this.child.kill('SIGKILL'), START_MS);
    const won = await Promise.race([listening, this.exited]);
    clearTimeout(timer);
    if (won.base === undefined) {
      const how = JSON.stringify(won);
      throw new Error(`the server ended before it listened: ${how}\n${this.log}`);
    }
    Object.assign(this, won);
  }

  kill(signal) {
    this.child.kill(signal);
  }

  // Ends it by SIGTERM unless it has ended already. Resolves to { code, signal }.
  async stop(signal = 'SIGTERM') {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    this.child.kill(signal);
    const end = await this.exited;
    clearTimeout(timer);
    if (this.ownsData) rmSync(this.data, { recursive: true, force: true });
    return end;
  }

  // A request through Node's own client; the answer's body is parsed where it is JSON.
  async ask(method, path, body, headers = {}) {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const type = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const reply = await fetch(this.base + path, { method, headers: { ...type, ...headers }, body: json });
    const text = await reply.text();
    const isJson = (reply.headers.get('content-type') ?? '').includes('json');
    return { status: reply.status, headers: reply.headers, body: isJson ? JSON.parse(text) : text };
  }
}
