// The drawer of one step or branch: what it was given and gave, its tries with where their time went, and what can be done.
import { h, state, took, ms, utc, json, cut, n } from './dom.js';
import { get, seg } from './api.js';
import { command, word, wrong, copy } from './ask.js';
import { answer } from './waits.js';

// span reads a duration, such as 1m2.5s, in milliseconds.
function span(text) {
  let total = 0;
  for (const [, x, unit] of text.matchAll(/([\d.]+)(h|ms|m|µs|ns|s)/g)) total += x * { h: 3600e3, m: 60e3, s: 1e3, ms: 1, 'µs': 1e-3, ns: 1e-6 }[unit];
  return total;
}

// times are where a call's time went: queued, at the function, and at the router.
export const times = s => s.times ? { queue: span(s.times.queue), function: span(s.times.function), router: span(s.times.router) } : {};

function split(t) {
  const all = (t.queue || 0) + (t.function || 0) + (t.router || 0) || 1;
  const part = (cls, v) => h('i', { class: cls, style: { width: 100 * (v || 0) / all + '%' } });
  return h('div', { class: 'split3', role: 'img', 'aria-label': `queued ${took(t.queue)}, function ${took(t.function)}, router ${took(t.router)}` }, part('q', t.queue), part('f', t.function), part('r', t.router));
}

const value = (name, v, size) => v === undefined ? undefined : [h('h2', null, name, size ? h('span', { class: 'sub' }, ` the begin of ${n(size)} bytes`) : ''), h('pre', { tabindex: '0' }, cut(json(v), 50_000))];

export class Drawer {
  constructor(run, { close, again, app }) {
    this.run = run; this.app = app; this.again = again;
    this.el = h('aside', { class: 'drawer', 'aria-label': 'Selected step', tabindex: '-1' });
    this.closing = close;
  }
  async open(path) {
    this.path = path;
    const mine = this.turn = (this.turn || 0) + 1;
    const head = h('div', { class: 'bar' }, h('code', { class: 'grow' }, path), h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', onclick: this.closing }, '✕'));
    if (!this.el.firstChild) this.el.replaceChildren(head, h('p', { class: 'sub' }, 'asking'));
    let said;
    try {
      said = await get(`/v1/runs/${seg(this.run)}/steps`, { path, limit: 100 });
    } catch (e) {
      if (mine === this.turn) this.el.replaceChildren(head, wrong(e));
      return;
    }
    if (mine !== this.turn) return;
    const at = x => x.path === path;
    const open = (said.open || []).filter(x => at(x) || x.path.startsWith(path + '/'));
    const own = [...said.steps.filter(at), ...open.filter(at)];
    const below = [...said.steps, ...open].filter(x => !at(x));
    const last = own[own.length - 1];
    this.el.replaceChildren(head, ...[
      last ? h('p', null, state(last.outcome, last.outcome), last.function && h('span', { class: 'sub' }, ` by ${last.function}`), last.starts && h('span', { class: 'sub' }, ` starts ${last.starts}`)) : h('p', { class: 'sub' }, 'Nothing is known of it yet: it has not begun, or the history has let go of it.'),
      last && last.error && h('p', { class: 'error' }, `${last.error.type}: ${last.error.message}`),
      this.tries(own),
      last && last.outcome === 'open' && last.wait && h('p', null, last.wait),
      ...own.filter(x => x.outcome === 'open' && x.signal).map(x => h('button', { type: 'button', onclick: () => answer(this.run, x.signal) }, `Answer ${x.signal}…`)),
      last && value('Input', last.input, last.inputSize), last && value('Output', last.output, last.outputSize),
      last && last.error && last.error.data !== undefined && value('Data of the error', last.error.data),
      below.length ? [h('h2', null, 'Below it'), h('ul', null, below.slice(0, 50).map(x => h('li', null, h('a', { href: '?' + this.link(x.path), onclick: e => { e.preventDefault(); this.app.set({ sel: x.path }); } }, x.path.slice(path.length + 1)), ' ', state(x.outcome))), (said.next || below.length > 50) && h('li', { class: 'sub' }, 'and more'))] : undefined,
      last && last.outcome === 'failed' && this.app.may('operate') && h('div', { class: 'bar' }, h('button', { type: 'button', onclick: () => this.again(path) }, 'Redrive from here…')),
      command(`onward runs get ${this.run} --timeline`),
    ].flat(Infinity).filter(Boolean));
  }
  link(path) { const q = new URLSearchParams(location.search); q.set('sel', path); return q; }
  tries(own) {
    if (!own.length) return undefined;
    return h('table', { class: 'tries' }, h('thead', null, h('tr', null, ['Try', 'Queued', 'Function', 'Router', 'Outcome'].map(x => h('th', { scope: 'col' }, x)))),
      h('tbody', null, own.slice(-12).map((s, i) => {
        const t = times(s);
        return [h('tr', null, h('td', { title: `queued ${utc(s.queued)}\nsent ${utc(s.sent)}\nended ${utc(s.ended)}` }, `${s.attempt || i + 1}`), h('td', { class: 'num' }, took(t.queue)), h('td', { class: 'num' }, took(t.function)), h('td', { class: 'num' }, took(t.router)), h('td', null, state(s.again ? 'failed' : s.outcome, s.again ? 'tried again' : s.outcome), split(t), s.error && s.again && h('div', { class: 'error' }, `${s.error.type}: ${s.error.message}`)))];
      })));
  }
}
