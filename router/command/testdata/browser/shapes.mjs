// What flows look like, one selection of time in all views, fingers, text that means harm, and what is read aloud.
import { main, functions, Router, page, assert, eventually } from './lib.mjs';

// Edges of a dag with 30 steps, some of them over several layers.
const needs = i => i < 5 ? [] : [...new Set([i - 5 + i * 7 % 4, i % 3 ? -1 : Math.max(0, i - 14)])].filter(k => k >= 0);

await main(async () => {
  const held = [];
  let free = false;
  const at = await functions({
    ok: x => x ?? {}, bad: () => ({ code: 422, body: { type: 'bad', message: 'no' } }), held: () => free ? {} : new Promise(f => held.push(f)),
    hostile: () => ({ nul: 'a\u0000b', rtl: '\u202Elive\u202C', html: '<b onclick=alert(1)>', ctl: '\u001b[31m', long: 'x'.repeat(1 << 20) }),
    mean: () => ({ code: 422, body: { type: 'bad\u001b[2J', message: '\u202Eevil\u2066 <script>document.title="owned"</script>' } }),
  });
  const url = name => `${name}: { http: { url: "${at}/${name}" }, concurrency: 64, timeout: 5m }`;
  const router = await new Router(`
version: 1
functions: { ${['ok', 'bad', 'held', 'hostile', 'mean'].map(url).join(', ')} }
triggers:
  own: { flow: { name: own, any-of: [{ function: held }, { sequence: [{ function: held }, { name: b, function: ok }] }] } }
  big: { flow: { name: big, dag: { steps: [${Array.from({ length: 30 }, (_, i) => `{ name: s${i}, function: ok, needs: [${needs(i).map(k => 's' + k)}] }`).join(', ')}] } } }
  poll: { flow: { name: poll, loop: { do: { function: ok }, until: "\${ round >= 3 }", max: 9 } } }
  trip: { flow: { name: trip, saga: [{ name: a, function: ok, undo: { function: ok } }, { name: b, function: bad }, { name: c, function: ok }] }, onFailure: [{ function: ok }] }
  wide: { flow: { name: many, map: { items: 300, window: 10, results: none, do: { function: held } } } }
  parts: { flow: { sequence: [{ name: one, map: { items: 20, do: { function: ok } } }, { name: rest, wait: { for: 600ms } }, { name: two, map: { items: 12, do: { function: ok } } }] } }
  hostile: { flow: { function: hostile } }
  mean: { flow: { function: mean } }
  approve: { flow: { signal: { name: "go on" } } }
`).start();
  const run = {};
  for (const t of ['own', 'big', 'poll', 'trip', 'wide', 'parts', 'hostile', 'mean', 'approve']) run[t] = await router.run(t, {});
  for (const [t, is] of [['big', 'succeeded'], ['poll', 'succeeded'], ['trip', 'failed'], ['parts', 'succeeded'], ['hostile', 'succeeded'], ['mean', 'failed']]) await router.until(run[t], is);
  const p = await page(router, '/runs/' + run.big, { expect: text => /404/.test(text) });
  const box = path => p.locator(`.node[data-path="${path}"]`), text = async path => (await box(path).innerText()).replace(/\s+/g, ' ');
  const open = async (t, more = '') => { await p.goto(`${router.at}/runs/${run[t]}${more}`); await eventually('its list', async () => await p.locator('main tbody tr').count() > 0); };
  const snapshot = async () => p.locator('main').ariaSnapshot();

  // A dag: each edge is drawn, leads to the right, and crosses no box but its ends.
  await open('big');
  const edges = Array.from({ length: 30 }, (_, i) => needs(i).length).reduce((a, b) => a + b);
  await eventually('the edges', async () => await p.locator('.dag path:not(.tip)').count() === edges);
  const crossed = await p.evaluate(() => {
    const root = document.querySelector('.dag').getBoundingClientRect(), boxes = [...document.querySelectorAll('.dag .node')].map(n => [n.dataset.path, n.getBoundingClientRect()]), bad = [];
    for (const path of document.querySelectorAll('.dag path:not(.tip)')) {
      const long = path.getTotalLength(), last = path.getPointAtLength(long).x;
      if (path.getPointAtLength(0).x >= last) bad.push('to the left');
      for (let at = 4; at < long - 4; at += 4) {
        const { x, y } = path.getPointAtLength(at), on = boxes.find(([, r]) => x + root.left > r.left + 1 && x + root.left < r.right - 1 && y + root.top > r.top + 1 && y + root.top < r.bottom - 1);
        if (on) { bad.push(`over ${on[0]}`); break; }
      }
    }
    return bad;
  });
  assert.deepEqual(crossed, []);

  // A policy of somebody's own is a box with its slots; a loop tells its round; a saga what was undone, and where its end went.
  await open('own');
  assert.deepEqual(await p.locator('.frame.foreign .slot').allTextContents(), ['of 1', 'of 2']);
  assert.match(await text('own'), /any-of 1 running/);
  await open('poll');
  assert.match(await text('poll'), /loop until \$\{ round >= 3 \}, at most 9 rounds 4 rounds/);
  assert.match(await text('poll/ok[*]'), /4 succeeded/);
  await open('trip');
  assert.match(await p.locator('.undo').textContent(), /undo.*undo-a.*1 succeeded/);
  await eventually('what became of its end', async () => /1 succeeded/.test(await text('end:ok')));
  assert.match(await text('trip/c'), /not run/);

  // The window of a map is changed from the page; what is open is listed before what is done.
  await open('wide');
  assert.equal(await p.locator('.node').count(), 2); // Never its branches.
  await eventually('ten are open', async () => /10 (running|queued)/.test(await text('many/held[*]')));
  const button = p.getByRole('button', { name: 'Window…' });
  await button.focus();
  await p.keyboard.press('Enter');
  await p.locator('#ask-window').fill('25');
  assert.match(await p.locator('dialog code').textContent(), new RegExp(`onward runs window ${run.wide} many 25`));
  await p.locator('dialog').getByRole('button', { name: 'Change', exact: true }).click();
  await eventually('the focus is back', async () => await button.evaluate(b => b === document.activeElement));
  await p.keyboard.press('Shift+Tab'); await p.keyboard.press('Tab');
  assert.notEqual(await button.evaluate(b => getComputedStyle(b).outlineStyle), 'none'); // It is seen.
  await eventually('25 are open', async () => /25 (running|queued)/.test(await text('many/held[*]')));
  await p.getByRole('button', { name: 'Open', exact: true }).click();
  await eventually('they are listed', async () => /running.*many\/held\[24\]/s.test(await p.locator('main tbody').textContent()));
  assert.equal(await p.evaluate(() => document.getAnimations().length), 0); // Less motion is asked for.

  // A live run is not read out all the time.
  await p.evaluate(() => { window.spoke = 0; new MutationObserver(() => window.spoke++).observe(document.body, { subtree: true, childList: true, characterData: true }); window.aloud = []; for (const el of document.querySelectorAll('[role=status], [aria-live]')) new MutationObserver(() => window.aloud.push(el.textContent)).observe(el, { subtree: true, childList: true, characterData: true }); });
  for (let i = 0; i < 3; i++) { for (const f of held.splice(0, 4)) f({}); await eventually('it goes on', async () => await p.evaluate(i => window.spoke > i, i)); await new Promise(f => setTimeout(f, 250)); }
  assert.deepEqual(await p.evaluate(() => window.aloud), []);

  // A time that is chosen in Time holds in Flow, Field and lists, and is the address.
  await open('parts', '?view=time');
  const strip = p.locator('.time .row canvas').nth(1), r = await strip.boundingBox();
  await p.mouse.move(r.x + 1, r.y + 8); await p.mouse.down(); await p.mouse.move(r.x + r.width / 3, r.y + 8, { steps: 4 }); await p.mouse.up();
  await eventually('the address has it', () => /t=[\d.]+s\.\.[\d.]+s/.test(p.url()));
  await eventually('Time shows it alone', async () => !/two\/ok/.test(await p.locator('.time').textContent()));
  await eventually('so does the list', async () => { const rows = await p.locator('main tbody').textContent(); return /one\/ok/.test(rows) && !/two\/ok/.test(rows); });
  await p.keyboard.press('1');
  await eventually('so does Flow', async () => /not in this time/.test(await text('two/ok[*]')) && /20 in this time/.test(await text('one/ok[*]')));
  await p.goto(p.url().replace('view=flow', 'view=field') + '&step=two/ok[*]');
  await eventually('so does Field', async () => /0 branches of this time/.test(await p.locator('main').textContent()));
  await p.locator('select').selectOption('one/ok[*]');
  await eventually('and of the other step all', async () => /20 branches of this time/.test(await p.locator('main').textContent()));
  await p.getByRole('button', { name: 'All of the time' }).click();
  await eventually('all of it', async () => !/t=/.test(p.url()) && /20 of 20 branches/.test(await p.locator('main').textContent()));

  // Fingers: a tap opens, two pinch, one drags what is zoomed.
  const wire = await p.context().newCDPSession(p), canvas = p.locator('canvas'), c = await canvas.boundingBox();
  const touch = (type, ...points) => wire.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y], id) => ({ x: c.x + x, y: c.y + y, id })) });
  await touch('touchStart', [10, 10]); await touch('touchEnd');
  await eventually('the drawer', () => /sel=one%2Fok%5B0%5D/.test(p.url()));
  await touch('touchStart', [100, 20], [140, 20]);
  for (let d = 10; d <= 60; d += 10) await touch('touchMove', [100 - d, 20], [140 + d, 20]);
  await touch('touchEnd');
  await eventually('it is zoomed', async () => await canvas.evaluate(x => x.style.touchAction) === 'none');
  await p.getByRole('button', { name: 'All', exact: true }).click();
  await eventually('and fingers move the page again', async () => await canvas.evaluate(x => x.style.touchAction) === 'pan-y');

  // Text that means harm is text, and shows what cannot be seen.
  await open('hostile', '?sel=hostile');
  await eventually('the output', async () => (await p.locator('.drawer').textContent()).includes('the begin of'));
  for (const part of ['main', '.drawer']) {
    const shown = await p.locator(part).textContent();
    assert.ok(shown.includes('\\u202elive') && shown.includes('a\\u0000b') && shown.includes('<b onclick') && !/[\u0000\u001b\u202e\u2066]/.test(shown), part);
  }
  assert.ok(await p.evaluate(() => document.body.textContent.length) < 200_000);
  await p.goto(router.at + '/runs?error=' + encodeURIComponent('bad\u001b[2J'));
  await eventually('none', async () => (await p.locator('main').textContent()).includes('No run is of this filter'));
  await p.getByRole('button', { name: 'Copy command' }).click();
  assert.equal(await p.evaluate(() => navigator.clipboard.readText()), "onward runs list --error $'bad\\u001b[2J'");
  await open('mean');
  assert.match(await p.locator('main').innerText(), /\\u202eevil\\u2066 <script>/);
  assert.notEqual(await p.title(), 'owned');

  // What is read aloud: states, numbers and buttons in words.
  await open('trip');
  const trip = await snapshot();
  for (const want of [/heading "failed trip"/, /button "Redrive…"/, /tab "Flow" \[selected\]/, /button "trip saga 1 failed"/, /button "a function ok 1 succeeded"/, /button "c function ok not run"/, /table "Steps, failed first"/, /cell "failed"/]) assert.match(trip, want);
  await open('wide', '?view=field');
  assert.match(await snapshot(), /img "300 branches: .*(running|queued), .*pending.*"/);
  assert.match(await snapshot(), /button "pending \d+"/);
  for (const [path, ...wants] of [
    ['/runs', /heading "Runs"/, /cell "failed"/, /columnheader "Took"/], ['/waits', /cell "go on"/, /button "Answer…"/], ['/functions', /cell "up"/, /cell "\d+ of 64"/], ['/triggers', /button "Start…"/, /cell "takes events"/],
    ['/events', /heading "Events"/], ['/dead', /No dead letters/], ['/routers', /cell "ready"/, /1 router/]]) {
    await p.goto(router.at + path);
    for (const want of wants) await eventually(`${path}: ${want}`, async () => want.test(await snapshot()));
    await p.getByRole('button', { name: /^Copy( command)?$/ }).first().click();
    assert.match(await p.evaluate(() => navigator.clipboard.readText()), path === '/routers' ? /^curl -s http/ : /^onward /);
  }

  // What the router refuses, and who does not answer, is said above the list, with what to do.
  let answer = { status: 503, contentType: 'application/json', body: '{"error":{"code":"x","message":"too much at once","cure":"ask again later"}}' };
  await p.route('**/v1/waits?*limit=200*', r => answer ? r.fulfill(answer) : r.continue());
  await p.goto(router.at + '/waits');
  await eventually('it says so', async () => /too much at once.*ask again later/.test(await p.locator('main [role=alert]').textContent()));
  answer = { status: 200, contentType: 'application/json', headers: { 'Onward-Unanswered': 'router-b' }, body: '{"waits":[],"total":0}' };
  await eventually('who does not answer', async () => /do not answer.*router-b/.test(await p.locator('#trouble').textContent()));
  answer = undefined;
  await eventually('and then all is well', async () => await p.locator('#trouble').textContent() === '' && await p.locator('main tbody tr').count() === 1);
  await p.unroute('**/v1/waits?*limit=200*');
  p.wrong.splice(0, p.wrong.length, ...p.wrong.filter(x => !/503/.test(x)));

  // Where there is nothing the page says so, and leads on.
  await p.goto(router.at + '/nowhere');
  await eventually('it says so', async () => (await p.locator('main').textContent()).includes('no page of this address'));
  free = true;
  for (const f of held.splice(0)) f({});
  await router.until(run.own, 'succeeded');
  p.rightly();
});
