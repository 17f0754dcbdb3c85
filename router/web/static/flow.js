// Flow: the definition as it is written, with counts on it. A step that runs a hundred thousand times is one box with a bar.
import { h, svg, icon, n } from './dom.js';

const most = 150; // boxes that are drawn; what is below the others is opened on its own

// order is how counts are told: what somebody has to look at comes first.
export const order = ['failed', 'waiting', 'running', 'queued', 'pending', 'cancelled', 'skipped', 'over', 'succeeded'];

function does(s) {
  if (s.starts) return 'starts ' + s.starts;
  if (s.use === 'function') return s.target === s.label ? 'function' : 'function ' + s.target;
  if (s.use === 'flow') return s.target ? 'flow ' + s.target : 'flow';
  return ({ each: '⇉ ', again: '↻ ' }[s.shape] || '') + s.use + (s.caption ? ' ' + s.caption : '');
}

export class Flow {
  constructor({ select, enter }) {
    this.select = select; this.enter = enter;
    this.el = h('div', { class: 'flow', role: 'group', 'aria-label': 'Flow' });
    this.boxes = new Map();
    this.watch = new ResizeObserver(() => this.wire());
  }
  // draw draws a definition from the step at a path on.
  draw(root, at) {
    this.boxes.clear(); this.wires = []; this.left = most;
    const way = at ? wayTo(root, at) : [root];
    const top = way ? way[way.length - 1] : root;
    const crumbs = way && way.length > 1 && h('p', { class: 'sub' }, way.map((s, i) => [i ? ' / ' : '', i < way.length - 1 ? h('button', { class: 'quiet', type: 'button', onclick: () => this.enter(i ? s.path : '') }, s.label || s.use) : s.label]));
    this.el.replaceChildren(...[crumbs, this.step(top)].filter(Boolean));
    this.watch.disconnect();
    this.watch.observe(this.el);
    this.wire();
  }
  box(s) {
    const counts = h('span', { class: 'counts' });
    const meter = h('span', { class: 'meter', hidden: true });
    const el = h('button', { class: 'node', type: 'button', 'data-path': s.path, 'aria-pressed': 'false', title: [s.path, s.when && 'when ' + s.when, s.timeout && 'timeout ' + s.timeout, s.deadline && 'deadline ' + s.deadline, s.tries && s.tries + ' tries'].filter(Boolean).join('\n'), onclick: () => this.select(s) },
      h('span', { class: 'name' }, s.label || s.use), h('span', { class: 'does' }, does(s)), counts, meter);
    this.boxes.set(s.path, { el, counts, meter, step: s });
    return el;
  }
  step(s) {
    const kids = s.steps || [];
    this.left--;
    if (!kids.length && !s.catch) return this.box(s);
    if (this.left <= 0 || s.cut) return h('div', { class: 'box' }, this.box(s), h('button', { class: 'quiet', type: 'button', onclick: () => this.enter(s.path) }, `open ${n(count(s))} steps`));
    const inner = { line: this.line, graph: this.graph }[s.shape] || this.beside;
    const body = kids.length ? inner.call(this, s, kids) : undefined;
    const bare = s.use === 'flow' && !s.catch;
    if (bare && body) return body;
    return h('div', { class: 'box' }, this.box(s), body, s.catch && h('div', { class: 'kids' }, s.catch.map(c => h('div', null, h('div', { class: 'slot' }, 'on failure'), this.step(c)))));
  }
  // line is one after the other; what an edge hangs on a step, such as its undo, is drawn below it.
  line(s, kids) {
    const below = new Map(), hung = new Set();
    for (const e of s.edges || []) { below.set(e.from, e); hung.add(e.to); }
    return h('ol', { class: 'seq' }, kids.map((k, i) => hung.has(i) ? undefined : h('li', null, below.has(i)
      ? h('div', { class: 'box' }, this.step(k), h('div', null, h('div', { class: 'slot' }, '↩ ' + (below.get(i).word || '')), this.step(kids[below.get(i).to]))) : this.step(k))));
  }
  beside(s, kids) {
    const shown = kids.slice(0, Math.max(this.left, 1));
    return h('ul', { class: 'kids' }, shown.map((k, i) => h('li', null, slot(s, k), this.step(k))),
      kids.length > shown.length && h('li', { class: 'sub' }, `and ${n(kids.length - shown.length)} more`));
  }
  // graph is drawn in layers: a step stands behind all that it needs.
  graph(s, kids) {
    const before = kids.map(() => []);
    for (const e of s.edges || []) before[e.to].push(e.from);
    const layer = new Array(kids.length).fill(-1);
    const of = i => {
      if (layer[i] >= 0) return layer[i];
      layer[i] = 0;
      return layer[i] = before[i].reduce((a, b) => Math.max(a, of(b) + 1), 0);
    };
    kids.forEach((_, i) => of(i));
    const layers = [];
    kids.forEach((_, i) => (layers[layer[i]] ??= []).push(i));
    // Within a layer a step stands where what it needs stands, on average: fewer lines cross.
    const place = new Map();
    for (const l of layers) {
      l.sort((a, b) => mean(before[a], place) - mean(before[b], place));
      l.forEach((i, at) => place.set(i, at / l.length));
    }
    const els = [];
    const lines = svg('svg', { 'aria-hidden': 'true' });
    const el = h('div', { class: 'dag' }, lines, h('div', { class: 'layers' }, layers.map(l => h('div', { class: 'layer' }, l.map(i => els[i] = h('div', null, kids[i].at && h('div', { class: 'slot' }, kids[i].at), this.step(kids[i])))))));
    this.wires.push({ el, lines, els, edges: s.edges || [] });
    return el;
  }
  // wire draws the edges of graphs between the boxes, where they are now.
  wire() {
    for (const w of this.wires || []) {
      const at = w.el.getBoundingClientRect();
      w.lines.replaceChildren(...w.edges.slice(0, 400).map(e => {
        const a = w.els[e.from].getBoundingClientRect(), b = w.els[e.to].getBoundingClientRect();
        const x1 = a.right - at.left, y1 = (a.top + a.bottom) / 2 - at.top, x2 = b.left - at.left, y2 = (b.top + b.bottom) / 2 - at.top;
        const bend = Math.max(18, (x2 - x1) / 2);
        return svg('path', { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }, svg('title', null, e.word || ''));
      }));
    }
  }
  // update writes the counts, by path: { failed: 3, running: 2, ... }.
  update(counts) {
    for (const [path, b] of this.boxes) {
      const c = counts[path];
      const sig = c ? order.map(k => c[k] || 0).join() : '';
      if (b.sig === sig) continue;
      b.sig = sig;
      const told = c ? order.filter(k => c[k]) : [];
      b.counts.replaceChildren(...told.map(k => h('span', { class: k }, icon(k), n(c[k]), h('span', { class: 'hidden' }, ' ' + k))));
      const total = told.reduce((a, k) => a + c[k], 0);
      b.meter.hidden = !(b.step.many || total > 1);
      b.meter.replaceChildren(...(b.meter.hidden ? [] : [...told].reverse().map(k => h('i', { class: k === 'over' ? 'succeeded' : k === 'pending' ? 'none' : k, style: { width: 100 * c[k] / total + '%' } }))));
    }
  }
  mark(path) { for (const [p, b] of this.boxes) b.el.setAttribute('aria-pressed', String(p === path)); }
  close() { this.watch.disconnect(); }
}

const mean = (all, place) => all.length ? all.reduce((a, b) => a + (place.get(b) || 0), 0) / all.length : 0;
const count = s => (s.steps || []).reduce((a, k) => a + count(k), 1);
const slot = (s, k) => {
  const text = s.shape === 'one' ? (k.at ? 'if ' + k.at : k.role) : k.at || (s.shape ? '' : k.role);
  return text ? h('div', { class: 'slot' }, text) : undefined;
};

function wayTo(s, path) {
  if (s.path === path) return [s];
  for (const k of [...(s.steps || []), ...(s.catch || [])]) {
    const way = wayTo(k, path);
    if (way) return [s, ...way];
  }
}

// steps gives all steps of a definition.
export function* steps(s) {
  yield s;
  for (const k of [...(s.steps || []), ...(s.catch || [])]) yield* steps(k);
}
