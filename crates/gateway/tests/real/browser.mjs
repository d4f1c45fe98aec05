// Chromium, driven over its DevTools protocol, for the tests of the pages.
//
//   node --experimental-websocket browser.mjs <chromium>
//
// Reads one command per line of its standard input and answers each with one line: `{"goto": url}` opens a page,
// `{"do": script}` runs a script that leads to another page and waits for it, `{"ask": script}` gives its value. It ends
// when its standard input ends, and Chromium with it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const profile = mkdtempSync(join(tmpdir(), 'crewgate-chromium-'));
const chromium = spawn(process.argv[2], [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
  '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank',
], { stdio: ['ignore', 'ignore', 'pipe'] });
process.on('exit', () => chromium.kill('SIGKILL'));

const address = await new Promise((found, failed) => {
  let said = '';
  chromium.stderr.on('data', (data) => {
    said += data;
    const line = /DevTools listening on (ws:\S+)/.exec(said);
    if (line) found(line[1]);
  });
  chromium.on('exit', () => failed(new Error(`chromium ended: ${said}`)));
});
const socket = new WebSocket(address);
await new Promise((open, failed) => {
  socket.onopen = open;
  socket.onerror = () => failed(new Error('no DevTools'));
});

let last = 0;
const calls = new Map();
let loaded = () => {};
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.id) {
    const { done, failed } = calls.get(message.id);
    calls.delete(message.id);
    if (message.error) failed(new Error(message.error.message));
    else done(message.result);
  } else if (message.method === 'Page.loadEventFired') {
    loaded();
  }
};
const send = (method, params = {}, sessionId = undefined) => new Promise((done, failed) => {
  last += 1;
  calls.set(last, { done, failed });
  socket.send(JSON.stringify({ id: last, method, params, sessionId }));
});

const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
await send('Page.enable', {}, sessionId);
const run = async (expression) => {
  const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, returnByValue: true }, sessionId);
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value ?? null;
};
const page = async (leads) => {
  const arrived = new Promise((done, failed) => {
    loaded = done;
    setTimeout(() => failed(new Error('no page came')), 20_000).unref();
  });
  await leads();
  await arrived;
  return run('location.href');
};

console.log(JSON.stringify({ value: 'ready' }));
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    let value;
    if (command.goto) value = await page(() => send('Page.navigate', { url: command.goto }, sessionId));
    else if (command.do) value = await page(() => run(command.do));
    else value = await run(command.ask);
    console.log(JSON.stringify({ value }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.message} at ${await run('location.href').catch(() => '?')}` }));
  }
}
const ended = new Promise((done) => chromium.once('exit', done));
chromium.kill('SIGKILL');
await ended;
// Its own children may write for a moment longer.
rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
process.exit(0);
