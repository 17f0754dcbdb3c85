// What the router is made of: triggers, functions, and the routers themselves.
import { h, n, many, state, when, utc, bytes, took, ms, Table } from './dom.js';
import { get, post, Poll, seg } from './api.js';
import { ask, open, close, word, empty, wrong, command, copy, copyCommand } from './ask.js';
import { Flow } from './flow.js';

// page is a view of one table that is asked for again and again.
function page(app, title, about, table, fetch, none, { above = [], below = [], lists, act } = {}) {
  app.title(title);
  const body = h('div'), count = h('span'), one = title.toLowerCase().replace(/s$/, '');
  app.head(title, about, ...above, body, h('div', { class: 'foot' }, count, h('span', { class: 'grow' }), copyCommand(() => lists)), ...below);
  let held = false;
  const poll = new Poll(async () => {
    const rows = await fetch();
    if (rows.length) {
      if (body.firstChild !== table.el) body.replaceChildren(table.el);
      table.update(rows);
    } else body.replaceChildren(none());
    count.textContent = rows.length ? many(rows.length, one) : '';
    return rows;
  }, 1000);
  return {
    poll,
    update: () => poll.now(),
    key(e) {
      const row = table.selected();
      switch (e.key) {
        case 'j': return table.move(1);
        case 'k': return table.move(-1);
        case 'p': poll.hold(held = !held); return true;
        default: return !!(row && act && act(e.key, row));
      }
    },
    close: () => poll.stop(),
  };
}

const held = p => 'paused' + (p.by ? ' by ' + p.by : '') + (p.since ? ' since ' + utc(p.since).slice(0, 19) + ' UTC' : '') + (p.reason ? ': ' + p.reason : '');

// halt pauses a function or a trigger, or lets it go on.
function halt(kind, name, paused, poll) {
  const verb = paused ? 'resume' : 'pause';
  ask({
    title: paused ? `Let ${name} go on` : `Pause ${name}`, button: paused ? 'Resume' : 'Pause',
    text: paused ? 'What was held back is sent.' : kind === 'functions' ? 'Its calls are held back, and counted; deadlines go on.' : 'Its runs begin, and call nothing; deadlines go on.',
    fields: paused ? [] : [{ name: 'reason', label: 'Reason' }],
    command: v => `onward ${kind} ${verb} ${word(name)}` + (v.reason ? ` --reason ${word(v.reason)}` : ''),
    run: async v => { await post(`/v1/${kind}/${seg(name)}/${verb}`, { reason: v.reason, by: 'page' }); poll.now(); return `${name} is ${verb}d`; },
  });
}

