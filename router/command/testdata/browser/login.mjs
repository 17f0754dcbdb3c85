// Who has a token logs in, sees what it is for and does what it may; a page of another origin does nothing by his session.
import { createServer } from 'node:http';
import { main, functions, Router, page, assert, eventually, atEnd, axe } from './lib.mjs';

const admin = { Authorization: 'Bearer admin-token' };

await main(async () => {
  const at = await functions({ ok: x => x });
  const router = await new Router(`
version: 1
functions: { ok: { http: { url: "${at}/ok" } } }
triggers:
  mine: { tenant: sales, flow: { name: ask, signal: { name: go } } }
  theirs: { tenant: other, flow: { function: ok } }
`, { args: ['--auth-tokens', 'DIR/tokens.yaml'], files: { 'tokens.yaml': 'tokens:\n  boss: { right: admin, file: "DIR/boss" }\n' } });
  const { writeFileSync } = await import('node:fs');
  for (const [name, text] of [['boss', 'admin-token'], ['ann', 'read-token'], ['bob', 'operate-token']]) writeFileSync(`${router.dir}/${name}`, text, { mode: 0o600 });
  writeFileSync(`${router.dir}/tokens.yaml`, `tokens:\n  boss: { right: admin, file: "${router.dir}/boss" }\n  ann: { right: read, tenant: sales, file: "${router.dir}/ann" }\n  bob: { right: operate, file: "${router.dir}/bob" }\n`);
  await router.start();
  const mine = await router.run('mine', {}, admin), theirs = await router.run('theirs', {}, admin);
  await router.until(theirs, 'succeeded', admin);

  // Without a session there is the form, and nothing else.
  const p = await page(router, `/runs/${mine}?view=time`, { expect: text => /40[134]/.test(text) });
  await eventually('the form', () => p.url().includes('/login'));
  await p.evaluate(await (await import('node:fs')).promises.readFile(axe, 'utf8'));
  assert.deepEqual((await p.evaluate(() => axe.run())).violations.map(v => v.id), []);
  await p.getByLabel('Token').fill('wrong');
  await p.keyboard.press('Enter');
  await eventually('it says no', async () => (await p.locator('[role=alert]').textContent()).includes('No token'));
  await p.getByLabel('Token').fill('read-token');
  await p.getByRole('button', { name: 'Log in' }).click();
  await eventually('what was asked for', () => p.url().endsWith(`/runs/${mine}?view=time`));
  await eventually('the run', async () => /waiting|running/.test(await p.locator('h1').textContent()));

  // The right to read: no buttons that change anything, by mouse or by key; and the API says no.
  assert.equal(await p.getByRole('button', { name: /Cancel…|Pause…|Signal…|Redrive/ }).count(), 0);
  assert.match(await p.locator('main').textContent(), /the token ann has the right to read\. What changes something needs one with the right to operate/);
  await p.keyboard.press('x');
  await eventually('the key says why', async () => /it takes one with the right to operate/.test(await p.locator('#said').textContent()));
  assert.equal(await p.locator('dialog[open]').count(), 0);
  const send = (path, o) => p.evaluate(([path, o]) => fetch(path, o).then(r => r.status), [path, o]);
  assert.equal(await send(`/v1/runs/${mine}/cancel`, { method: 'POST' }), 403);
  assert.equal(await send(`/v1/runs/${theirs}`), 404); // Another tenant's is not there.
  await p.goto(router.at + '/runs');
  await eventually('one run of two', async () => await p.locator('tbody tr').count() === 1);
  assert.equal(await p.getByRole('button', { name: /Redrive…|Cancel…/ }).count(), 0);
  assert.equal(await p.evaluate(() => document.cookie), ''); // No script reads the session.

  // A page of another origin, on the same machine: the browser sends the session along at most, and the router refuses.
  const foreign = createServer((_, w) => { w.writeHead(200, { 'Content-Type': 'text/html' }); w.end('<form method=post><button>x</button></form>'); });
  await new Promise(f => foreign.listen(0, '127.0.0.1', f));
  atEnd(() => { foreign.closeAllConnections(); foreign.close(); });
  await p.goto(router.at + '/session');
  await p.goto(router.at + '/runs');
  await p.getByRole('button', { name: 'Log out' }).click();
  await eventually('the form again', () => p.url().includes('/login'));
  assert.equal(await send('/v1/runs'), 401);
  await p.getByLabel('Token').fill('operate-token');
  await p.getByRole('button', { name: 'Log in' }).click();
  await eventually('both runs', async () => await p.locator('tbody tr').count() === 2);
  const evil = await p.context().newPage();
  await evil.goto(`http://127.0.0.1:${foreign.address().port}/`);
  const got = await evil.evaluate(url => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include' }).then(() => 'sent', e => String(e)), `${router.at}/v1/runs/${mine}/cancel`);
  await evil.evaluate(url => { const f = document.forms[0]; f.action = url; f.submit(); }, `${router.at}/v1/runs/${mine}/cancel`);
  await eventually('the answer to the form', async () => /origin|token/.test(await evil.content()));
  assert.notEqual((await router.state(mine, admin)).state, 'cancelled', got);
  await evil.goto(`http://127.0.0.1:${foreign.address().port}/`);
  assert.equal(await evil.evaluate(url => new Promise(f => { const i = document.createElement('iframe'); i.src = url; i.onload = () => f(i.contentDocument === null ? 'closed' : 'open'); document.body.append(i); }), router.at + '/runs'), 'closed');

  // With the right to operate the buttons are there, and do it.
  await p.goto(router.at + '/runs/' + mine);
  await p.getByRole('button', { name: 'Signal…' }).click();
  await p.locator('dialog').getByRole('button', { name: 'Send the signal' }).click();
  await router.until(mine, 'succeeded', admin);
  await p.goto(router.at + '/runs');
  await eventually('the runs', async () => await p.locator('tbody tr').count() === 2);

  // The token is taken back: the session is over at once.
  writeFileSync(`${router.dir}/tokens.yaml`, `tokens:\n  boss: { right: admin, file: "${router.dir}/boss" }\n`);
  router.child.kill('SIGHUP');
  await eventually('the form, as the token is gone', () => p.url().includes('/login'));
  p.rightly();
});
