// Each page and each button, with accessibility in light and dark.
import { main, functions, Router, page, assert, eventually, axe, shot } from './lib.mjs';

const hostile = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>';

await main(async () => {
  let broken = true, down = false;
  const at = await functions({
    ok: x => ({ got: x }),
    flaky: () => broken ? { code: 422, body: { type: 'broken', message: hostile } } : { fine: true },
    hostile: () => ({ html: hostile }),
    slow: () => new Promise(f => setTimeout(f, 60_000)),
    refused: () => down ? { code: 403, body: { type: 'no', message: 'not today' } } : {},
  });
  const router = await new Router(`
version: 1
functions:
  ok: { http: { url: "${at}/ok" } }
  flaky: { http: { url: "${at}/flaky" } }
  hostile: { http: { url: "${at}/hostile" } }
  slow: { http: { url: "${at}/slow" }, concurrency: 8 }
  refused: { http: { url: "${at}/refused" } }
sources: { inbox: { webhook: { path: /in } } }
triggers:
  fails: { filters: [{ exact: { type: fails } }], flow: { sequence: [{ function: ok }, { name: hard, function: flaky }] } }
  fine: { filters: [{ exact: { type: fine } }], flow: { function: hostile } }
  approve: { filters: [{ exact: { type: approve } }], flow: { sequence: [{ name: boss, signal: { name: approved, within: 1h } }, { function: ok }] } }
  long: { filters: [{ exact: { type: long } }], flow: { function: slow } }
  lost: { filters: [{ exact: { type: lost } }], flow: { function: ok }, onSuccess: [{ function: refused }] }
`).start();
  const p = await page(router, '/runs');
  const h = { 'Content-Type': 'application/cloudevents+json' };
  const event = (type, id) => router.api('POST', '/in', { specversion: '1.0', id, source: '/t', type, data: {} }, h);
  const button = name => p.getByRole('button', { name, exact: true });
  const said = text => eventually(`it says ${text}`, async () => (await p.locator('#said').textContent()).includes(text));
  const shows = text => eventually(`the page shows ${text}`, async () => (await p.locator('main').textContent()).includes(text));
  const go = async path => { await p.goto(router.at + path); };

  // Empty states tell the next command.
  await shows('onward send');
  for (const [path, tells] of [['/waits', 'onward serve'], ['/dead', 'onward dead list'], ['/events', 'onward send'], ['/runs/nothing', 'run']]) { await go(path); await shows(tells).catch(e => { throw new Error(path + ': ' + e.message); }); }
  p.wrong.length = 0; // The run that there is not was a 404.

  // Runs: they come by themselves; filters are the address.
  const failed = await router.run('fails'), fine = await router.run('fine'), long = await router.run('long'), waits = await router.run('approve');
  await router.until(failed, 'failed'); await router.until(fine, 'succeeded');
  await go('/runs');
  await eventually('all runs are listed', async () => await p.locator('tbody tr').count() === 4);
  await p.getByRole('button', { name: 'failed', exact: true }).click();
  await eventually('only what failed', async () => await p.locator('tbody tr').count() === 1 && p.url().endsWith('state=failed'));
  assert.match(await p.locator('tbody').textContent(), /broken/);
  await p.getByLabel('Trigger', { exact: true }).fill('nothing');
  await p.getByLabel('Trigger', { exact: true }).press('Enter');
  await shows('No run is of this filter');
  await p.goBack();
  await eventually('back', async () => await p.locator('tbody tr').count() === 1);

  // A run that failed: why, redriven with a preview.
  await p.locator('tbody a').first().click();
  await shows('broken');
  assert.equal(await p.title(), `Run ${failed.slice(0, 12)} - Onward`);
  await p.locator('button.node', { hasText: 'hard' }).click();
  await eventually('the drawer shows the error', async () => (await p.locator('.drawer').textContent()).includes('<img src=x'));
  assert.match(await p.locator('.drawer .split3').first().getAttribute('aria-label'), /^queued [\d.]+ ms, function [\d.]+ m?s, router [\d.]+ m?s$/);
  await button('Close').click();
  await button('Redrive…').click();
  await eventually('the preview', async () => (await p.locator('dialog').textContent()).includes('1 step keeps what it gave'));
  assert.match(await p.locator('dialog code').last().textContent(), new RegExp('onward runs redrive ' + failed));
  await p.locator('dialog').getByRole('button', { name: 'Copy' }).click();
  assert.match(await p.evaluate(() => navigator.clipboard.readText()), /^onward runs redrive/);
  broken = false;
  await p.locator('dialog').getByRole('button', { name: 'Redrive', exact: true }).click();
  await said('redrive');
  await eventually('it has succeeded', async () => (await p.locator('h1 .state').textContent()) === 'succeeded');

  // One that succeeded: hostile output is text, and it is run again with other input.
  await go('/runs/' + fine);
  await shows('<img src=x onerror');
  await button('Rerun…').click();
  await p.locator('#ask-input').fill('{"again": 1}');
  await p.locator('dialog').getByRole('button', { name: 'Rerun', exact: true }).click();
  await said('started run');
  await eventually('the new run is shown', async () => !p.url().includes(fine));

  // Pause, resume, cancel.
  await go('/runs/' + long);
  await button('Pause…').click();
  await p.locator('#ask-reason').fill('lunch');
  await p.locator('dialog').getByRole('button', { name: 'Pause', exact: true }).click();
  await shows('lunch');
  await button('Resume…').click();
  await p.locator('dialog').getByRole('button', { name: 'Resume', exact: true }).click();
  await eventually('it runs again', async () => await button('Pause…').count() === 1);
  await button('Cancel…').click();
  await p.locator('#ask-reason').fill('enough');
  await p.locator('dialog').getByRole('button', { name: 'Cancel the run' }).click();
  await eventually('it is cancelled', async () => (await p.locator('h1 .state').textContent()) === 'cancelled');

  // Approvals: from the inbox, and from the run.
  await go('/waits');
  await eventually('the badge', async () => (await p.locator('nav a[href="/waits"] .count').textContent()) === '1');
  await button('Answer…').click();
  await p.locator('#ask-data').fill('{"by":');
  await eventually('what is no JSON is not sent', async () => p.locator('dialog').getByRole('button', { name: 'Send the signal' }).isDisabled());
  await p.locator('#ask-data').fill('{"by": "Ada"}');
  await shot(p, 'approval');
  await p.locator('dialog').getByRole('button', { name: 'Send the signal' }).click();
  await router.until(waits, 'succeeded');
  const second = await router.run('approve');
  await go('/runs/' + second);
  await button('Signal…').click();
  await p.locator('dialog').getByRole('button', { name: 'Send the signal' }).click();
  await eventually('it has gone on', async () => (await p.locator('h1 .state').textContent()) === 'succeeded');

  // Events: what became of mine, and why none.
  await event('fine', 'mine-1'); await event('nobody', 'mine-2');
  await go('/events');
  await shows('mine-2');
  await button('unmatched').click();
  await eventually('one is unmatched', async () => await p.locator('tbody tr').count() === 1);
  await p.getByLabel('Event id').fill('mine-1');
  await p.getByLabel('Event id').press('Enter');
  await shows('fine');
  await p.getByLabel('Event id').fill('never');
  await p.getByLabel('Event id').press('Enter');
  await shows('no event of id');
  p.wrong.length = 0; // That was a 404.

  // Triggers: which filter says no; start one; pause and resume.
  await go('/triggers');
  await p.locator('summary').click();
  await p.locator('#test-event').fill(JSON.stringify({ specversion: '1.0', id: 'x', source: '/t', type: 'fine' }));
  await button('Test').click();
  await eventually('the verdicts', async () => /yes.*fine|fine.*yes/s.test(await p.locator('details').textContent()) && (await p.locator('details').textContent()).includes('type'));
  await p.locator('tr[data-key=fine]').last().getByRole('button', { name: 'Pause…' }).click();
  await p.locator('dialog').getByRole('button', { name: 'Pause', exact: true }).click();
  await shows('paused by page');
  await p.locator('tr[data-key=fine]').last().getByRole('button', { name: 'Resume…' }).click();
  await p.locator('dialog').getByRole('button', { name: 'Resume', exact: true }).click();
  await said('fine is resumed');
  await p.locator('tr[data-key=fine]').last().getByRole('button', { name: 'Start…' }).click();
  await p.locator('dialog').getByRole('button', { name: 'Start', exact: true }).click();
  await said('started run');

  // Functions: limit, pause, resume.
  await go('/functions');
  await p.locator('tr[data-key=slow]').getByRole('button', { name: 'Limit…' }).click();
  await p.locator('#ask-n').fill('3');
  await p.locator('dialog').getByRole('button', { name: 'Limit', exact: true }).click();
  await shows('of 3');
  await p.locator('tr[data-key=slow]').getByRole('button', { name: 'Pause…' }).click();
  await p.locator('dialog').getByRole('button', { name: 'Pause', exact: true }).click();
  await shows('paused by page');
  await p.locator('tr[data-key=slow]').getByRole('button', { name: 'Resume…' }).click();
  await p.locator('dialog').getByRole('button', { name: 'Resume', exact: true }).click();
  await said('slow is resumed');
  await p.locator('tr[data-key=ok]').getByRole('button', { name: 'Invoke…' }).click();
  await p.locator('#ask-data').fill('{"one": 1}');
  await p.locator('dialog').getByRole('button', { name: 'Invoke', exact: true }).click();
  await eventually('its run', async () => /function\.ok/.test(await p.locator('main h1').textContent()) && /"one": 1/.test(await p.locator('main').textContent()));

  // Dead letters: by cause, one, sent again, removed.
  down = true;
  for (let i = 0; i < 3; i++) await router.run('lost');
  await go('/dead');
  await shows('3 letters of 1 cause');
  await p.locator('tbody a').first().click();
  await eventually('three letters', async () => await p.locator('tbody tr').count() === 3);
  await button('Show…').first().click();
  await eventually('one letter', async () => (await p.locator('dialog').textContent()).includes('not today'));
  await p.locator('dialog').getByRole('button', { name: 'Close' }).click();
  down = false;
  await button('Send again…').first().click();
  assert.match(await p.locator('dialog code').last().textContent(), /^onward dead redrive /);
  await p.locator('dialog').getByRole('button', { name: 'Send again', exact: true }).click();
  await eventually('it is gone', async () => await p.locator('tbody tr').count() === 2);
  await p.getByRole('link', { name: 'All causes' }).click();
  await button('Remove…').click();
  await p.locator('dialog').getByRole('button', { name: 'Remove', exact: true }).click();
  await said('2 removed');
  await shows('No dead letters');

  // Bulk: what failed is redriven together, what is open is cancelled.
  broken = true;
  const many = [];
  for (let i = 0; i < 4; i++) many.push(await router.run('fails'));
  for (const x of many) await router.until(x, 'failed');
  broken = false;
  await go('/runs?state=failed');
  await button('Redrive…').click();
  await eventually('how many', async () => (await p.locator('dialog').textContent()).includes('4 runs of this filter'));
  await p.locator('dialog').getByRole('button', { name: 'Redrive all of these' }).click();
  for (const x of many) await router.until(x, 'succeeded');

  await go('/routers');
  await shows(router.listen);
  await shows('ready');
  assert.notEqual(await p.title(), 'owned');

  // Everybody can read it: in light and dark, wide and narrow.
  for (const [scheme, width] of [['light', 1280], ['dark', 400]]) {
    const q = await page(router, '', { scheme, width });
    for (const path of ['/runs', '/runs/' + failed, `/runs/${failed}?view=field`, `/runs/${failed}?view=time&sel=hard`, '/waits', '/dead', '/events', '/triggers?test', '/functions', '/routers']) {
      await q.goto(router.at + path);
      await eventually(path + ' is there', async () => (await q.locator('main').textContent()).length > 40);
      await q.waitForFunction(() => !document.querySelector('.drawer') || document.querySelector('.drawer h2'));
      const wide = await q.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} pixels too wide at ${width}`);
      const source = await (await import('node:fs')).promises.readFile(axe, 'utf8');
      await q.evaluate(source); // Not as a script of the page: its policy would refuse it.
      const { violations } = await q.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
      assert.deepEqual(violations.map(v => `${path} ${scheme}: ${v.id}: ${v.nodes.map(x => x.html.slice(0, 200)).join(' | ')}`), []);
    }
    q.rightly();
  }
  p.rightly();
});
