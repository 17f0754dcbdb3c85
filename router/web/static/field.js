// Field: a cell a branch, in the order of their indexes. Seen from afar a cell stands for many, and shows the worst of them.
import { h, icon, n } from './dom.js';
import { order } from './flow.js';

// The states by their numbers, as the router sends them.
export const words = ['pending', 'queued', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'cancelled', 'over'];
const weight = words.map(w => 20 - ['failed', 'cancelled', 'waiting', 'running', 'queued', 'pending', 'over', 'skipped', 'succeeded'].indexOf(w));
const height = 420;

export class Field {
  constructor({ select, hover }) {
    this.select = select;
    this.states = new Uint8Array(0);
    this.zoom = 1; this.ticks = 0; this.top = 0; this.sel = -1;
    this.canvas = h('canvas', { tabindex: '0', role: 'img', height });
    this.tip = h('div', { class: 'tip', hidden: true });
    this.legend = h('div', { class: 'legend' });
    this.el = h('div', null, this.legend, h('div', { class: 'fieldwrap' }, this.canvas, this.tip), h('p', { class: 'sub' }, h('kbd', null, 'w'), ' ', h('kbd', null, 's'), ' zoom, ', h('kbd', null, 'a'), ' ', h('kbd', null, 'd'), ' pan, arrows move, ', h('kbd', null, 'n'), ' next that failed, ', h('kbd', null, 'Enter'), ' opens'));
    this.canvas.addEventListener('click', e => this.select(this.at(e), true));
    this.canvas.addEventListener('pointermove', e => this.hover(e));
    this.canvas.addEventListener('pointerleave', () => this.tip.hidden = true);
    this.canvas.addEventListener('wheel', e => { e.preventDefault(); this.zoomBy(e.deltaY < 0 ? 1.25 : 0.8, this.at(e)); }, { passive: false });
    this.canvas.addEventListener('keydown', e => this.arrow(e));
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.canvas);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', this.recolor = () => { this.colors = undefined; this.draw(); });
  }
  set(states) { this.states = states; this.count(); this.draw(); performance.mark('field drawn'); }
  // change takes what has changed: indexes and their states.
  change(indexes, states) {
    for (let i = 0; i < indexes.length; i++) if (indexes[i] < this.states.length) this.states[indexes[i]] = states[i];
    this.count(); this.later();
  }
  later() { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); }); }
  // tick is change, measured: what it takes is a budget of the page.
  tick(indexes, states) {
    const begin = performance.now();
    this.change(indexes, states);
    cancelAnimationFrame(this.frame); this.frame = 0;
    this.draw();
    performance.measure('tick', { start: begin });
    if (++this.ticks % 500 === 0) performance.clearMeasures('tick');
  }
  count() {
    const c = new Array(words.length).fill(0), all = this.states;
    for (let i = 0; i < all.length; i++) c[all[i]]++;
    this.counts = c;
    const told = order.filter(w => c[words.indexOf(w)]);
    const text = told.map(w => `${n(c[words.indexOf(w)])} ${w}`).join(', ');
    if (text === this.text) return;
    this.text = text;
    this.canvas.setAttribute('aria-label', `${n(all.length)} branches: ${text}`);
    this.legend.replaceChildren(...told.map(w => h('span', { class: 'state ' + w }, icon(w), h('span', null, `${n(c[words.indexOf(w)])} ${w}`))));
  }
  // layout: size of a cell in pixels, cells a row, and how many branches a cell stands for.
  layout() {
    const w = this.canvas.clientWidth || 600, total = Math.max(this.states.length, 1);
    let size = Math.sqrt(w * height / total) * this.zoom;
    const per = size < 2 ? Math.ceil(4 / (size * size)) : 1;
    size = Math.max(2, Math.min(size * Math.sqrt(per), 26));
    if (size > 3) size = Math.floor(size);
    const cols = Math.max(1, Math.floor(w / size)), rows = Math.ceil(Math.ceil(total / per) / cols);
    this.top = Math.max(0, Math.min(this.top, rows - Math.floor(height / size)));
    return { w, size, per, cols, rows };
  }
  draw() {
    const dpr = devicePixelRatio || 1, { w, size, per, cols } = this.layout();
    const W = Math.round(w * dpr), H = Math.round(height * dpr);
    if (this.canvas.width !== W || this.canvas.height !== H) { this.canvas.width = W; this.canvas.height = H; this.canvas.style.height = height + 'px'; }
    const g = this.canvas.getContext('2d');
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, w, height);
    this.colors ||= colors(this.canvas);
    const all = this.states, first = this.top * cols * per, gap = size >= 5 ? 1 : 0;
    if (size < 5) { this.pixels(g, W, H, size * dpr, cols, per, first); this.frameOf(g, size, per, cols); return; }
    const byState = words.map(() => []);
    for (let i = first, x = 0, y = 0; i < all.length && y < height; i += per) {
      let s = all[i];
      for (let j = i + 1; j < i + per && j < all.length; j++) if (weight[all[j]] > weight[s]) s = all[j];
      byState[s].push(x, y);
      if ((x += size) + size > w + 0.01) { x = 0; y += size; }
    }
    byState.forEach((at, s) => {
      if (!at.length) return;
      g.fillStyle = this.colors[s];
      g.globalAlpha = strength(words[s]);
      for (let k = 0; k < at.length; k += 2) g.fillRect(at[k], at[k + 1], size - gap, size - gap);
      g.globalAlpha = 1;
      if (size >= 8) mark(g, words[s], at, size - gap, this.colors.ground);
    });
    this.frameOf(g, size, per, cols);
  }
  // pixels draws cells that are too small for marks: rows of them are filled in memory, and put on the canvas as one picture.
  pixels(g, W, H, size, cols, per, first) {
    const image = this.image && this.image.width === W && this.image.height === H ? this.image : this.image = g.createImageData(W, H);
    const px = new Uint32Array(image.data.buffer), all = this.states, colors = this.colors.packed;
    px.fill(colors.ground);
    const rows = Math.ceil(H / size);
    for (let row = 0, i = first; row < rows && i < all.length; row++) {
      const y = Math.floor(row * size), tall = Math.max(1, Math.floor((row + 1) * size) - y - (size >= 3 ? 1 : 0)), at = y * W;
      if (y >= H) break;
      for (let col = 0; col < cols && i < all.length; col++, i += per) {
        const s = per > 1 ? all[this.worst(i, per)] : all[i], x = Math.floor(col * size), end = Math.min(W, Math.floor((col + 1) * size) - (size >= 3 ? 1 : 0));
        px.fill(colors[s], at + x, at + Math.max(end, x + 1));
      }
      for (let k = 1; k < tall && y + k < H; k++) px.copyWithin(at + k * W, at, at + W);
    }
    g.putImageData(image, 0, 0);
  }
  frameOf(g, size, per, cols) {
    if (this.sel >= 0) {
      const cell = Math.floor(this.sel / per) - this.top * cols, x = cell % cols * size, y = Math.floor(cell / cols) * size;
      g.strokeStyle = this.colors.text; g.lineWidth = 2;
      g.strokeRect(x - 1, y - 1, Math.max(size, 6) + 1, Math.max(size, 6) + 1);
    }
  }
  at(e) {
    const r = this.canvas.getBoundingClientRect(), { size, per, cols } = this.layout();
    const x = Math.floor((e.clientX - r.left) / size), y = Math.floor((e.clientY - r.top) / size) + this.top;
    const i = (y * cols + Math.min(x, cols - 1)) * per;
    return i < this.states.length ? this.worst(i, per) : -1;
  }
  worst(i, per) {
    let at = i;
    for (let j = i + 1; j < i + per && j < this.states.length; j++) if (weight[this.states[j]] > weight[this.states[at]]) at = j;
    return at;
  }
  hover(e) {
    const i = this.at(e);
    if (i < 0) { this.tip.hidden = true; return; }
    const { per } = this.layout(), r = this.canvas.getBoundingClientRect();
    this.tip.textContent = `[${i}] ${words[this.states[i]]}` + (per > 1 ? ` (the worst of ${n(per)})` : '');
    this.tip.hidden = false;
    this.tip.style.left = Math.min(e.clientX - r.left + 12, r.width - 150) + 'px';
    this.tip.style.top = e.clientY - r.top + 14 + 'px';
  }
  mark(i) { this.sel = i; this.reveal(); this.later(); }
  reveal() {
    if (this.sel < 0) return;
    const { size, per, cols } = this.layout(), row = Math.floor(this.sel / per / cols), shown = Math.floor(height / size);
    if (row < this.top || row >= this.top + shown) this.top = Math.max(0, row - Math.floor(shown / 2));
  }
  zoomBy(f, about = this.sel) {
    this.zoom = Math.max(1, Math.min(this.zoom * f, 200));
    if (about >= 0) { const { size, per, cols } = this.layout(); this.top = Math.max(0, Math.floor(about / per / cols) - Math.floor(height / size / 2)); }
    this.later();
  }
  pan(d) { const { size } = this.layout(); this.top = Math.max(0, this.top + d * Math.max(1, Math.floor(height / size / 3))); this.later(); }
  // next is the next branch that failed, or the one before.
  next(step, from = this.sel) {
    for (let i = from < 0 && step < 0 ? this.states.length - 1 : from + step; i >= 0 && i < this.states.length; i += step) if (words[this.states[i]] === 'failed') return i;
    return -1;
  }
  arrow(e) {
    const { cols, per } = this.layout(), d = { ArrowLeft: -per, ArrowRight: per, ArrowUp: -cols * per, ArrowDown: cols * per }[e.key];
    if (!d) return;
    e.preventDefault(); e.stopPropagation();
    const i = Math.max(0, Math.min(this.states.length - 1, (this.sel < 0 ? -d : this.sel) + d));
    this.select(i, false);
  }
  close() { this.watch.disconnect(); this.scheme.removeEventListener('change', this.recolor); cancelAnimationFrame(this.frame); }
}

