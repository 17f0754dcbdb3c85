// Field: a cell a branch, in the order of their indexes. Seen from afar a cell stands for many, and shows the worst of them.
import { h, icon, n } from './dom.js';
import { order } from './flow.js';
import { Fingers } from './fingers.js';

// The states by their numbers, as the router sends them.
export const words = ['pending', 'queued', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'cancelled', 'over'];
const weight = words.map(w => 20 - ['failed', 'cancelled', 'waiting', 'running', 'queued', 'pending', 'over', 'skipped', 'succeeded'].indexOf(w));
const failed = words.indexOf('failed');
const tallest = 420, tiny = 5; // pixels: of the canvas, and of cells too small for marks

export class Field {
  // select(i, open) is told of a branch that is chosen, only(word) of the states that are to stand out.
  constructor({ select, only }) {
    this.select = select;
    this.states = new Uint8Array(0); this.counts = new Array(words.length).fill(0);
    this.zoom = 1; this.ticks = 0; this.top = 0; this.sel = -1; this.width = 0; this.said = 0;
    this.canvas = h('canvas', { tabindex: '0', role: 'img' });
    this.tip = h('div', { class: 'tip', hidden: true });
    this.chips = new Map(order.map(w => { // What they say changes; they themselves stay, and keep the focus.
      const count = h('span', null, ''), el = h('button', { type: 'button', hidden: true, 'aria-pressed': 'false', 'data-state': w, onclick: () => only(w) }, icon(w), w + ' ', count);
      return [w, { el, count }];
    }));
    const button = (name, title, f) => h('button', { type: 'button', title, 'aria-label': name.length > 1 ? undefined : title, onclick: f }, name);
    this.legend = h('div', { class: 'bar' }, h('div', { class: 'chips', role: 'group', 'aria-label': 'Show only' }, [...this.chips.values()].map(c => c.el)), h('span', { class: 'grow' }),
      button('✕ Next failed', 'Next that failed, key n', () => { const i = this.next(1); if (i >= 0) this.select(i, true); }), button('+', 'Zoom in, key w', () => this.zoomBy(1.6)), button('−', 'Zoom out, key s', () => this.zoomBy(1 / 1.6)), button('All', 'All of it', () => { this.zoom = 1; this.top = 0; this.moved(); }));
    this.el = h('div', null, this.legend, h('div', { class: 'fieldwrap' }, this.canvas, this.tip), h('p', { class: 'sub hint' }, 'A cell is a branch. ', h('kbd', null, 'w'), ' ', h('kbd', null, 's'), ' zoom, ', h('kbd', null, 'a'), ' ', h('kbd', null, 'd'), ' pan, arrows move, ', h('kbd', null, 'n'), ' next that failed, ', h('kbd', null, 'Enter'), ' opens. Fingers pinch and drag.'));
    this.fingers = new Fingers(this.canvas, {
      tap: e => { const i = this.at(e); if (i >= 0) this.select(i, true); },
      drag: (_, dy) => this.shift(dy), free: () => this.zoom > 1,
      pinch: (f, e) => this.zoomBy(f, this.at(e)),
    });
    this.canvas.addEventListener('pointermove', e => e.pointerType === 'mouse' && this.hover(e));
    this.canvas.addEventListener('pointerleave', () => this.tip.hidden = true);
    // The wheel moves the page, or what is zoomed; with Ctrl, as trackpads pinch, it zooms.
    this.canvas.addEventListener('wheel', e => {
      if (e.ctrlKey || e.metaKey) { e.preventDefault(); this.zoomBy(e.deltaY < 0 ? 1.25 : 0.8, this.at(e)); return; }
      const was = this.top, l = this.layout();
      this.top = Math.max(0, Math.min(l.rows - l.shown, this.top + Math.sign(e.deltaY) * Math.max(1, Math.round(Math.abs(e.deltaY) / l.size))));
      if (this.top !== was) { e.preventDefault(); this.moved(); }
    }, { passive: false });
    this.canvas.addEventListener('keydown', e => this.arrow(e));
    this.watch = new ResizeObserver(all => { this.width = all[0].contentRect.width; this.moved(); });
    this.watch.observe(this.canvas);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', this.recolor = () => { this.colors = undefined; this.later(); });
  }
  set(states) {
    this.states = states; this.plan = undefined;
    this.counts.fill(0);
    for (let i = 0; i < states.length; i++) this.counts[states[i]]++;
    this.tell(true);
    this.draw();
    performance.mark('field drawn');
  }
  // filter lets one state stand out, and those of a time: a bit each, that of index 0 the lowest; undefined is all.
  filter(word, bits) {
    const only = word ? words.indexOf(word) : -1;
    for (const [w, c] of this.chips) c.el.setAttribute('aria-pressed', String(w === word));
    if (only === this.only && bits === this.bits) return;
    this.only = only; this.bits = bits;
    this.later();
  }
  has(i) { return !this.bits || (this.bits[i >> 3] >> (i & 7) & 1) === 1; }
  faint(i) { return this.only >= 0 && this.states[i] !== this.only || !this.has(i); }
  // tick takes what has changed, indexes and states in turns, and paints those cells alone.
  tick(changed) {
    const all = this.states, counts = this.counts, l = this.layout(), cells = [];
    let last = -1;
    for (let k = 0; k + 1 < changed.length; k += 2) {
      const i = changed[k], is = changed[k + 1], was = all[i];
      if (i >= all.length || was === is) continue;
      counts[was]--; counts[is]++; all[i] = is;
      const cell = (i / l.per | 0) - this.top * l.cols;
      if (cell >= 0 && cell < l.cells && cell !== last) cells.push(last = cell);
    }
    if (!cells.length) return;
    this.tell();
    if (!this.painted || this.frame || cells.length > l.cells / 2) this.draw(); else this.touch(l, cells);
  }
  later() { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); }); }
  moved() { this.plan = undefined; this.canvas.style.touchAction = this.zoom > 1 ? 'none' : 'pan-y'; this.later(); }
  // tell writes the counts, twice a second at most: they are read, by eyes and aloud.
  tell(now) {
    const wait = this.said + 500 - performance.now();
    if (!now && wait > 0) { this.telling ||= setTimeout(() => this.tell(true), wait); return; }
    clearTimeout(this.telling);
    this.telling = 0; this.said = performance.now();
    const told = [];
    for (const w of order) {
      const c = this.counts[words.indexOf(w)], chip = this.chips.get(w), text = n(c);
      if (c) told.push(`${text} ${w}`);
      if (chip.text !== text) { chip.text = text; chip.el.hidden = !c; chip.count.textContent = text; }
    }
    const label = `${n(this.states.length)} branches: ${told.join(', ')}`;
    if (label !== this.label) this.canvas.setAttribute('aria-label', this.label = label);
  }
  // layout: size of a cell in pixels, cells a row, rows in all and shown, how many branches a cell stands for. It is kept until something moves.
  layout() {
    if (this.plan) return this.plan;
    const w = this.width ||= this.canvas.clientWidth || 600, total = Math.max(this.states.length, 1);
    let size = Math.sqrt(w * tallest / total) * this.zoom;
    const per = size < 2 ? Math.ceil(4 / (size * size)) : 1;
    size = Math.max(2, Math.min(size * Math.sqrt(per), 26));
    if (size > 3) size = Math.floor(size);
    const cols = Math.max(1, Math.floor(w / size)), rows = Math.ceil(Math.ceil(total / per) / cols), high = Math.min(tallest, Math.max(60, Math.ceil(rows * size))), shown = Math.ceil(high / size);
    this.top = Math.max(0, Math.min(this.top, rows - Math.floor(high / size)));
    this.painted = false;
    return this.plan = { w, size, per, cols, rows, high, shown, cells: cols * shown };
  }
  draw() {
    if (this.frame) { cancelAnimationFrame(this.frame); this.frame = 0; }
    const dpr = devicePixelRatio || 1, l = this.layout(), W = Math.round(l.w * dpr), H = Math.round(l.high * dpr);
    if (this.canvas.width !== W || this.canvas.height !== H) {
      this.canvas.width = W; this.canvas.height = H;
      this.canvas.style.height = l.high + 'px';
    }
    this.pen ||= this.canvas.getContext('2d');
    this.pen.setTransform(dpr, 0, 0, dpr, 0, 0);
    this.colors ||= colors(this.canvas);
    if (l.size < tiny) this.pixels(l, W, H, l.size * dpr); else this.cellsOf(l);
    this.mark1(l);
    this.painted = true;
  }
  cellsOf(l) {
    this.pen.clearRect(0, 0, l.w, l.high);
    const to = Math.min(l.cells, Math.ceil(this.states.length / l.per) - this.top * l.cols);
    this.paint(l, Array.from({ length: Math.max(0, to) }, (_, i) => i));
  }
  // paint draws cells that are large enough for the shapes of states.
  paint(l, cells) {
    const g = this.pen, groups = new Map(), first = this.top * l.cols;
    for (const cell of cells) {
      const i = this.worst((first + cell) * l.per, l.per), key = this.states[i] + (this.faint(i) ? 16 : 0);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(cell % l.cols * l.size, Math.floor(cell / l.cols) * l.size);
    }
    const side = l.size - 1;
    for (const [key, at] of groups) {
      g.fillStyle = this.colors[key & 15];
      g.globalAlpha = strength(words[key & 15]) * (key > 15 ? 0.18 : 1);
      for (let k = 0; k < at.length; k += 2) g.fillRect(at[k], at[k + 1], side, side);
      g.globalAlpha = 1;
      if (l.size >= 8 && key < 16) mark(g, words[key], at, side, this.colors.ground);
    }
  }
  // pixels draws cells that are too small for marks: rows of them are filled in memory, and put on the canvas as one picture.
  pixels(l, W, H, size) {
    if (!this.image || this.image.width !== W || this.image.height !== H) {
      this.image = this.pen.createImageData(W, H);
      this.px = new Uint32Array(this.image.data.buffer);
    }
    this.px.fill(this.colors.packed.ground);
    const xs = this.xs = edges(l.cols, size, W), ys = this.ys = edges(l.shown, size, H), all = this.states, px = this.px, first = this.top * l.cols * l.per, plain = !this.bits && !(this.only >= 0), { per } = l, { packed } = this.colors;
    for (let row = 0, i = first; row < l.shown && i < all.length; row++) {
      const y = ys[row * 2], at = y * W;
      if (y >= H) break;
      for (let col = 0; col < l.cols && i < all.length; col++, i += per) {
        const k = per > 1 ? this.worst(i, per) : i, color = packed[all[k] + (plain || !this.faint(k) ? 0 : 16)];
        for (let x = at + xs[col * 2], end = at + xs[col * 2 + 1]; x < end; x++) px[x] = color;
      }
      for (let y2 = y + 1; y2 < ys[row * 2 + 1]; y2++) px.copyWithin(y2 * W, at, at + W);
    }
    this.pen.putImageData(this.image, 0, 0);
  }
  // touch paints some cells anew, and no others.
  touch(l, cells) {
    if (l.size >= tiny) {
      for (const c of cells) this.pen.clearRect(c % l.cols * l.size, Math.floor(c / l.cols) * l.size, l.size, l.size);
      this.paint(l, cells);
      this.mark1(l);
      return;
    }
    const { xs, ys, px } = this, W = this.image.width, first = this.top * l.cols;
    let top = Infinity, end = 0;
    for (const c of cells) {
      const i = this.worst((first + c) * l.per, l.per), color = this.colors.packed[this.states[i] + (this.faint(i) ? 16 : 0)], col = c % l.cols, row = (c - col) / l.cols, y1 = ys[row * 2], y2 = ys[row * 2 + 1], x1 = xs[col * 2], x2 = xs[col * 2 + 1];
      for (let y = y1; y < y2; y++) for (let x = x1; x < x2; x++) px[y * W + x] = color;
      if (y1 < top) top = y1;
      if (y2 > end) end = y2;
    }
    this.pen.putImageData(this.image, 0, 0, 0, top, W, end - top);
    this.mark1(l);
  }
  // mark1 frames the branch that is chosen.
  mark1(l) {
    if (this.sel < 0) return;
    const cell = Math.floor(this.sel / l.per) - this.top * l.cols, x = cell % l.cols * l.size, y = Math.floor(cell / l.cols) * l.size;
    if (cell < 0 || cell >= l.cells) return;
    this.pen.strokeStyle = this.colors.text; this.pen.lineWidth = 2;
    this.pen.strokeRect(x - 1, y - 1, Math.max(l.size, 6) + 1, Math.max(l.size, 6) + 1);
  }
  at(e) {
    const r = this.canvas.getBoundingClientRect(), { size, per, cols } = this.layout();
    const x = Math.floor((e.clientX - r.left) / size), y = Math.floor((e.clientY - r.top) / size) + this.top;
    const i = (y * cols + Math.max(0, Math.min(x, cols - 1))) * per;
    return i >= 0 && i < this.states.length ? this.worst(i, per) : -1;
  }
  worst(i, per) {
    let at = i;
    for (let j = i + 1; j < i + per && j < this.states.length; j++) if (weight[this.states[j]] > weight[this.states[at]]) at = j;
    return at;
  }
  hover(e) {
    const i = this.at(e);
    if (i < 0) { this.tip.hidden = true; return; }
    const { per, w } = this.layout(), r = this.canvas.getBoundingClientRect();
    this.tip.textContent = `[${i}] ${words[this.states[i]]}` + (per > 1 ? ` (the worst of ${n(per)})` : '');
    this.tip.hidden = false;
    this.tip.style.left = Math.min(e.clientX - r.left + 12, w - 150) + 'px';
    this.tip.style.top = e.clientY - r.top + 14 + 'px';
  }
  mark(i) {
    if (this.sel === i) return;
    this.sel = i;
    this.reveal(); this.later();
  }
  reveal() {
    if (this.sel < 0) return;
    const l = this.layout(), row = Math.floor(this.sel / l.per / l.cols), shown = Math.floor(l.high / l.size);
    if (row < this.top || row >= this.top + shown) { this.top = Math.max(0, row - Math.floor(shown / 2)); this.moved(); }
  }
  zoomBy(f, about = this.sel) {
    this.zoom = Math.max(1, Math.min(this.zoom * f, 200));
    this.plan = undefined;
    if (about >= 0) { const l = this.layout(); this.top = Math.max(0, Math.floor(about / l.per / l.cols) - Math.floor(l.high / l.size / 2)); }
    this.moved();
  }
  pan(d) { const l = this.layout(); this.top = Math.max(0, this.top + d * Math.max(1, Math.floor(l.high / l.size / 3))); this.moved(); }
  // shift pans by pixels; what does not make up a row is kept for the next time.
  shift(dy) {
    const { size } = this.layout();
    this.rest = (this.rest || 0) - dy;
    const rows = Math.trunc(this.rest / size);
    if (!rows) return;
    this.rest -= rows * size;
    this.top = Math.max(0, this.top + rows);
    this.moved();
  }
  // next is the next branch that failed, or the one before.
  next(step, from = this.sel) {
    for (let i = from < 0 && step < 0 ? this.states.length - 1 : from + step; i >= 0 && i < this.states.length; i += step) if (this.states[i] === failed && this.has(i)) return i;
    return -1;
  }
  arrow(e) {
    const { cols, per } = this.layout(), d = { ArrowLeft: -per, ArrowRight: per, ArrowUp: -cols * per, ArrowDown: cols * per }[e.key];
    if (!d) return;
    e.preventDefault(); e.stopPropagation();
    const i = Math.max(0, Math.min(this.states.length - 1, (this.sel < 0 ? -d : this.sel) + d));
    this.select(i, false);
    this.canvas.setAttribute('aria-label', this.label = `branch ${i}, ${words[this.states[i]]}`);
  }
  close() { this.watch.disconnect(); this.fingers.close(); this.scheme.removeEventListener('change', this.recolor); cancelAnimationFrame(this.frame); clearTimeout(this.telling); }
}

