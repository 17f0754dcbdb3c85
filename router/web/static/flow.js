// Flow: the definition as it is written, with counts on it. A step that runs a hundred thousand times is one box with a bar.
import { h, svg, icon, n, many } from './dom.js';

const most = 150; // boxes that are drawn; what is below the others is opened on its own

// order is how counts are told: what somebody has to look at comes first.
export const order = ['failed', 'waiting', 'running', 'queued', 'pending', 'cancelled', 'skipped', 'over', 'succeeded'];

function does(s) {
  if (s.starts) return 'starts ' + s.starts;
  if (s.use === 'function') return s.target === s.label ? 'function' : 'function ' + s.target;
  if (s.use === 'flow') return s.target ? 'flow ' + s.target : 'flow';
  const text = (s.use === s.label ? '' : s.use) + (s.caption ? ' ' + s.caption : '');
  return ({ each: '⇉ ', again: '↻ ' }[s.shape] || '') + text.trim();
}

// terms are what a step goes by beside what it does, in words.
export const terms = s => [s.caption && `${s.use} ${s.caption}`, s.when && 'when ' + s.when, s.timeout && 'timeout ' + s.timeout, s.deadline && 'deadline ' + s.deadline, s.tries && 'at most ' + many(s.tries, 'try', 'tries'), s.cleanup && 'runs although what is around it was stopped'].filter(Boolean);