// strength is how much a state stands out: what needs nobody's eyes is faint.
const strength = word => word === 'succeeded' || word === 'over' ? 0.55 : word === 'pending' ? 0.18 : 1;
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

function colors(el) {
  const style = getComputedStyle(el), of = name => style.getPropertyValue('--' + name).trim();
  const out = words.map(w => of({ pending: 'queued', over: 'succeeded' }[w] || w));
  out.text = of('text'); out.ground = of('bg');
  // For pixels: mixed with the ground as the larger cells are, as the canvas keeps them in memory.
  const ground = rgb(of('raised')), mix = (c, a) => { const [r, g, b] = rgb(c).map((x, i) => Math.round(x * a + ground[i] * (1 - a))); return 255 << 24 | b << 16 | g << 8 | r; };
  out.packed = out.map((c, i) => mix(c, strength(words[i])));
  out.packed.ground = mix(of('raised'), 1);
  return out;
}

// mark puts the state's shape on its cells: colours are not all that tells them apart.
function mark(g, word, at, size, ground) {
  g.strokeStyle = ground; g.lineWidth = size > 12 ? 2 : 1.5;
  g.beginPath();
  const a = size * 0.28, b = size * 0.72, m = size / 2;
  for (let k = 0; k < at.length; k += 2) {
    const x = at[k], y = at[k + 1];
    switch (word) {
      case 'failed': g.moveTo(x + a, y + a); g.lineTo(x + b, y + b); g.moveTo(x + b, y + a); g.lineTo(x + a, y + b); break;
      case 'waiting': g.moveTo(x + a, y + a); g.lineTo(x + b, y + a); g.lineTo(x + a, y + b); g.lineTo(x + b, y + b); g.closePath(); break;
      case 'running': g.moveTo(x + a, y + a); g.lineTo(x + b, y + m); g.lineTo(x + a, y + b); break;
      case 'cancelled': g.moveTo(x + a, y + b); g.lineTo(x + b, y + a); break;
      case 'skipped': g.moveTo(x + a, y + m); g.lineTo(x + b, y + m); break;
    }
  }
  g.stroke();
}
