// The list of runs, by the filters of `onward runs list`.
import { h, state, icon, n, many, took, ms, when, Table } from './dom.js';
import { get, lines, Poll, seg } from './api.js';
import { ask, word, empty, copyCommand } from './ask.js';

const states = ['running', 'waiting', 'queued', 'paused', 'failed', 'succeeded', 'cancelled', 'skipped'];
const filters = [['text', 'Text', 'Text in event, result, error', 25], ['trigger', 'Trigger'], ['error', 'Error type'], ['event', 'Event id'], ['tenant', 'Tenant'], ['parent', 'Parent run'], ['since', 'Since', 'Since: 1h, today', 13], ['until', 'Until', 'Until: 5m', 13]];
const keys = ['state', ...filters.map(f => f[0]), 'sort', 'order'];

// flags are a query as the command has it.
export const flags = q => keys.filter(k => q.get(k)).map(k => ` --${k} ${word(q.get(k))}`).join('');
const choice = q => Object.fromEntries(keys.map(k => [k, q.get(k) || undefined]));

// bulk asks what is to be done to all runs of a query, and shows first which these are.
function bulk(app, verb, title, wants) {
  const q = app.query;
  const query = { ...choice(q), sort: undefined, order: undefined };
  const command = () => `onward runs ${verb}${flags(new URLSearchParams(Object.entries(query).filter(([, v]) => v)))} --yes`;
  ask({
    title, danger: verb === 'cancel', button: title, command,
    preview: async () => {
      const said = await get('/v1/runs', { ...query, limit: 5 });
      return h('div', null, h('p', null, said.total ? many(said.total, 'run') + ' of this filter' : 'No run is of this filter.', said.total > 5 && ', among them:'),
        h('ul', null, said.runs.map(r => h('li', null, h('code', null, r.run), ' ', r.trigger, ' ', r.state))), wants && h('p', { class: 'sub' }, wants));
    },
    run: async (_, progress) => {
      let said;
      for await (const line of lines('/v1/runs/' + verb, { ...query, limit: 10_000 })) {
        if (line.run) said[line.error ? 'refused' : 'done']++;
        else said = line;
        progress(`${n(said.done + said.refused)} of ${n(said.runs)}`);
      }
      return `${title}: ${n(said.done)} done` + (said.refused ? `, ${n(said.refused)} refused` : '') + (said.left ? `, ${n(said.left)} left` : '');
    },
  });
}

