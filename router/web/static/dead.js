// Dead letters, by what they have in common; below, those of one cause.
import { h, n, many, when, json, cut, Table } from './dom.js';
import { get, post, del, Poll, seg } from './api.js';
import { ask, open, close, command, word, empty, copyCommand } from './ask.js';

const keys = ['kind', 'trigger', 'function', 'error', 'tenant', 'run', 'text', 'since'];
const flags = c => keys.filter(k => c[k]).map(k => ` --${k} ${word(c[k])}`).join('');

// each does something to all letters of a choice, a part at a time.
async function each(choice, f) {
  let done = 0, kept = 0;
  for (let after; ;) {
    const said = await get('/v1/dead', { ...choice, limit: 100, after });
    for (const x of said.letters) await f(x).then(() => done++, e => { if (!e.status || e.status === 401 || e.status === 403) throw e; kept++; });
    if (!(after = said.next)) return { done, kept };
  }
}

function mend(choice, verb, total, poll) {
  const again = verb === 'redrive';
  ask({
    title: again ? 'Send these again' : 'Remove these', danger: !again, button: again ? 'Send again' : 'Remove', command: () => `onward dead ${verb}${flags(choice)} --yes`,
    text: again ? `${many(total, 'letter is', 'letters are')} sent again, one after the other. One that does not arrive is kept.` : `${many(total, 'letter is', 'letters are')} removed, and cannot be brought back.`,
    run: async () => {
      const { done, kept } = await each(choice, x => again ? post(`/v1/dead/${seg(x.letter)}/redrive`) : del(`/v1/dead/${seg(x.letter)}`));
      poll.now();
      return `${n(done)} ${again ? 'sent again' : 'removed'}` + (kept ? `, ${n(kept)} kept` : '');
    },
  });
}

// resend sends one letter again.
function resend(id, poll) {
  ask({
    title: 'Send this letter again', button: 'Send again', text: 'It is removed once it has arrived; one that does not arrive is kept.', command: () => 'onward dead redrive ' + id,
    run: async () => { await post(`/v1/dead/${seg(id)}/redrive`); poll.now(); return 'sent again'; },
  });
}

async function show(id) {
  const x = await get('/v1/dead/' + seg(id));
  open('Dead letter', h('p', null, h('code', null, x.letter)), h('p', { class: 'error' }, x.error ? `${x.error.type}: ${x.error.message}` : ''),
    h('p', { class: 'sub' }, 'run ', h('a', { href: '/runs/' + x.run, onclick: close }, x.run), ` at ${x.path}, try ${x.attempt}`, x.redrives ? `; sent again ${x.redrives} times, last: ${x.lastError}` : ''),
    x.data !== undefined && h('pre', { tabindex: '0' }, cut(json(x.data), 20_000)), command('onward dead show ' + x.letter),
    h('div', { class: 'ends' }, h('button', { type: 'button', onclick: close }, 'Close')));
}