// edges are where cells begin and end along one side, in pixels, with a gap where there is room for one.
function edges(count, size, most) {
  const out = new Int32Array(count * 2), gap = size >= 3 ? 1 : 0;
  for (let i = 0; i < count; i++) {
    const a = Math.floor(i * size);
    out[i * 2] = a; out[i * 2 + 1] = Math.min(most, Math.max(Math.floor((i + 1) * size) - gap, a + 1));
  }
  return out;
}

// strength is how much a state stands out: what needs nobody's eyes is faint.
const strength = word => word === 'succeeded' || word === 'over' ? 0.55 : word === 'pending' ? 0.18 : 1;
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

function colors(el) {
  const style = getComputedStyle(el), of = name => style.getPropertyValue('--' + name).trim();
  const out = words.map(w => of({ pending: 'queued', over: 'succeeded' }[w] || w));
  out.text = of('text'); out.ground = of('bg');
  // For pixels: mixed with the ground as the larger cells are, as the canvas keeps them in memory; faint ones from 16 on.
  const ground = rgb(of('raised')), mix = (c, a) => { const [r, g, b] = rgb(c).map((x, i) => Math.round(x * a + ground[i] * (1 - a))); return (255 << 24 | b << 16 | g << 8 | r) >>> 0; };
  out.packed = new Uint32Array(32);
  words.forEach((w, i) => { out.packed[i] = mix(out[i], strength(w)); out.packed[i + 16] = mix(out[i], strength(w) * 0.18); });
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
      case 'queued': g.moveTo(x + b, y + m); g.arc(x + m, y + m, (b - a) / 2, 0, 7); break;
    }
  }
  g.stroke();
}