export class Flow {
  constructor({ select, enter }) {
    this.select = select; this.enter = enter;
    this.el = h('div', { class: 'flow', role: 'group', 'aria-label': 'Flow', tabindex: '0' });
    this.boxes = new Map();
    this.watch = new ResizeObserver(() => this.wire());
  }
  // draw draws a definition ({ flow, onSuccess, onFailure }) from the step at a path on.
  draw(def, at) {
    this.boxes.clear(); this.wires = []; this.left = most;
    const root = def.flow, way = root && at ? wayTo(root, at) : [root];
    const top = way ? way[way.length - 1] : root;
    const crumbs = way && way.length > 1 && h('p', { class: 'sub' }, way.map((s, i) => [i ? ' / ' : '', i < way.length - 1 ? h('button', { class: 'quiet', type: 'button', onclick: () => this.enter(i ? s.path : '') }, s.label || s.use) : s.label]));
    const ends = top !== root ? [] : [['succeeds', def.onSuccess], ['fails', def.onFailure]].filter(([, list]) => list && list.length);
    this.el.replaceChildren(...[crumbs, h('div', { class: 'whole' }, top ? this.step(top) : h('p', { class: 'sub' }, 'This trigger has no flow: its event goes straight to the destinations.'),
      ends.length > 0 && h('div', { class: 'ends' }, ends.map(([word, list]) => h('div', null, h('div', { class: 'slot' }, `→ when it ${word}`), h('div', { class: 'stack' }, list.map(x => this.end({ path: x.path, label: x.function || x.trigger, use: x.trigger ? 'trigger' : 'function', target: x.function, starts: x.trigger, when: x.when }))))))) ].filter(Boolean));
    this.watch.disconnect();
    this.watch.observe(this.el);
    this.wire();
  }
  box(s, head) {
    const counts = h('span', { class: 'counts' }), meter = h('span', { class: 'meter', hidden: true }), round = h('span', { class: 'round', hidden: true }), text = does(s);
    const el = h('button', { class: 'node' + (head ? ' head' : ''), type: 'button', 'data-path': s.path, 'aria-pressed': 'false', title: [s.path, ...terms(s)].join('\n'), onclick: () => this.select(s) },
      h('span', { class: 'name' }, s.label || s.use), text && h('span', { class: 'does' }, text), s.when && h('span', { class: 'does' }, 'when ' + s.when), round, counts, meter);
    this.boxes.set(s.path, { el, counts, meter, round, step: s });
    return el;
  }
  end(s) { const el = this.box(s); this.boxes.get(s.path).end = true; return el; }
  step(s) {
    const kids = s.steps || [];
    this.left--;
    if (!kids.length && !s.catch) return this.box(s);
    if (this.left <= 0 || s.cut) return h('div', { class: 'frame' }, this.box(s, true), h('button', { class: 'quiet', type: 'button', onclick: () => this.enter(s.path) }, `open ${many(count(s), 'step')}`));
    const inner = { line: this.line, graph: this.graph }[s.shape] || this.beside;
    const body = kids.length ? inner.call(this, s, kids) : undefined;
    if (s.use === 'flow' && !s.catch && body) return body;
    return h('div', { class: 'frame' + (s.shape || !kids.length ? '' : ' foreign') }, this.box(s, kids.length > 0), body, s.catch && h('div', { class: 'kids' }, s.catch.map(c => h('div', null, h('div', { class: 'slot' }, 'on failure'), this.step(c)))));
  }
  // line is one after the other; what an edge hangs on a step, such as its undo, is drawn below it.
  line(s, kids) {
    const below = new Map(), hung = new Set();
    for (const e of s.edges || []) { below.set(e.from, e); hung.add(e.to); }
    return h('ol', { class: 'seq' + (hung.size ? ' hung' : '') }, kids.map((k, i) => hung.has(i) ? undefined : h('li', null, below.has(i)
      ? h('div', { class: 'pair' }, this.step(k), h('div', { class: 'undo' }, h('div', { class: 'slot' }, '↩ ' + (below.get(i).word || '')), this.step(kids[below.get(i).to]))) : this.step(k))));
  }
  beside(s, kids) {
    const shown = kids.slice(0, Math.max(this.left, 1));
    return h('ul', { class: 'kids' }, shown.map((k, i) => h('li', null, slot(s, k, i), this.step(k))),
      kids.length > shown.length && h('li', { class: 'sub' }, `and ${n(kids.length - shown.length)} more`));
  }
  // graph is drawn in layers: a step stands behind all that it needs. An edge over several layers has a place of its own in those between.
  graph(s, kids) {
    const edges = s.edges || [], { layers, before, after, ways } = layered(kids.length, edges);
    untangle(layers, before, after);
    const els = [], lines = svg('svg', { 'aria-hidden': 'true' });
    const el = h('div', { class: 'dag' }, lines, h('div', { class: 'layers' }, layers.map(l => h('div', { class: 'layer' }, l.map(i => els[i] = i < kids.length
      ? h('div', null, kids[i].at && h('div', { class: 'slot' }, kids[i].at), this.step(kids[i])) : h('div', { class: 'via' }))))));
    this.wires.push({ el, lines, els, edges, ways });
    return el;
  }
  // wire draws the edges of graphs between the boxes, where they are now: all places are read first, then all is written.
  wire() {
    const drawn = (this.wires || []).map(w => {
      const at = w.el.getBoundingClientRect(), rects = w.els.map(x => x.getBoundingClientRect());
      return w.edges.slice(0, 400).map((e, k) => {
        const stops = [e.from, ...w.ways[k], e.to].map(i => rects[i]);
        let d = '', x = 0, y = 0;
        for (let j = 0; j + 1 < stops.length; j++) {
          const a = stops[j], b = stops[j + 1], x1 = a.right - at.left, y1 = (a.top + a.bottom) / 2 - at.top, x2 = b.left - at.left, y2 = (b.top + b.bottom) / 2 - at.top, bend = Math.max(14, (x2 - x1) / 2);
          d += `${j ? `L${x1} ${y1}` : `M${x1} ${y1}`}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
          x = x2; y = y2;
        }
        return { d, x, y, word: e.word };
      });
    });
    (this.wires || []).forEach((w, i) => w.lines.replaceChildren(...drawn[i].flatMap(e => [
      svg('path', { d: e.d, class: e.word ? 'word' : undefined }), svg('path', { class: 'tip', d: `M${e.x - 6} ${e.y - 3.5}L${e.x} ${e.y}L${e.x - 6} ${e.y + 3.5}` }),
      e.word ? svg('text', { x: e.x - 8, y: e.y - 7, 'text-anchor': 'end' }, e.word) : undefined].filter(Boolean))));
  }
  // update writes the counts, by path: { failed: 3, running: 2, ... }; of a run that is over what has none was not run.
  update(counts, over) {
    for (const [path, b] of this.boxes) {
      const c = counts[path], rounds = b.step.shape === 'again' ? sum(counts[(b.step.steps || [{}])[0].path]) : 0;
      const sig = (c ? order.map(k => c[k] || 0).join() : '') + rounds + !!over;
      if (b.sig === sig) continue;
      b.sig = sig;
      const told = c ? order.filter(k => c[k]) : [];
      const idle = !told.length && !!over && !b.end; // What became of destinations is told later than the run's end.
      b.el.classList.toggle('idle', idle);
      b.counts.replaceChildren(...told.map(k => h('span', { class: k }, icon(k), n(c[k]), h('span', { class: 'hidden' }, ' ' + k))), ...(idle ? [h('span', { class: 'skipped' }, 'not run')] : []));
      b.round.hidden = !rounds;
      b.round.textContent = !rounds ? '' : over || !(c && c.running) ? many(rounds, 'round') : 'round ' + n(rounds);
      const total = told.reduce((a, k) => a + c[k], 0);
      b.meter.hidden = !(b.step.many || total > 1);
      b.meter.replaceChildren(...(b.meter.hidden ? [] : [...told].reverse().map(k => h('i', { class: k === 'over' ? 'succeeded' : k === 'pending' ? 'none' : k, style: { width: 100 * c[k] / total + '%' } }))));
    }
  }
  // within marks what was at work in a time: at has how many by path; undefined is at any time.
  within(at) {
    for (const [path, b] of this.boxes) {
      b.el.classList.toggle('out', !!at && !at[path]);
      if (b.then) b.then.remove();
      b.then = undefined;
      if (at) b.el.insertBefore(b.then = h('span', { class: 'does then' }, at[path] ? `${n(at[path])} in this time` : 'not in this time'), b.counts);
    }
  }
  mark(path) { for (const [p, b] of this.boxes) b.el.setAttribute('aria-pressed', String(p === path)); }
  close() { this.watch.disconnect(); }
}

const sum = c => Object.values(c || {}).reduce((a, b) => a + b, 0) - (c && c.pending || 0);
const count = s => (s.steps || []).reduce((a, k) => a + count(k), 1);
const slot = (s, k, i) => {
  const text = s.shape === 'one' ? (k.at ? 'if ' + k.at : k.role) : k.at || (s.shape ? '' : `${k.role || 'slot'} ${i + 1}`);
  return text ? h('div', { class: 'slot' }, text) : undefined;
};

// layered puts the nodes of a graph into layers, with nodes from size on for edges that pass through; ways has those by edge.
function layered(size, edges) {
  const needs = Array.from({ length: size }, () => []), layer = new Array(size).fill(-1);
  for (const e of edges) needs[e.to].push(e.from);
  const of = i => {
    if (layer[i] >= 0) return layer[i];
    layer[i] = 0;
    return layer[i] = needs[i].reduce((a, b) => Math.max(a, of(b) + 1), 0);
  };
  const layers = [], before = Array.from({ length: size }, () => []), after = Array.from({ length: size }, () => []);
  for (let i = 0; i < size; i++) (layers[of(i)] ??= []).push(i);
  const link = (a, b) => { after[a].push(b); before[b].push(a); };
  const ways = edges.map(e => {
    const way = [];
    let from = e.from;
    for (let l = layer[e.from] + 1; l < layer[e.to]; l++) {
      const via = before.length;
      before.push([]); after.push([]);
      layers[l].push(via); way.push(via);
      link(from, via);
      from = via;
    }
    link(from, e.to);
    return way;
  });
  return { layers, before, after, ways };
}

// untangle orders each layer by where its neighbours stand, to and fro some times: few lines cross then.
function untangle(layers, before, after) {
  const place = [];
  const settle = l => l.forEach((i, at) => place[i] = (at + 0.5) / l.length);
  layers.forEach(settle);
  for (let turn = 0; turn < 8; turn++) {
    const down = turn % 2 === 0, by = down ? before : after;
    for (const l of down ? layers : [...layers].reverse()) {
      const at = new Map(l.map(i => [i, by[i].length ? by[i].reduce((a, b) => a + place[b], 0) / by[i].length : place[i]]));
      l.sort((a, b) => at.get(a) - at.get(b));
      settle(l);
    }
  }
}

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
