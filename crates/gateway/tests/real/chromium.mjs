// Drives one page of a real Chromium over its DevTools pipe, with nothing but Node.
//
//   CREWGATE_REAL_CHROMIUM=<the program> node chromium.mjs
//
// One JSON array a line on standard input, one JSON answer a line on standard output: `{ "done": … }` or
// `{ "failed": "…", "page": { url, status, text } }`. It ends when its standard input ends, and takes Chromium with it.
//
// - `["open", url]`: goes there by its own will, as from the address bar.
// - `["fill", selector, text]`, `["press", selector]`: wait for the element; the press is a mouse's, so that what the
//   browser says of itself (`Sec-Fetch-User` and its siblings) is what it says for people.
// - `["see", text]`: waits until the page shows the text; answers the page.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE = 30_000;

const program = process.env.CREWGATE_REAL_CHROMIUM;
if (!program) throw new Error('CREWGATE_REAL_CHROMIUM names no program');
const profile = mkdtempSync(join(tmpdir(), 'crewgate-chromium-'));
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  // Nothing beyond this machine, whatever a page would like to load.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
  '--remote-debugging-pipe',
  `--user-data-dir=${profile}`,
];
// Messages go in by descriptor 3 and come out by 4, each ended by a zero byte.
const chromium = spawn(program, flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
const [, , , into, from] = chromium.stdio;

let last = 0;
const pending = new Map();
// Of the page's latest document.
let status = 0;

function take({ id, method, params, result, error }) {
  if (id) {
    const { resolve, reject } = pending.get(id);
    pending.delete(id);
    return error ? reject(new Error(error.message)) : resolve(result);
  }
  if (method === 'Network.responseReceived' && params.type === 'Document') status = params.response.status;
}

let rest = '';
from.setEncoding('utf8');
from.on('data', (piece) => {
  const messages = (rest + piece).split('\0');
  rest = messages.pop();
  messages.forEach((message) => take(JSON.parse(message)));
});

function send(method, params = {}, sessionId = undefined) {
  last += 1;
  const id = last;
  into.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => pending.set(id, { resolve, reject }));
}

const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
const page = (method, params) => send(method, params, sessionId);
await page('Network.enable');

async function evaluate(expression) {
  const { result, exceptionDetails } = await page('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

const shown = async () => ({
  status,
  ...(await evaluate('({ url: location.href, text: document.body ? document.body.innerText : "" })')),
});

// Asks the page until it says something; a page that is just being left cannot be asked.
async function until(what, ask) {
  const end = Date.now() + PATIENCE;
  while (Date.now() < end) {
    const answer = await ask().catch(() => undefined);
    if (answer) return answer;
    await sleep(50);
  }
  throw new Error(`waited ${PATIENCE} ms for ${what}`);
}

const ready = (selector) =>
  until(selector, () =>
    evaluate(`(() => {
      if (document.readyState !== 'complete') return;
      const found = document.querySelector(${JSON.stringify(selector)});
      if (!found) return;
      found.scrollIntoView({ block: 'center' });
      found.focus();
      const { x, y, width, height } = found.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    })()`),
  );

const actions = {
  open: async (url) => {
    const { errorText } = await page('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  },
  fill: async (selector, text) => {
    await ready(selector);
    await page('Input.insertText', { text });
  },
  press: async (selector) => {
    const place = { ...(await ready(selector)), button: 'left', clickCount: 1 };
    await page('Input.dispatchMouseEvent', { type: 'mousePressed', ...place });
    await page('Input.dispatchMouseEvent', { type: 'mouseReleased', ...place });
  },
  see: (text) =>
    until(JSON.stringify(text), async () => {
      const now = await shown();
      return now.text.includes(text) ? now : undefined;
    }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [action, ...rest] = JSON.parse(line);
  let answer;
  try {
    answer = { done: (await actions[action](...rest)) ?? null };
  } catch (error) {
    answer = { failed: error.message, page: await shown().catch(() => null) };
  }
  console.log(JSON.stringify(answer));
}
const gone = new Promise((done) => chromium.once('exit', done));
// By its own will, so that its helpers write nothing more into the profile.
send('Browser.close').catch(() => {});
await gone;
rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
process.exit(0);
