// The router is killed and started again while two tabs look at a run: both go on by themselves, and come to the same end.
import { main, functions, Router, page, tab, assert, eventually } from './lib.mjs';

await main(async () => {
  const held = [];
  let free = false;
  const at = await functions({ work: x => free ? x : new Promise(f => held.push(() => f(x))) });
  const router = await new Router(`
version: 1
functions: { work: { http: { url: "${at}/work" }, concurrency: 20, timeout: 5s } }
triggers: { t: { flow: { name: many, map: { items: 400, join: settled, results: none, do: { function: work, retry: { attempts: 20, backoff: 100ms } } } } } }
`).start();
  const run = await router.run('t');
  const expect = () => true; // While the router is away, requests fail.
  const one = await page(router, `/runs/${run}?view=field`, { expect });
  const two = await page(router, '/runs', { context: one.context(), expect });
  const label = () => one.locator('canvas').getAttribute('aria-label');
  await eventually('some are at work', async () => held.length >= 20 && /running/.test(await label()));
  await eventually('some are done', async () => { for (const f of held.splice(0, 3)) f(); return /[1-9]\d* succeeded/.test(await label()); }); // An answer may come too late.
  const list = await page(router, `/runs/${run}`, { context: one.context(), expect });
  await eventually('what is open has taken some time', async () => /^[1-9\d.]+ m?s/.test(await list.locator('tr[data-key^="many "] td').nth(4).textContent()));
  await list.close();
  await router.kill();
  for (const p of [one, two]) await eventually('it says that the router is away', async () => /does not answer/.test(await p.locator('#live').textContent()));
  free = true;
  for (const f of held.splice(0)) f();
  await router.start();
  await eventually('the list has it again', async () => /running|succeeded/.test(await two.locator('tbody tr').first().textContent()) && (await two.locator('#live').textContent()) === 'live');
  await router.until(run, 'succeeded');
  await eventually('all are done, without a reload', async () => /400 succeeded/.test(await label()));
  await eventually('the header says so', async () => (await one.locator('h1 .state').textContent()) === 'succeeded');
  await eventually('so does the other tab', async () => /succeeded/.test(await two.locator('tbody tr').first().textContent()));
  assert.deepEqual([...one.wrong, ...two.wrong].filter(x => /Error:|Refused/.test(x)), []);

  // A tab that is hidden asks for nothing; one that is shown again does.
  const three = await tab(one, router, '/runs');
  await eventually('the list', async () => await three.locator('tbody tr').count() === 1);
  let asked = 0;
  three.on('request', q => { if (q.url().includes('/v1/runs')) asked++; });
  await three.evaluate(() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); });
  await new Promise(f => setTimeout(f, 1200));
  asked = 0;
  await new Promise(f => setTimeout(f, 1500));
  assert.equal(asked, 0);
  await three.evaluate(() => { Object.defineProperty(document, 'hidden', { value: false, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); });
  await eventually('it asks again', () => asked > 0);
});
