// What the tests of the page share: a router of the program under test, functions for it, a browser, and waiting for what has to come.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url); // By NODE_PATH.
const { chromium } = require('playwright-core');
export const axe = require.resolve('axe-core/axe.min.js');
export { assert };

export const patience = 60_000;

// eventually waits until f gives something true, for as many milliseconds as it is given.
export async function eventually(what, f, within = patience) {
  const end = Date.now() + within;
  for (let last; ;) {
    try {
      const got = await f();
      if (got) return got;
      last = got;
    } catch (e) { last = e; }
    if (Date.now() > end) throw new Error(`${what}: ${last && last.stack || last}`);
    await new Promise(f => setTimeout(f, 50));
  }
}

const ends = [];
export const atEnd = f => ends.push(f);

// functions serves functions by name: each is given its input, and yields { code, body }, a body, or a promise of one.
export async function functions(all) {
  const server = createServer((q, w) => {
    let text = '';
    q.on('data', b => text += b);
    q.on('end', async () => {
      const f = all[q.url.slice(1)];
      const got = await (f ? f(text ? JSON.parse(text) : undefined) : { code: 404, body: {} });
      const { code, body } = got && got.code ? got : { code: 200, body: got };
      w.writeHead(code, { 'Content-Type': 'application/json' });
      w.end(JSON.stringify(body ?? null));
    });
  });
  await new Promise(f => server.listen(0, '127.0.0.1', f));
  atEnd(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

// A Router is one of the program under test, in a folder of its own. It can be killed and started again.
export class Router {
  constructor(documents, { args = [], files = {} } = {}) {
    this.dir = mkdtempSync(join(tmpdir(), 'onward-page-'));
    writeFileSync(join(this.dir, 'documents.yaml'), documents);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.dir, name), text);
    this.args = args;
  }
  async start() {
    const listen = this.listen || `127.0.0.1:${await free()}`;
    this.listen = listen;
    this.at = 'http://' + listen;
    this.log = '';
    this.child = spawn(process.env.ONWARD, ['serve', join(this.dir, 'documents.yaml'), '--data', join(this.dir, 'data'), '--listen', listen, ...this.args.map(a => a.replaceAll('DIR', this.dir))], { env: { ...process.env, TEST_RUN_AS_ROUTER: '1' } });
    for (const s of [this.child.stdout, this.child.stderr]) s.on('data', b => this.log += b);
    this.gone = new Promise(f => this.child.on('exit', f));
    let exited = false;
    this.gone.then(() => exited = true);
    await eventually('the router is ready', async () => {
      if (exited) throw new Error(this.log);
      return (await fetch(this.at + '/readyz').catch(() => ({}))).ok;
    }).catch(e => { throw new Error(e.message + '\n' + this.log); });
    if (!this.kept) { this.kept = true; atEnd(async () => { this.child.kill('SIGKILL'); await this.gone; }); }
    return this;
  }
  async kill() { this.child.kill('SIGKILL'); await this.gone; }
  async api(method, path, body, headers = {}) {
    const a = await fetch(this.at + path, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'Content-Type': 'application/json', ...headers } });
    const said = await a.json();
    if (!a.ok) throw new Error(`${method} ${path}: ${a.status} ${JSON.stringify(said)}`);
    return said;
  }
  run(trigger, data, headers) { return this.api('POST', '/v1/triggers/' + trigger, data ?? null, headers).then(x => x.run); }
  state(run, headers) { return this.api('GET', '/v1/runs/' + run, undefined, headers); }
  // A run of a million branches takes a slow machine minutes.
  until(run, is, headers) { return eventually(`run ${run} is ${is}`, async () => (await this.state(run, headers).catch(() => ({}))).state === is, 10 * patience); }
}

async function free() {
  const s = createServer();
  await new Promise(f => s.listen(0, '127.0.0.1', f));
  const { port } = s.address();
  await new Promise(f => s.close(f));
  return port;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});
atEnd(() => browser.close());

// page opens a tab. What the page gets wrong fails the test: an error of its scripts, what its policy refused, and a request that leaves the router.
export async function page(router, path, { context, width = 1280, height = 800, scheme = 'light', expect = () => false } = {}) {
  context ||= await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'] });
  const p = await context.newPage();
  p.setDefaultTimeout(patience);
  const wrong = p.wrong = [];
  p.on('pageerror', e => wrong.push(e.stack || String(e)));
  p.on('console', m => { if (m.type() === 'error' && !expect(m.text() + ' ' + m.location().url)) wrong.push(m.text() + ' ' + m.location().url); });
  p.on('request', q => { if (!q.url().startsWith(router.at) && !q.url().startsWith('data:')) wrong.push('it asks ' + q.url()); });
  p.rightly = () => assert.deepEqual(wrong, []);
  if (path) await p.goto(router.at + path);
  return p;
}
export const tab = (p, router, path) => page(router, path, { context: p.context() });

// main runs a test, and ends everything after it.
export async function main(f) {
  let failed;
  try { await f(); } catch (e) { failed = e; }
  for (const end of ends.reverse()) await Promise.resolve(end()).catch(e => failed ||= e);
  if (failed) { console.error(failed.stack || failed); process.exit(1); }
  process.exit(0);
}

export async function shot(p, name) {
  if (process.env.SHOTS) await p.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
}
