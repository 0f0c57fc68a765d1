// Starts the server under test on a port of its own choosing and a data directory of its own, and stops it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const START_MS = 20000;
const STOP_MS = 10000;

const LISTENING = /^ringhold listening on (http:\/\/\S+)$/;

function firstLine(child) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the server said nothing for ${START_MS} ms`)), START_MS);
    const lines = createInterface({ input: child.stdout });
    lines.once('line', (line) => {
      clearTimeout(timer);
      resolve(line);
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`the server ended before it listened (${signal ?? `exit code ${code}`})`));
    });
  });
}

export async function startServer(binary) {
  const data = mkdtempSync(join(tmpdir(), 'ringhold-contract-'));
  const child = spawn(binary, ['--listen', '127.0.0.1:0', '--data', data], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  let log = '';
  child.stderr.on('data', (chunk) => {
    log = (log + chunk).slice(-20000);
  });
  const stop = async () => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    child.kill('SIGTERM');
    const end = await exited;
    clearTimeout(timer);
    rmSync(data, { recursive: true, force: true });
    return end;
  };
  try {
    const line = await firstLine(child);
    const match = LISTENING.exec(line);
    if (!match) throw new Error(`the server's first line is "${line}"`);
    return { base: match[1], stop, log: () => log };
  } catch (error) {
    await stop();
    throw new Error(`${error.message}\n${log}`);
  }
}