export default function runs(main, app) {
  app.title('Runs');
  let more = [], next, total, held = false;
  const sortable = (key, name) => h('button', { type: 'button', onclick: () => app.set(app.query.get('sort') === key || !app.query.get('sort') && key === 'started' ? { order: app.query.get('order') === 'up' ? '' : 'up' } : { sort: key, order: '' }) }, name);
  const table = new Table([
    { name: 'State', cell: r => state(r.state), sig: r => r.state },
    { name: 'Run', cell: r => h('a', { href: '/runs/' + r.run, class: 'mono', title: r.run }, r.run.slice(0, 12) + '…'), sig: r => r.run },
    { name: 'Trigger', cell: r => r.trigger + (r.tenant && r.tenant !== 'default' ? ` (${r.tenant})` : '') },
    { name: 'Started', head: sortable('started', 'Started'), cell: r => when(r.started), sig: r => r.started + Math.floor(Date.now() / 1000) },
    { name: 'Took', head: sortable('duration', 'Took'), class: 'num', cell: r => took((r.ended ? ms(r.ended) : Date.now()) - ms(r.started)) },
    { name: 'Calls', class: 'num opt', cell: r => n(r.calls) },
    { name: 'Open', class: 'num opt', cell: r => r.open ? n(r.open) : '' },
    { name: 'Why', class: 'wide', cell: r => h('span', { class: 'cut' }, r.error || (r.paused ? 'paused' + (r.paused.reason ? ': ' + r.paused.reason : '') : r.signals ? `waits for ${n(r.signals)} signal${r.signals > 1 ? 's' : ''}` : '')), sig: r => [r.error, r.paused, r.signals] },
  ], { key: r => r.run, label: 'Runs' });
  const chips = h('div', { class: 'chips', role: 'group', 'aria-label': 'State' });
  for (const s of states) chips.append(h('button', { type: 'button', 'data-state': s, onclick: () => app.set({ state: app.query.get('state') === s ? '' : s }, { push: true }) }, icon(s), s));
  const inputs = {};
  const form = h('form', { class: 'bar', role: 'search', onsubmit: e => { e.preventDefault(); app.set(Object.fromEntries(filters.map(([k]) => [k, inputs[k].value.trim()])), { push: true }); } },
    filters.map(([k, label, hint, size], i) => {
      const id = 'f-' + k;
      inputs[k] = h('input', { id, type: 'search', class: i > 1 && 'rest', placeholder: hint || label, 'aria-label': label, size: size || 9, 'data-filter': i === 0, onchange: () => form.requestSubmit() });
      return inputs[k];
    }), h('button', { class: 'hidden' }, 'Filter'),
    h('button', { type: 'button', class: 'more', 'aria-expanded': 'false', onclick: e => e.target.setAttribute('aria-expanded', String(form.classList.toggle('all'))) }, 'More filters'));
  if (filters.some(([k], i) => i > 1 && app.query.get(k))) form.classList.add('all');
  const count = h('span');
  const foot = h('div', { class: 'foot' }, count);
  const moreButton = h('button', { type: 'button', onclick: async () => {
    const said = await get('/v1/runs', { ...choice(app.query), limit: 100, after: next });
    more.push(...said.runs); next = said.next; draw();
  } }, 'More');
  const acts = h('div', { class: 'bar' }, chips, h('span', { class: 'grow' }));
  const buttons = app.may('operate') ? [
    h('button', { type: 'button', onclick: () => bulk(app, 'redrive', 'Redrive all of these', 'Each goes on where it failed: what succeeded is kept.') }, 'Redrive…'),
    h('button', { type: 'button', onclick: () => bulk(app, 'cancel', 'Cancel all of these', 'Their calls are dropped; what has to be undone is undone first.') }, 'Cancel…'),
  ] : [];
  acts.append(copyCommand(() => 'onward runs list' + flags(app.query)), ...buttons);
  const body = h('div');
  app.head('Runs', 'What events started: a run for each trigger that took one.', acts, form, body, foot);
  let first = [];
  const draw = () => {
    const seen = new Set(first.map(r => r.run));
    const rows = [...first, ...more.filter(r => !seen.has(r.run))];
    if (rows.length) {
      if (body.firstChild !== table.el) body.replaceChildren(table.el);
      table.update(rows);
    } else if (total === 0) {
      body.replaceChildren(flags(app.query) ? h('div', { class: 'empty' }, h('p', null, 'No run is of this filter.'), h('a', { href: '/runs' }, 'Show all runs'))
        : empty('No run yet. Send an event that a trigger takes, or start a trigger by its name:', "onward send --type TYPE --source /me --data '{}'", "onward triggers list"));
    }
    count.textContent = !total ? '' : `${n(rows.length)} of ${many(total, 'run')}`;
    foot.replaceChildren(count, ...(next ? [moreButton] : []));
  };
  const refresh = async () => {
    const said = await get('/v1/runs', { ...choice(app.query), limit: 50 });
    first = said.runs; total = said.total;
    if (!more.length) next = said.next;
    draw();
    return said;
  };
  const fit = () => {
    for (const b of chips.children) b.setAttribute('aria-pressed', String(app.query.get('state') === b.dataset.state));
    for (const [k] of filters) if (document.activeElement !== inputs[k]) inputs[k].value = app.query.get(k) || '';
    for (const b of buttons) b.disabled = !flags(app.query);
    for (const b of buttons) b.title = b.disabled ? 'choose which by a filter first' : '';
  };
  fit();
  const poll = new Poll(refresh, 1000);
  return {
    update() { fit(); more = []; next = undefined; poll.now(); },
    key(e) {
      const row = table.selected();
      switch (e.key) {
        case 'j': return table.move(1);
        case 'k': return table.move(-1);
        case 'n': return table.move(1, r => r.state === 'failed');
        case 'N': return table.move(-1, r => r.state === 'failed');
        case 'Enter': if (row && document.activeElement.tagName !== 'BUTTON') app.go('/runs/' + row.run); return !!row;
        case 'p': poll.hold(held = !held); return true;
        case 'r': if (row && app.can('operate')) app.go(`/runs/${seg(row.run)}?do=again`); return !!row;
        case 'x': if (row && app.can('operate')) app.go(`/runs/${seg(row.run)}?do=cancel`); return !!row;
      }
    },
    close() { poll.stop(); },
  };
}
