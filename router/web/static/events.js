// What became of the events that came: which started a run, which none, and why.
import { h, n, many, state, icon, when, Table } from './dom.js';
import { get, Poll, seg } from './api.js';
import { empty, wrong, word, copyCommand } from './ask.js';

export default function events(main, app) {
  app.title('Events');
  let held = false;
  const table = new Table([
    { name: 'Taken', cell: e => state(e.taken), sig: e => e.taken },
    { name: 'Came', cell: e => when(e.came), sig: e => e.came + Math.floor(Date.now() / 1000) },
    { name: 'Id', class: 'wide', cell: e => h('a', { href: '/events?id=' + seg(e.event), class: 'mono' }, e.event), sig: e => e.event },
    { name: 'Type', cell: e => e.type },
    { name: 'Source', class: 'opt', cell: e => e.source },
    { name: 'By', class: 'opt', cell: e => e.by || '' },
    { name: 'Runs, or why none', class: 'wide', cell: e => [(e.runs || []).slice(0, 5).map(r => [h('a', { href: '/runs/' + r.run, title: r.run }, r.trigger), ' ']), e.runs && e.runs.length > 5 ? `and ${n(e.runs.length - 5)} more` : '', e.note ? h('span', { class: 'cut', title: e.note }, e.note) : ''], sig: e => [e.runs, e.note] },
  ], { key: e => [e.came, e.source, e.event, e.by].join(' '), label: 'Events' });
  const id = h('input', { type: 'search', placeholder: 'Event id', 'aria-label': 'Event id', size: 34, 'data-filter': true, onchange: () => app.set({ id: id.value.trim(), taken: '' }, { push: true }) });
  const chips = h('div', { class: 'chips', role: 'group', 'aria-label': 'Taken' }, ['matched', 'unmatched', 'refused'].map(t => h('button', { type: 'button', 'data-t': t, onclick: () => app.set({ taken: app.query.get('taken') === t ? '' : t, id: '' }, { push: true }) }, icon(t), t)));
  const body = h('div'), count = h('div', { class: 'foot' });
  const command = () => app.query.get('id') ? 'onward events show ' + word(app.query.get('id')) : 'onward events list' + (app.query.get('taken') ? ' --taken ' + app.query.get('taken') : '');
  app.head('Events', 'What became of the events that came: which started a run, which none, and why.', h('div', { class: 'bar' }, chips, id, h('span', { class: 'grow' }), copyCommand(command)), body, count);
  const poll = new Poll(async () => {
    const want = app.query.get('id'), taken = app.query.get('taken') || '';
    if (document.activeElement !== id) id.value = want || '';
    for (const b of chips.children) b.setAttribute('aria-pressed', String(b.dataset.t === taken));
    let said;
    try {
      said = want ? await get('/v1/events/' + seg(want)) : await get('/v1/events', { taken, limit: 100 });
    } catch (e) {
      if (e.status !== 404) throw e;
      body.replaceChildren(wrong(e), h('p', { class: 'sub' }, 'Test an event like it under ', h('a', { href: '/triggers' }, 'Triggers'), ': which filter says no.'));
      count.textContent = '';
      return;
    }
    if (said.events.length) {
      if (body.firstChild !== table.el) body.replaceChildren(table.el);
      table.update(said.events);
    } else body.replaceChildren(taken ? h('div', { class: 'empty' }, h('p', null, `No event was ${taken}, as far as the history reaches.`), h('a', { href: '/events' }, 'All events')) : empty('No event has come yet. Send one:', "onward send --type TYPE --source /me --data '{}'"));
    count.textContent = !said.events.length ? '' : said.next ? 'The latest 100; onward events list has those before.' : many(said.events.length, 'event');
    return said;
  }, 2000);
  return {
    update: () => poll.now(),
    key(e) {
      const row = table.selected();
      switch (e.key) {
        case 'j': return table.move(1);
        case 'k': return table.move(-1);
        case 'n': return table.move(1, x => x.taken !== 'matched');
        case 'N': return table.move(-1, x => x.taken !== 'matched');
        case 'Enter': if (!row) return false; if (row.runs && row.runs.length === 1) app.go('/runs/' + row.runs[0].run); else app.set({ id: row.event }, { push: true }); return true;
        case 'p': poll.hold(held = !held); return true;
      }
    },
    close: () => poll.stop(),
  };
}
