// Who waits for which signal: the inbox of approvals, answered from here.
import { h, n, when, utc, Table } from './dom.js';
import { get, post, Poll, seg } from './api.js';
import { ask, word, empty, copyCommand } from './ask.js';

// answer asks for a signal's data and sends it. A key makes that a second click is the same signal.
export function answer(run, name, done, about) {
  const key = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);
  ask({
    title: `Answer ${name}`, text: [about && h('b', null, about), about && h('br'), `Run ${run} goes on with this signal and its data.`], button: 'Send the signal',
    fields: [{ name: 'data', label: 'Data, as JSON: what its flow looks at', area: true, value: '{"approved": true}', picks: ['{"approved": true}', '{"approved": false}'] }],
    command: v => `onward waits answer ${run} ${word(name)} --data ${word(v.data)}`,
    preview: async v => { if (v.data.trim()) JSON.parse(v.data); return h('span'); },
    run: async v => {
      const said = await post(`/v1/runs/${seg(run)}/signals/${seg(name)}`, undefined, v.data, { headers: { 'Idempotency-Key': key } });
      if (done) done();
      return `signal ${name}: ${said.became}`;
    },
  });
}

const about = w => w.subject || (w.event ? 'event ' + w.event : '');

export default function waits(main, app) {
  app.title('Waits');
  const filters = ['signal', 'trigger', 'tenant', 'run'];
  let held = false;
  const table = new Table([
    { name: 'Signal', cell: w => w.round ? ['event: ', h('b', null, w.signal)] : h('b', null, w.signal), sig: w => w.signal },
    { name: 'Trigger', cell: w => w.trigger },
    { name: 'Run', cell: w => h('a', { href: `/runs/${w.run}`, class: 'mono', title: w.run }, w.run.slice(0, 12) + '…'), sig: w => w.run },
    { name: 'Step', class: 'opt', cell: w => w.round ? `key ${w.round}` : w.path },
    { name: 'About', class: 'wide', cell: w => about(w) + (w.paused ? ' (its run is paused)' : '') },
    { name: 'Since', cell: w => when(w.since), sig: w => w.since + Math.floor(Date.now() / 1000) },
    { name: 'Gives up', class: 'opt', cell: w => w.expires ? utc(w.expires).slice(0, 19) + ' UTC' : '' },
    { name: h('span', { class: 'hidden' }, 'Actions'), class: 'acts', cell: w => app.may('operate') && !w.round ? h('button', { type: 'button', onclick: () => answer(w.run, w.signal, () => poll.now(), about(w)) }, 'Answer…') : '', sig: w => [w.run, w.signal, w.subject] },
  ], { key: w => [w.run, w.path, w.signal].join(' '), label: 'Waits' });
  const inputs = {};
  const form = h('form', { class: 'bar', role: 'search', onsubmit: e => { e.preventDefault(); app.set(Object.fromEntries(filters.map(k => [k, inputs[k].value.trim()]))); } },
    filters.map((k, i) => inputs[k] = h('input', { type: 'search', placeholder: { signal: 'Signal', trigger: 'Trigger', tenant: 'Tenant', run: 'Run' }[k], 'aria-label': k, 'data-filter': i === 0, value: app.query.get(k) || '', onchange: () => form.requestSubmit() })),
    h('button', { class: 'hidden' }, 'Filter'));
  const body = h('div'), count = h('div', { class: 'foot' });
  form.append(h('span', { class: 'grow' }), copyCommand(() => 'onward waits list' + filters.filter(k => app.query.get(k)).map(k => ` --${k} ${word(app.query.get(k))}`).join('')));
  app.head('Waits', 'Steps that wait for a signal: an approval, or news from outside. What you answer goes to the run at once.', form, body, count);
  const poll = new Poll(async () => {
    const said = await get('/v1/waits', { ...Object.fromEntries(filters.map(k => [k, app.query.get(k)])), limit: 200 });
    if (said.waits.length) {
      if (body.firstChild !== table.el) body.replaceChildren(table.el);
      table.update(said.waits);
    } else body.replaceChildren(filters.some(k => app.query.get(k)) ? h('div', { class: 'empty' }, h('p', null, 'Nothing of this filter waits.'), h('a', { href: '/waits' }, 'All that waits')) : empty('Nothing waits for a signal. A step that does is a signal step; see one at work:', 'onward serve deploy/examples/03-approval'));
    count.textContent = said.total ? `${n(said.waits.length)} of ${n(said.total)}, the longest first` : '';
    return said;
  }, 1000);
  return {
    update: () => poll.now(),
    key(e) {
      const row = table.selected();
      switch (e.key) {
        case 'j': return table.move(1);
        case 'k': return table.move(-1);
        case 'Enter': if (row) app.go('/runs/' + row.run); return !!row;
        case 'r': if (row && !row.round) answer(row.run, row.signal, () => poll.now(), about(row)); return !!row;
        case 'p': poll.hold(held = !held); return true;
      }
    },
    close: () => poll.stop(),
  };
}