export default function dead(main, app) {
  app.title('Dead letters');
  const chosen = () => Object.fromEntries(keys.map(k => [k, app.query.get(k) || undefined]));
  const one = () => app.query.get('cause') === 'one';
  const ofCause = c => ({ ...chosen(), kind: c.kind, trigger: c.trigger, function: c.function, error: c.error });
  const causes = new Table([
    { name: 'Letters', class: 'num', cell: c => n(c.count) },
    { name: 'Kind', cell: c => c.kind || 'others' },
    { name: 'Trigger', cell: c => c.trigger },
    { name: 'To', cell: c => c.function },
    { name: 'Error', class: 'wide', cell: c => h('a', { href: '/dead?' + new URLSearchParams(Object.entries({ ...ofCause(c), cause: 'one' }).filter(([, v]) => v)) }, h('b', null, c.error || 'see'), ' ', h('span', { class: 'cut sub' }, c.message)), sig: c => [c.error, c.message, location.search] },
    { name: 'Last', cell: c => when(c.last), sig: c => c.last + Math.floor(Date.now() / 1000) },
    { name: h('span', { class: 'hidden' }, 'Actions'), class: 'acts', cell: c => app.may('operate') && c.kind ? [h('button', { type: 'button', onclick: () => mend(ofCause(c), 'redrive', c.count, poll) }, 'Send again…'), ' ', h('button', { type: 'button', onclick: () => mend(ofCause(c), 'purge', c.count, poll) }, 'Remove…')] : '', sig: c => c.count },
  ], { key: c => [c.kind, c.trigger, c.function, c.error].join('\n'), label: 'Causes' });
  const letters = new Table([
    { name: 'When', cell: x => when(x.time), sig: x => x.time + Math.floor(Date.now() / 1000) },
    { name: 'Run', cell: x => h('a', { href: '/runs/' + x.run, class: 'mono', title: x.run }, x.run.slice(0, 12) + '…'), sig: x => x.run },
    { name: 'Step', cell: x => x.path },
    { name: 'Error', class: 'wide', cell: x => h('span', { class: 'cut' }, x.error ? `${x.error.type}: ${x.error.message}` : ''), sig: x => x.error },
    { name: 'Tries', class: 'num opt', cell: x => n(x.attempt + (x.redrives || 0)) },
    { name: h('span', { class: 'hidden' }, 'Actions'), class: 'acts', cell: x => [h('button', { type: 'button', onclick: () => show(x.letter) }, 'Show…'), ...(app.may('operate') ? [' ', h('button', { type: 'button', onclick: () => resend(x.letter, poll) }, 'Send again…')] : [])], sig: x => x.letter },
  ], { key: x => x.letter, label: 'Dead letters' });
  const text = h('input', { type: 'search', placeholder: 'Text: in names, reason or data', 'aria-label': 'Text', size: 28, 'data-filter': true, onchange: () => app.set({ text: text.value.trim() }) });
  const back = h('a', { href: '/dead' }, 'All causes');
  const body = h('div'), count = h('div', { class: 'foot' });
  app.head('Dead letters', 'What was given up: it is kept here until somebody sends it again or removes it.',
    h('div', { class: 'bar' }, back, text, h('span', { class: 'grow' }), copyCommand(() => 'onward dead list' + flags(chosen()) + (one() ? '' : ' --group'))), body, count);
  let held = false;
  const table = () => one() ? letters : causes;
  const poll = new Poll(async () => {
    back.hidden = !one();
    if (document.activeElement !== text) text.value = app.query.get('text') || '';
    const said = await get('/v1/dead', { ...chosen(), ...(one() ? { limit: 100 } : { group: 'cause' }) });
    const rows = one() ? said.letters : said.causes;
    const total = said.total;
    if (rows.length) {
      if (body.firstChild !== table().el) body.replaceChildren(table().el);
      table().update(rows);
    } else body.replaceChildren(Object.values(chosen()).some(Boolean) ? h('div', { class: 'empty' }, h('p', null, 'No letter is of this filter.'), h('a', { href: '/dead' }, 'All causes'))
      : empty('No dead letters: nothing was given up. What would be listed here, the command lists too:', 'onward dead list'));
    count.textContent = !total ? '' : one() ? `${n(rows.length)} of ${many(total, 'letter')}, the latest first` : `${many(total, 'letter')} of ${many(rows.length, 'cause')}`;
    return said;
  }, 2000);
  return {
    update: () => poll.now(),
    key(e) {
      const row = table().selected();
      switch (e.key) {
        case 'j': return table().move(1);
        case 'k': return table().move(-1);
        case 'Enter': if (!row) return false; if (one()) show(row.letter); else app.set({ ...ofCause(row), cause: 'one' }, { push: true }); return true;
        case 'r': if (row && app.can('operate')) one() ? resend(row.letter, poll) : mend(ofCause(row), 'redrive', row.count, poll); return !!row;
        case 'p': poll.hold(held = !held); return true;
      }
    },
    close: () => poll.stop(),
  };
}
