// The keyboard alone: from the list to a failed run, its failed step, a redrive, and back; nothing is touched by a mouse.
import { main, functions, Router, page, assert, eventually } from './lib.mjs';

await main(async () => {
  let broken = true;
  const at = await functions({ ok: x => x ?? {}, bad: () => broken ? { code: 422, body: { type: 'bad', message: 'no' } } : {} });
  const router = await new Router(`
version: 1
functions: { ok: { http: { url: "${at}/ok" } }, bad: { http: { url: "${at}/bad" } } }
triggers:
  fine: { flow: { function: ok } }
  fails: { flow: { sequence: [{ function: ok }, { function: bad }] } }
  waits: { flow: { signal: { name: go } } }
`).start();
  const failed = await router.run('fails');
  await router.until(failed, 'failed');
  for (let i = 0; i < 3; i++) await router.until(await router.run('fine'), 'succeeded');
  const waiting = await router.run('waits');
  const p = await page(router, '/runs');
  const k = async (...keys) => { for (const x of keys) await p.keyboard.press(x); };
  const focused = () => p.evaluate(() => document.activeElement.closest('tr')?.textContent || document.activeElement.textContent || document.activeElement.id);
  await eventually('five runs', async () => await p.locator('tbody tr').count() === 5);
  await k('j', 'j', 'k');
  assert.match(await focused(), /waits/);
  await k('n');
  assert.match(await focused(), /failed.*fails/);
  await k('Enter');
  await eventually('the run', () => p.url().includes(failed));
  await eventually('its steps', async () => await p.locator('tbody tr').count() >= 2);
  await k('n');
  await eventually('the failed step', async () => /bad/.test(await focused()));
  await k('Enter');
  await eventually('the drawer', async () => (await p.locator('.drawer').textContent()).includes('bad: no'));
  await k('Escape');
  await eventually('the drawer is closed', async () => await p.locator('.drawer').count() === 0);
  for (const [key, view] of [['2', 'field'], ['3', 'time'], ['1', 'flow']]) { await k(key); await eventually(view, () => view === 'flow' ? p.url().includes('view=flow') : p.url().includes('view=' + view)); }
  broken = false;
  await k('r');
  await eventually('the preview', async () => /keeps? what/.test(await p.locator('dialog').textContent()));
  await k('Tab', 'Tab', 'Tab', 'Tab', 'Enter'); // from, definition, copy, close, do
  await router.until(failed, 'succeeded').catch(async e => { throw new Error(e.message + ' ' + await focused()); });
  await eventually('no dialog', async () => await p.locator('dialog[open]').count() === 0);
  await k('?');
  await eventually('the keys', async () => (await p.locator('dialog').textContent()).includes('next and previous that failed'));
  await k('Escape');
  await k('y');
  assert.equal(await p.evaluate(() => navigator.clipboard.readText()), p.url());
  await p.goto(router.at + '/runs');
  await eventually('the list', async () => await p.locator('tbody tr').count() === 5);
  await k('/');
  await p.keyboard.type('waits');
  await k('Escape', 'p');
  await eventually('it stands still', async () => (await p.locator('#live').textContent()) === 'paused');
  await k('p', 'j', 'x');
  await eventually('the run, and whether to cancel it', async () => /Cancel this run/.test(await p.locator('dialog').textContent().catch(() => '')));
  await k('Tab', 'Tab', 'Tab', 'Enter');
  await router.until(waiting, 'cancelled');
  await k('Escape');
  // From the top by Tab: the first stop leads to the content.
  await p.goto(router.at + '/functions');
  await p.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the content');
  p.rightly();
});
