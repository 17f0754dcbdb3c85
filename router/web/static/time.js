// Time: a row a step. Few calls are bars, each split into what it waited, worked and was routed; many are a strip, dark where much was at work.
import { h, took, utc, n, many } from './dom.js';
import { Fingers } from './fingers.js';

const shown = 60; // rows
const single = 200; // calls in what is shown, up to which each has its bar

export class Time {
  // select is told of a step, brush of a time ([from, to], or undefined for all).
  constructor({ select, brush }) {
    this.select = select; this.brush = brush;
    this.bar = h('div', { class: 'bar' }); this.grid = h('div', { class: 'time' }); this.rest = h('p', { class: 'sub' });
    this.el = h('div', null, this.bar, this.grid, this.rest, h('p', { class: 'sub hint' }, 'Drag over a time to look at it alone: Flow, Field and the list show that too. ', h('kbd', null, 'w'), ' ', h('kbd', null, 's'), ' zoom, ', h('kbd', null, 'a'), ' ', h('kbd', null, 'd'), ' pan.'));
    this.rows = []; this.kept = new Map();
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.el);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', this.recolor = () => this.draw());
    const button = (name, title, f) => h('button', { type: 'button', title, 'aria-label': title, onclick: f }, name);
    this.span = h('span', { class: 'sub' });
    this.axis = h('canvas', { class: 'axis', 'aria-hidden': 'true' });
    this.bar.append(this.span, h('span', { class: 'grow' }), h('span', { class: 'legend', 'aria-label': 'what the bars are' }, [['queued', '▨', 'queued'], ['running', '■', 'at work'], ['failed', '✕', 'failed'], ['cancelled', '╱', 'cancelled']].map(([cls, sign, text]) => h('span', { class: 'state ' + cls }, h('span', { class: cls, 'aria-hidden': 'true' }, sign), h('span', null, text)))),
      button('+', 'Zoom in, key w', () => this.zoomBy(1.6)), button('−', 'Zoom out, key s', () => this.zoomBy(1 / 1.6)));
  }
  // set takes rows: { path, calls: [{ queued, sent, ended, state }] } or { path, frame, strip: [{ queued, running }] }, times in milliseconds.
  set(rows, from, to, all) {
    this.from = from; this.to = Math.max(to, from + 1); this.all = all;
    this.rows = rows.slice(0, shown).map(r => ({ ...r, el: this.row(r) }));
    this.span.textContent = `${utc(new Date(from).toISOString())}, ${took(to - from)}`;
    const want = [this.axis, ...this.rows.map(r => r.el.box)];
    if (want.length !== this.grid.children.length || want.some((el, i) => this.grid.children[i] !== el)) this.grid.replaceChildren(...want);
    this.rest.textContent = rows.length > shown ? `and ${n(rows.length - shown)} more steps` : '';
    this.draw();
  }
  // row is the element of a step's row, which stays the same from one picture to the next.
  row(r) {
    let x = this.kept.get(r.path);
    if (!x) {
      const canvas = h('canvas', { role: 'img' }), pick = e => {
        const row = this.rows.find(y => y.path === r.path), at = e && this.t(e, canvas), c = at && (row.calls || []).find(c => c.queued <= at && at <= (c.ended || this.to));
        this.select(c ? c.path : r.path);
      };
      x = { canvas, box: h('div', { class: 'row' }, h('button', { type: 'button', class: 'label quiet', title: r.path, onclick: () => pick() }, r.path), canvas) };
      x.fingers = new Fingers(canvas, {
        tap: pick, pinch: f => this.zoomBy(f), drop: () => { this.began = this.until = undefined; this.draw(); },
        drag: (_dx, _dy, e, begin) => { this.began = this.t(begin, canvas); this.until = this.t(e, canvas); this.draw(); },
        end: e => { const b = this.began, t = this.t(e, canvas); this.began = this.until = undefined; if (b !== undefined && b !== t) this.brush([Math.min(b, t), Math.max(b, t)]); },
      });
      this.kept.set(r.path, x);
    }
    const text = label(r);
    if (x.text !== text) x.canvas.setAttribute('aria-label', x.text = text);
    return x;
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
  draw() {
    if (!this.all || !this.el.isConnected) return;
    const style = getComputedStyle(this.el), of = name => style.getPropertyValue('--' + name).trim();
    const colors = { queued: of('queued'), running: of('running'), failed: of('failed'), cancelled: of('cancelled'), succeeded: of('running'), skipped: of('skipped'), sub: of('sub'), text: of('text'), ground: of('bg') };
    const wide = this.axis.clientWidth, each = this.rows.length ? this.rows[0].el.canvas.clientWidth : wide; // Read before anything is written.
    paint(this.axis, 18, wide, (g, w) => {
      g.fillStyle = colors.sub; g.font = '11px system-ui';
      const step = nice((this.to - this.from) / Math.max(2, Math.floor(w / 90))), off = this.from - this.all[0];
      for (let t = Math.ceil(off / step) * step - off; t <= this.to - this.from; t += step) {
        const x = t / (this.to - this.from) * w, text = took(t + off);
        g.fillRect(x, 13, 1, 5);
        if (x + 3 + g.measureText(text).width <= w) g.fillText(text, x + 3, 11);
      }
    });
    for (const r of this.rows) paint(r.el.canvas, 22, each, (g, w) => {
      if (r.frame) frame(g, this.x(r.frame[0], w), this.x(r.frame[1], w), 18, 2, r.state === 'failed' ? colors.failed : colors.sub);
      else if (r.strip || r.lines > 4) strip(g, r.strip || this.strip(r.calls, Math.floor(w / 4)), w, colors);
      else for (const c of r.calls) bar(g, c, this, w, colors, r.lines);
      if (this.until !== undefined) { g.globalAlpha = 0.25; g.fillStyle = colors.text; const a = this.x(this.began, w), b = this.x(this.until, w); g.fillRect(Math.min(a, b), 0, Math.abs(b - a), 22); g.globalAlpha = 1; }
    });
  }
  zoomBy(f) { const mid = (this.from + this.to) / 2, half = (this.to - this.from) / 2 / f; this.within(mid - half, mid + half); }
  pan(d) { const by = (this.to - this.from) / 4 * d; this.within(this.from + by, this.to + by); }
  within(a, b) {
    if (!this.all) return;
    if (b - a >= this.all[1] - this.all[0]) { this.brush(undefined); return; }
    if (a < this.all[0]) { b += this.all[0] - a; a = this.all[0]; }
    if (b > this.all[1]) { a -= b - this.all[1]; b = this.all[1]; }
    if (b - a >= 1) this.brush([a, b]);
  }
  close() { this.watch.disconnect(); for (const x of this.kept.values()) x.fingers.close(); this.scheme.removeEventListener('change', this.recolor); }
}