export function triggers(main, app) {
  const view = {};
  const pauseButton = t => app.may('operate') ? h('button', { type: 'button', onclick: () => halt('triggers', t.trigger, !!t.paused, view.poll) }, t.paused ? 'Resume…' : 'Pause…') : '';
  // draw shows what a trigger does, as it is written.
  const draw = async name => {
    let said;
    try { said = await get('/v1/triggers/' + seg(name)); } catch (e) { open(name, wrong(e)); return; }
    const flow = new Flow({ select: s => copy(s.path), enter: at => flow.draw(said, at) });
    open('Flow of ' + name, h('div', { class: 'scroll pad' }, flow.el), command('onward runs list --trigger ' + word(name)), h('div', { class: 'ends' }, h('button', { type: 'button', onclick: close }, 'Close'))).classList.add('large');
    document.getElementById('dialog').addEventListener('close', e => { e.target.classList.remove('large'); flow.close(); }, { once: true });
    flow.draw(said);
  };
  const start = t => ask({
    title: `Start ${t.trigger}`, button: 'Start', fields: [{ name: 'data', label: 'Data of the event, as JSON', area: true, value: '{}' }],
    command: v => `onward send --trigger ${word(t.trigger)} --data ${word(v.data)}`,
    preview: async v => { JSON.parse(v.data || 'null'); return h('span'); },
    run: async v => { const said = await post('/v1/triggers/' + seg(t.trigger), undefined, v.data || 'null'); app.go('/runs/' + said.run); return `started run ${said.run}`; },
  });
  const table = new Table([
    { name: 'Trigger', cell: t => h('b', null, t.trigger), sig: t => t.trigger },
    { name: 'Tenant', cell: t => t.tenant || '' },
    { name: 'Takes', cell: t => [(t.types || []).join(', ') || (t.filters ? 'by ' + many(t.filters, 'filter') : 'every event'), t.when && h('div', { class: 'sub' }, 'when ' + t.when)], sig: t => [t.types, t.filters, t.when] },
    { name: 'State', cell: t => t.paused ? state('paused', held(t.paused)) : state('up', 'takes events'), sig: t => t.paused || 0 },
    { name: 'Definition', class: 'opt', cell: t => h('code', null, t.digest), sig: t => t.digest },
    { name: h('span', { class: 'hidden' }, 'Actions'), class: 'acts', cell: t => [h('button', { type: 'button', onclick: () => draw(t.trigger) }, 'Flow…'), ' ', h('a', { href: '/runs?trigger=' + seg(t.trigger), class: 'button' }, 'Runs'), ' ', app.may('operate') ? h('button', { type: 'button', onclick: () => start(t) }, 'Start…') : '', ' ', pauseButton(t)], sig: t => [t.trigger, !!t.paused] },
  ], { key: t => t.trigger, label: 'Triggers' });
  const area = h('textarea', { id: 'test-event', rows: '8', 'data-filter': true, spellcheck: 'false', value: JSON.stringify({ specversion: '1.0', id: 'test-1', type: 'com.example.thing', source: '/me', data: {} }, null, 2) });
  const verdicts = h('div', { role: 'status' });
  const test = async () => {
    try {
      const said = await post('/v1/events/test', undefined, area.value, { headers: { 'Content-Type': 'application/cloudevents+json' } });
      const tried = said.triggers || [];
      const t = new Table([
        { name: 'Takes it', cell: x => state(x.taken ? 'succeeded' : 'skipped', x.taken ? 'yes' + (x.paused ? ', paused' : '') : 'no'), sig: x => [x.taken, x.paused] },
        { name: 'Trigger', cell: x => x.trigger },
        { name: 'Why', class: 'wide', cell: x => x.why || (x.key && !x.run ? `${x.as ? `as ${x.as}; ` : ''}its key is ${x.key}: it joins the run that gathers for that, or opens one` : '') },
      ], { key: x => x.trigger, label: 'What each trigger would do' });
      t.update(tried.sort((a, b) => !!b.taken - !!a.taken || a.trigger.localeCompare(b.trigger)));
      const yes = tried.filter(x => x.taken).length;
      verdicts.replaceChildren(h('p', null, h('b', null, yes ? `${many(yes, 'trigger takes', 'triggers take')} this event.` : 'No trigger takes this event.')), tried.length ? t.el : h('p', { class: 'sub' }, 'There are no triggers.'), command('onward triggers test EVENT.json'));
    } catch (e) {
      verdicts.replaceChildren(wrong(e));
    }
  };
  const tester = h('details', { open: app.query.get('test') !== null }, h('summary', null, 'Test an event against all of them: which filter says no'),
    h('label', { for: 'test-event' }, 'An event, as structured JSON. Nothing is started.'), area, h('div', { class: 'bar' }, h('button', { type: 'button', onclick: test }, 'Test')), verdicts);
  return Object.assign(view, page(app, 'Triggers', 'What starts runs: events that their filters let through, or you.', table, async () => (await get('/v1/triggers')).triggers, () => empty('There are no triggers in the documents. See one:', 'onward lint deploy/examples/01-word-count'), {
    above: [tester], lists: 'onward triggers list', act: (k, t) => k === 'Enter' && document.activeElement.tagName !== 'BUTTON' && (app.go('/runs?trigger=' + seg(t.trigger)), true),
  }));
}

export function functions(main, app) {
  const view = {};
  const limit = f => ask({
    title: `Limit ${f.function}`, button: 'Limit', text: `The documents allow ${n(f.concurrency)} calls at a time. 0 is that again.`,
    fields: [{ name: 'n', label: 'Calls at a time', type: 'number', min: 0, max: f.concurrency, value: f.limit || 0 }],
    command: v => `onward functions limit ${word(f.function)} ${v.n}`,
    run: async v => { await post(`/v1/functions/${seg(f.function)}/limit`, { limit: v.n, by: 'page' }); view.poll.now(); return `${f.function}: at most ${v.n > 0 ? v.n : f.concurrency} at a time`; },
  });
  const invoke = f => {
    const key = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2); // A second click is the same call.
    ask({
      title: `Invoke ${f.function}`, button: 'Invoke', text: 'By itself, outside of any flow: a run of one step, with the retry and the limits of the function.', fields: [{ name: 'data', label: 'Its input, as JSON', area: true, value: '{}' }],
      command: v => `onward invoke ${word(f.function)} --data ${word(v.data)}`,
      preview: async v => { JSON.parse(v.data || 'null'); return h('span'); },
      run: async v => { const said = await post(`/v1/functions/${seg(f.function)}/invoke`, undefined, v.data || 'null', { headers: { 'Idempotency-Key': key } }); app.go('/runs/' + said.run); return `started run ${said.run}`; },
    });
  };
  const table = new Table([
    { name: 'State', cell: f => state(f.paused ? 'paused' : f.state), sig: f => f.paused ? 'paused' : f.state },
    { name: 'Function', cell: f => h('b', null, f.function), sig: f => f.function },
    { name: 'Sink', class: 'opt', cell: f => f.sink || '' },
    { name: 'At work', class: 'num', cell: f => h('span', null, `${n(f.inFlight)} of ${n(f.limit || f.concurrency)}`, f.limit ? h('div', { class: 'sub' }, `limited; ${n(f.concurrency)} by the documents`) : ''), sig: f => [f.inFlight, f.limit, f.concurrency] },
    { name: 'Queued', class: 'num', cell: f => n(f.queued) },
    { name: 'Held', class: 'num opt', cell: f => f.held ? n(f.held) : '' },
    { name: 'Rate', class: 'opt', cell: f => f.rate ? f.rate + (f.burst ? `, burst ${n(f.burst)}` : '') : '' },
    { name: 'Why', class: 'wide', cell: f => h('span', null, f.paused ? held(f.paused) : f.error || '', f.next && f.state === 'down' ? h('div', { class: 'sub' }, 'tried again ', when(f.next)) : '', f.since && f.state !== 'up' ? h('div', { class: 'sub' }, 'since ', utc(f.since)) : ''), sig: f => [f.paused, f.error, f.next, f.state, f.next && Math.floor(Date.now() / 1000)] },
    { name: h('span', { class: 'hidden' }, 'Actions'), class: 'acts', cell: f => app.may('operate') ? [h('button', { type: 'button', onclick: () => invoke(f) }, 'Invoke…'), ' ', h('button', { type: 'button', onclick: () => limit(f) }, 'Limit…'), ' ', h('button', { type: 'button', onclick: () => halt('functions', f.function, !!f.paused, view.poll) }, f.paused ? 'Resume…' : 'Pause…')] : '', sig: f => [f.function, !!f.paused, f.limit] },
  ], { key: f => f.function, label: 'Functions' });
  return Object.assign(view, page(app, 'Functions', 'What is called, and how it is: a function that is down is tried again by itself, and what waits for it is sent then.', table, async () => (await get('/v1/functions')).functions, () => empty('There are no functions in the documents. See some:', 'onward lint deploy/examples/01-word-count'), { lists: 'onward functions list' }));
}

