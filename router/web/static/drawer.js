// The drawer of one step or branch: what it was given and gave, its tries with where their time went, what it waits for, and what can be done.
import { h, state, took, ms, utc, json, cut, n } from './dom.js';
import { get, seg } from './api.js';
import { command, wrong } from './ask.js';
import { answer } from './waits.js';
import { steps, terms } from './flow.js';

// span reads a duration, such as 1m2.5s, in milliseconds.
function span(text) {
  let total = 0;
  for (const [, x, unit] of text.matchAll(/([\d.]+)(h|ms|m|µs|ns|s)/g)) total += x * { h: 3600e3, m: 60e3, s: 1e3, ms: 1, 'µs': 1e-3, ns: 1e-6 }[unit];
  return total;
}

// times are where a call's time went: queued, at the function, and at the router.
const times = s => s.times ? { queue: span(s.times.queue), function: span(s.times.function), router: span(s.times.router) } : {};

function split(t) {
  const all = (t.queue || 0) + (t.function || 0) + (t.router || 0) || 1;
  const part = (cls, v) => h('i', { class: cls, style: { width: 100 * (v || 0) / all + '%' } });
  return h('div', { class: 'split3', role: 'img', 'aria-label': `queued ${took(t.queue)}, function ${took(t.function)}, router ${took(t.router)}` }, part('q', t.queue), part('f', t.function), part('r', t.router));
}

const value = (name, v, size) => v === undefined ? undefined : [h('h2', null, name, size ? h('span', { class: 'sub' }, ` the begin of ${n(size)} bytes`) : ''), h('pre', { tabindex: '0', dir: 'ltr', 'aria-label': name }, cut(json(v), 50_000))];
const isOf = s => s.again ? 'failed' : s.outcome === 'open' ? s.state || 'running' : s.outcome;

export class Drawer {
  // view is the run's.
  constructor(view, { close, app }) {
    this.view = view; this.run = view.id; this.app = app;
    this.el = h('aside', { class: 'drawer', 'aria-label': 'Selected step', tabindex: '-1' });
    this.closing = close;
  }
  async open(path) {
    this.path = path;
    const mine = this.turn = (this.turn || 0) + 1;
    const head = () => h('div', { class: 'bar' }, h('code', { class: 'grow' }, path || 'the whole flow'), h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', onclick: this.closing }, '✕'));
    if (!this.el.firstChild) this.el.replaceChildren(head(), h('p', { class: 'sub' }, 'asking'));
    let said;
    try {
      said = await get(`/v1/runs/${seg(this.run)}/steps`, { path, limit: 100 });
    } catch (e) {
      if (mine === this.turn) this.show([head(), wrong(e)]);
      return;
    }
    if (mine !== this.turn) return;
    const sig = JSON.stringify([path, said, this.view.reasons.map(r => [r.path, r.signal]), this.view.ended]);
    if (sig === this.sig && this.el.children.length > 2) return; // Nothing of it is new: what is read or copied in it stays.
    this.sig = sig;
    const at = x => x.path === path, open = said.open || [];
    const own = [...said.steps.filter(at), ...open.filter(at)], below = [...said.steps, ...open].filter(x => !at(x)), last = own[own.length - 1];
    const step = this.view.def && [...steps(this.view.def)].find(s => s.path === path.replaceAll(/\[\d+\]/g, '[*]')), by = step ? terms(step) : [];
    const why = this.view.reasons.filter(r => r.path && (r.path === path || r.path.startsWith(path + '/')));
    this.show([head(),
      last ? h('p', null, state(isOf(last)), last.function && h('span', { class: 'sub' }, ` by ${last.function}`), last.starts && h('span', { class: 'sub' }, ` starts ${last.starts}`)) : h('p', { class: 'sub' }, 'Nothing is known of it yet: it has not begun, or the history has let go of it.'),
      last && last.error && h('p', { class: 'error' }, `${last.error.type}: ${last.error.message}`),
      !this.view.ended && why.length > 0 && [h('h2', null, 'What it waits for'), why.slice(0, 8).map(r => h('p', { class: 'wait' }, r.path === path ? '' : h('code', null, r.path.slice(path.length + 1) + ' '), r.text, ' ',
        r.signal && r.kind === 'signal' && this.app.may('operate') && h('button', { type: 'button', onclick: () => answer(this.run, r.signal) }, `Answer ${r.signal}…`)))],
      this.tries(own),
      last && value('Input', last.input, last.inputSize), last && value('Output', last.output, last.outputSize),
      last && last.error && last.error.data !== undefined && value('Data of the error', last.error.data),
      below.length > 0 && [h('h2', null, 'Below it'), h('ul', null, below.slice(0, 50).map(x => h('li', null, h('a', { href: '?' + this.link(x.path), onclick: e => { e.preventDefault(); this.app.set({ sel: x.path }); } }, x.path.slice(path ? path.length + 1 : 0)), ' ', state(isOf(x)))), (said.more || below.length > 50) && h('li', { class: 'sub' }, 'and more'))],
      by.length > 0 && [h('h2', null, 'As it is written'), h('ul', null, by.map(x => h('li', null, h('code', null, x))))],
      last && last.outcome !== 'open' && this.view.ended && this.view.facts.error && this.app.may('operate') && h('div', { class: 'bar acts' }, h('button', { type: 'button', onclick: () => this.view.redrive(path) }, 'Redrive from here…')),
      command(`onward runs get ${this.run} --timeline`),
    ]);
  }
  // show replaces what is there; the focus stays on the button that it was on, if that is there again.
  show(parts) {
    const was = this.el.contains(document.activeElement) && document.activeElement.textContent, top = this.el.scrollTop;
    this.el.replaceChildren(...parts.flat(Infinity).filter(Boolean));
    this.el.scrollTop = top;
    if (was) ([...this.el.querySelectorAll('button, a')].find(x => x.textContent === was) || this.el).focus({ preventScroll: true });
  }
  link(path) { const q = new URLSearchParams(location.search); q.set('sel', path); return q; }
  tries(own) {
    if (!own.length) return undefined;
    return h('table', { class: 'tries' }, h('thead', null, h('tr', null, ['Try', 'Outcome', 'Queued', 'Function', 'Router'].map((x, i) => h('th', { scope: 'col', class: i > 1 && 'num' }, x)))),
      h('tbody', null, own.slice(-12).map((s, i) => {
        const t = times(s), text = x => s.times ? took(x) : '';
        return [h('tr', { class: 'try' }, h('td', { title: `queued ${utc(s.queued)}\nsent ${utc(s.sent)}\nended ${utc(s.ended)}` }, `${s.attempt || i + 1}`), h('td', null, state(isOf(s), s.again ? 'tried again' : isOf(s))), h('td', { class: 'num' }, text(t.queue)), h('td', { class: 'num' }, text(t.function)), h('td', { class: 'num' }, text(t.router))),
          h('tr', null, h('td', { colspan: '5' }, s.times ? split(t) : s.outcome === 'open' ? h('span', { class: 'sub' }, `open for ${took(Date.now() - ms(s.queued), true)}`) : h('span', { class: 'sub' }, `took ${took(ms(s.ended) - ms(s.queued))}`), s.error && s.again && h('div', { class: 'error' }, `${s.error.type}: ${s.error.message}`)))];
      })));
  }
}