const label = r => r.frame ? `${r.path}: ${took(r.frame[1] - r.frame[0])}` : r.strip || r.lines > 4 ? `${r.path}: ${many(r.total, 'call')}` : `${r.path}: ` + r.calls.slice(0, 5).map(c => `${c.state === 'running' ? 'open for' : c.state + ' after'} ${took((c.ended || Date.now()) - c.queued, !c.ended)}`).join(', ');

function paint(el, height, w, f) {
  const dpr = devicePixelRatio || 1, W = Math.round(w * dpr), H = Math.round(height * dpr), g = el.getContext('2d');
  if (el.width !== W || el.height !== H) { el.width = W; el.height = H; el.style.height = height + 'px'; }
  g.setTransform(dpr, 0, 0, dpr, 0, 0);
  g.clearRect(0, 0, w, height);
  f(g, w);
}

// frame is a step with others in it, which have rows of their own.
function frame(g, begin, end, tall, y, color) {
  g.fillStyle = color;
  g.fillRect(begin, y + tall / 2 - 1, Math.max(2, end - begin), 2);
  g.fillRect(begin, y + 2, 2, tall - 4); g.fillRect(Math.max(begin, end - 2), y + 2, 2, tall - 4);
}

function bar(g, c, at, w, colors, lines) {
  const x = t => Math.max(0, Math.min(w, at.x(t, w))), tall = lines > 1 ? 22 / lines : 18, y = lines > 1 ? c.row * tall : 2;
  const begin = x(c.queued), end = x(c.ended || at.to), sent = x(c.sent || (c.call ? c.ended || at.to : c.queued));
  if (!c.call) { frame(g, begin, end, tall, y, c.state === 'failed' ? colors.failed : colors.sub); return; }
  g.fillStyle = colors.queued;
  for (let i = begin; i < sent; i += 4) g.fillRect(i, y, Math.min(2, sent - i), tall - 1);
  g.fillStyle = colors[c.state] || colors.running;
  g.fillRect(sent, y, Math.max(1.5, end - sent), tall - 1);
  if (end - sent < 10 || tall < 8 || !['failed', 'cancelled'].includes(c.state)) return;
  const m = y + (tall - 1) / 2, r = Math.min(4, tall / 3), cx = end - r - 3; // The colours have shapes beside them.
  g.strokeStyle = colors.ground; g.lineWidth = 1.5;
  g.beginPath();
  g.moveTo(cx - r, m + r); g.lineTo(cx + r, m - r);
  if (c.state === 'failed') { g.moveTo(cx - r, m - r); g.lineTo(cx + r, m + r); }
  g.stroke();
}

function strip(g, all, w, colors) {
  const most = Math.max(1, ...all.map(s => s.queued + s.running)), wide = w / all.length;
  all.forEach((s, i) => {
    const tall = 20 * (s.queued + s.running) / most, work = 20 * s.running / most, bad = s.failed ? Math.max(3, 20 * s.failed / most) : 0;
    g.fillStyle = colors.queued;
    if (tall > work) for (let y = 22 - tall; y < 22 - work; y += 3) g.fillRect(i * wide, y, wide + 0.5, Math.min(1.5, 22 - work - y)); // Lines: what waits is told by them, too.
    g.fillStyle = colors.running; g.fillRect(i * wide, 22 - work, wide + 0.5, work);
    if (bad) { g.fillStyle = colors.failed; g.fillRect(i * wide, 0, Math.max(wide, 2), bad); g.fillStyle = colors.ground; g.fillRect(i * wide, bad, Math.max(wide, 2), 1); }
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
