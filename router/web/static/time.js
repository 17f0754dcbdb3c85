// Time: a row a step. Few calls are bars, each split into what it waited, worked and was routed; many are a strip, dark where much was at work.
import { h, took, utc, n } from './dom.js';

const shown = 60; // rows
const single = 200; // calls in what is shown, up to which each has its bar

export class Time {
  constructor({ select, brush }) {
    this.select = select; this.brush = brush;
    this.el = h('div');
    this.rows = [];
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.el);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', this.recolor = () => this.draw());
  }
  // set takes rows: { path, calls: [{ queued, sent, ended, state }] } or { path, strip: [{ queued, running }] }, times in milliseconds.
  set(rows, from, to, all) {
    this.from = from; this.to = Math.max(to, from + 1); this.all = all;
    this.rows = rows.slice(0, shown).map(r => ({ ...r, el: h('canvas', { 'aria-label': label(r), role: 'img' }) }));
    this.axis = h('canvas', { class: 'axis', 'aria-hidden': 'true' });
    const narrowed = all && (from > all[0] || to < all[1]);
    this.el.replaceChildren(h('div', { class: 'bar' }, h('span', { class: 'sub' }, `${utc(new Date(from).toISOString())}, ${took(to - from)}`), h('span', { class: 'grow' }),
      h('span', { class: 'legend' }, h('span', { class: 'state queued' }, '▨', h('span', null, 'queued')), h('span', { class: 'state running' }, '■', h('span', null, 'at work')), h('span', { class: 'state failed' }, '■', h('span', null, 'failed'))),
      narrowed && h('button', { type: 'button', onclick: () => this.brush(undefined) }, 'All of it')),
    h('div', { class: 'time' }, h('span'), this.axis, this.rows.map(r => [h('span', { class: 'label', title: r.path }, r.path), r.el])),
    ...(rows.length > shown ? [h('p', { class: 'sub' }, `and ${n(rows.length - shown)} more steps`)] : []));
    for (const r of this.rows) {
      r.el.addEventListener('pointerdown', e => this.begin(e, r));
      r.el.addEventListener('pointermove', e => this.drag(e));
      r.el.addEventListener('pointerup', e => this.end(e, r));
    }
    this.draw();
  }
  // strip counts calls by time, where there are too many beside each other to be told apart.
  strip(calls, bins) {
    const out = Array.from({ length: bins }, () => ({ queued: 0, running: 0, failed: 0 })), bin = t => Math.max(0, Math.min(bins - 1, Math.floor(this.x(t, bins))));
    for (const c of calls) {
      const sent = c.sent || c.queued, end = c.ended || this.to;
      for (let i = bin(c.queued); i < bin(sent); i++) out[i].queued++;
      for (let i = bin(sent); i <= bin(end); i++) out[i].running++;
      if (c.state === 'failed') out[bin(end)].failed++;
    }
    return out;
  }
  x(t, w) { return (t - this.from) / (this.to - this.from) * w; }
  t(e, el) { const r = el.getBoundingClientRect(); return this.from + (this.to - this.from) * Math.max(0, Math.min(1, (e.clientX - r.left) / r.width)); }
  begin(e, r) { this.began = { t: this.t(e, r.el), x: e.clientX, el: r.el }; r.el.setPointerCapture(e.pointerId); }
  drag(e) { if (this.began) { this.until = this.t(e, this.began.el); this.draw(); } }
  end(e, r) {
    const b = this.began;
    this.began = this.until = undefined;
    if (!b) return;
    if (Math.abs(e.clientX - b.x) > 4) { const t = this.t(e, b.el); this.brush([Math.min(b.t, t), Math.max(b.t, t)]); return; }
    const c = (r.calls || []).find(c => c.queued <= b.t && b.t <= (c.ended || this.to));
    this.select(c ? c.path : r.path);
    this.draw();
  }
  draw() {
    if (!this.axis) return;
    const style = getComputedStyle(this.el), of = name => style.getPropertyValue('--' + name).trim();
    const colors = { queued: of('queued'), running: of('running'), failed: of('failed'), cancelled: of('cancelled'), succeeded: of('running'), skipped: of('skipped'), sub: of('sub'), text: of('text') };
    paint(this.axis, 18, (g, w) => {
      g.fillStyle = colors.sub; g.font = '11px system-ui';
      const step = nice((this.to - this.from) / Math.max(2, Math.floor(w / 90)));
      for (let t = 0; t <= this.to - this.from; t += step) { const x = t / (this.to - this.from) * w; g.fillRect(x, 13, 1, 5); g.fillText(took(t), Math.min(x + 3, w - 40), 11); }
    });
    for (const r of this.rows) paint(r.el, 22, (g, w) => {
      if (r.strip || r.lines > 4) strip(g, r.strip || this.strip(r.calls, Math.floor(w / 4)), w, colors);
      else for (const c of r.calls) bar(g, c, this, w, colors, r.lines);
      if (this.began && this.until) { g.globalAlpha = 0.25; g.fillStyle = colors.text; const a = this.x(this.began.t, w), b = this.x(this.until, w); g.fillRect(Math.min(a, b), 0, Math.abs(b - a), 22); g.globalAlpha = 1; }
    });
  }
  zoomBy(f) { const mid = (this.from + this.to) / 2, half = (this.to - this.from) / 2 / f; this.within(mid - half, mid + half); }
  pan(d) { const by = (this.to - this.from) / 4 * d; this.within(this.from + by, this.to + by); }
  within(a, b) {
    if (!this.all) return;
    if (b - a >= this.all[1] - this.all[0]) { this.brush(undefined); return; }
    if (a < this.all[0]) { b += this.all[0] - a; a = this.all[0]; }
    if (b > this.all[1]) { a -= b - this.all[1]; b = this.all[1]; }
    this.brush([a, b]);
  }
  close() { this.watch.disconnect(); this.scheme.removeEventListener('change', this.recolor); }
}