export function routers(main, app) {
  const table = new Table([
    { name: 'State', cell: r => state(r.state, r.why ? `${r.state}: ${r.why}` : r.state), sig: r => [r.state, r.why] },
    { name: 'Router', cell: r => [h('b', null, r.name), r.address ? h('div', { class: 'sub mono' }, r.address) : ''], sig: r => [r.name, r.address] },
    { name: 'Version', class: 'opt', cell: r => r.version || '' },
    { name: 'Up for', class: 'num opt', cell: r => r.started ? took(Date.now() - ms(r.started)) : '' },
    { name: 'Partitions', class: 'num', cell: r => (r.partitions || []).length > 8 ? n(r.partitions.length) : (r.partitions || []).map(p => p.partition).join(', ') },
    { name: 'Open runs', class: 'num', cell: r => n((r.partitions || []).reduce((a, p) => a + p.runs, 0)) },
    { name: 'Records behind', class: 'num', cell: r => n((r.partitions || []).reduce((a, p) => a + (p.lag || 0), 0)) },
    { name: 'Since snapshots', class: 'num opt', cell: r => many((r.partitions || []).reduce((a, p) => a + (p.unsaved || 0), 0), 'record') },
    { name: 'Disk', class: 'num', cell: r => r.disk ? `${bytes(r.disk.used)} used, ${bytes(r.disk.free)} free` : '' },
  ], { key: r => r.name, label: 'Routers' });
  const parts = new Table([
    { name: 'Partition', class: 'num', cell: p => n(p.partition) },
    { name: 'Router', cell: p => p.router },
    { name: 'State', cell: p => state(p.serving ? 'ready' : 'waiting', p.serving ? 'serving' : 'folding what was before'), sig: p => !!p.serving },
    { name: 'Open runs', class: 'num', cell: p => n(p.runs) + (p.paused ? `, ${n(p.paused)} paused` : '') },
    { name: 'Open calls', class: 'num', cell: p => n(p.calls) },
    { name: 'Behind', class: 'num', cell: p => n(p.lag) },
    { name: 'Since its snapshot', class: 'num', cell: p => n(p.unsaved) },
    { name: 'Snapshot', cell: p => p.saved ? when(p.saved) : 'none since the start', sig: p => [p.saved, Math.floor(Date.now() / 1000)] },
  ], { key: p => p.router + ' ' + p.partition, label: 'Partitions' });
  return page(app, 'Routers', 'Who routes: each router folds some partitions of the journal. Records behind are durable and not looked at yet; those since snapshots are folded again at a start.', table, async () => {
    const said = await get('/v1/routers'), all = Object.assign(said.routers, { unanswered: said.unanswered });
    parts.update(all.flatMap(r => (r.partitions || []).map(p => ({ ...p, router: r.name }))).sort((a, b) => a.partition - b.partition));
    return all;
  }, () => empty('No router answers.', 'onward doctor'), { lists: 'curl -s ' + location.origin + '/v1/routers', below: [h('details', null, h('summary', null, 'Each partition'), parts.el)] });
}