const label = r => r.strip || r.lines > 4 ? `${r.path}: ${n(r.total)} calls` : `${r.path}: ` + r.calls.slice(0, 5).map(c => `${c.state} after ${took((c.ended || Date.now()) - c.queued)}`).join(', ');

function paint(el, height, f) {
  const dpr = devicePixelRatio || 1, w = el.clientWidth || 300;
  el.width = Math.round(w * dpr); el.height = Math.round(height * dpr); el.style.height = height + 'px';
  const g = el.getContext('2d');
  g.setTransform(dpr, 0, 0, dpr, 0, 0);
  f(g, w);
}

function bar(g, c, at, w, colors, lines) {
  const x = t => Math.max(0, Math.min(w, at.x(t, w))), tall = lines > 1 ? 22 / lines : 18, y = lines > 1 ? c.row * tall : 2;
  const begin = x(c.queued), end = x(c.ended || at.to), sent = x(c.sent || (c.call ? c.ended || at.to : c.queued));
  if (!c.call) { // What is in it has rows of its own.
    g.fillStyle = c.state === 'failed' ? colors.failed : colors.sub;
    g.fillRect(begin, y + tall / 2 - 1, Math.max(2, end - begin), 2);
    g.fillRect(begin, y + 2, 2, tall - 4); g.fillRect(Math.max(begin, end - 2), y + 2, 2, tall - 4);
    return;
  }
  g.fillStyle = colors.queued;
  for (let i = begin; i < sent; i += 4) g.fillRect(i, y, Math.min(2, sent - i), tall - 1);
  g.fillStyle = colors[c.state] || colors.running;
  g.fillRect(sent, y, Math.max(1.5, end - sent), tall - 1);
}

function strip(g, all, w, colors) {
  const most = Math.max(1, ...all.map(s => s.queued + s.running)), wide = w / all.length;
  all.forEach((s, i) => {
    const tall = 20 * (s.queued + s.running) / most, work = 20 * s.running / most, bad = s.failed ? Math.max(2, 20 * s.failed / most) : 0;
    g.fillStyle = colors.queued; g.globalAlpha = 0.5; g.fillRect(i * wide, 22 - tall, wide + 0.5, tall - work); g.globalAlpha = 1;
    g.fillStyle = colors.running; g.fillRect(i * wide, 22 - work, wide + 0.5, work);
    if (bad) { g.fillStyle = colors.failed; g.fillRect(i * wide, 0, Math.max(wide, 1.5), bad); }
  });
}

function nice(x) {
  const p = 10 ** Math.floor(Math.log10(Math.max(x, 1e-3)));
  return [1, 2, 5, 10].map(k => k * p).find(k => k >= x);
}

// rowsOf sorts calls into rows by their steps, each call on a line where it covers no other.
export function rowsOf(calls, pattern) {
  const by = new Map();
  for (const c of calls) {
    const path = pattern(c.path);
    if (!by.has(path)) by.set(path, []);
    by.get(path).push(c);
  }
  return [...by].map(([path, calls]) => {
    const free = [];
    for (const c of calls.sort((a, b) => a.queued - b.queued)) {
      let row = free.findIndex(t => t <= c.queued);
      if (row < 0) row = free.length;
      free[row] = c.ended || Infinity;
      c.row = row;
    }
    return { path, calls, lines: free.length, total: calls.length };
  }).sort((a, b) => a.calls[0].queued - b.calls[0].queued || a.calls[0].call - b.calls[0].call);
}
export { single };
