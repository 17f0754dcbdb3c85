// What the page is made of: elements, words for numbers and times, tables. Text is always set as text: nothing here reads markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(el, props, children) {
  for (const [k, v] of Object.entries(props || {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) el.addEventListener(k.slice(2), v);
    else if (k === 'value') el.value = v;
    else if (k === 'style') for (const [p, x] of Object.entries(v)) el.style.setProperty(p, x);
    else el.setAttribute(k, v === true ? '' : v);
  }
  el.append(...children.flat(Infinity).filter(c => c !== undefined && c !== null && c !== false).map(plain));
  return el;
}

// plain shows what turns the order of text around, or is not seen, as what it is: text of functions is not to look like other text.
const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
export const plain = x => typeof x === 'string' ? x.replace(unseen, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')) : x;

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const icon = name => svg('svg', { class: 'i ' + name, 'aria-hidden': 'true' }, svg('use', { href: '#i-' + shapeOf(name) }));

const shapes = ['succeeded', 'failed', 'running', 'waiting', 'queued', 'paused', 'skipped', 'cancelled'];
const like = { pending: 'queued', open: 'running', over: 'succeeded', ending: 'running', cancelling: 'cancelled', up: 'succeeded', down: 'failed', throttled: 'waiting', stopped: 'cancelled', matched: 'succeeded', unmatched: 'skipped', refused: 'failed', ready: 'succeeded', degraded: 'waiting' };
const shapeOf = name => shapes.includes(name) ? name : like[name] || 'queued';

export const state = (name, text) => h('span', { class: 'state' }, icon(shapeOf(name)), h('span', null, text || name));

// many is a number with what it counts.
export const many = (x, one, more = one + 's') => `${n(x)} ${x === 1 ? one : more}`;

export const n = x => x === undefined ? '' : x.toLocaleString('en-US');

// took writes milliseconds as people say them; rough, of what changes as one looks, without the fractions of seconds.
export function took(ms, rough) {
  if (ms === undefined || ms === null || Number.isNaN(ms)) return '';
  if (ms < 1) return ms <= 0 ? '0' : ms.toFixed(2) + ' ms';
  if (ms < 1000) return (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + ' ms';
  const s = ms / 1000;
  if (s < 60) return (rough ? Math.floor(s) : s < 10 ? s.toFixed(2) : s.toFixed(1)) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + String(Math.floor(s % 60)).padStart(2, '0') + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + String(Math.floor(s % 3600 / 60)).padStart(2, '0') + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
}

// ms is a time in milliseconds; of one that has not come, which Go writes as the year 1, there is none.
export const ms = iso => iso && !iso.startsWith('0001') ? Date.parse(iso) : NaN;
export const utc = iso => iso ? new Date(iso).toISOString().replace('T', ' ').replace(/\.(\d{3})Z$/, '.$1 UTC') : '';

// when is a time as it is read at a glance; its title is the whole of it.
export function when(iso) {
  if (!iso) return '';
  const ago = Date.now() - ms(iso);
  const text = Math.abs(ago) < 1000 ? 'now' : ago < 0 ? 'in ' + took(-ago, true) : ago < 86400e3 ? took(ago, true) + ' ago' : utc(iso).slice(0, 16) + ' UTC';
  return h('time', { datetime: iso, title: utc(iso) }, text);
}

export function bytes(x) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (x < 1024) return (x < 10 && unit !== 'B' ? x.toFixed(1) : Math.round(x)) + ' ' + unit;
    x /= 1024;
  }
  return Math.round(x) + ' PiB';
}

export const cut = (text, most = 300) => text.length > most ? text.slice(0, most) + '…' : text;
export const json = v => typeof v === 'string' ? v : JSON.stringify(v, null, 2);

// A Table keeps its rows by key, and changes only the cells that differ: a list that is looked at again costs what changed in it.
export class Table {
  // columns: { name, class, cell(row) a text or an element, sig(row) what an element depends on }
  constructor(columns, { key, label, open }) {
    this.columns = columns; this.key = key; this.rows = new Map(); this.openRow = open;
    this.body = h('tbody', { role: 'rowgroup' });
    // On a narrow screen rows are drawn as cards; the roles keep it a table for who has it read aloud.
    this.el = h('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: '0' }, h('table', { role: 'table', 'aria-label': label },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map(c => h('th', { scope: 'col', role: 'columnheader', class: c.class }, c.head || c.name)))), this.body));
  }
  update(rows) {
    const seen = new Set();
    let at = this.body.firstElementChild;
    for (const row of rows) {
      const key = this.key(row);
      seen.add(key);
      let r = this.rows.get(key);
      if (!r) {
        r = { el: h('tr', { role: 'row', 'data-key': key }), cells: this.columns.map(c => h('td', { role: 'cell', class: c.class, 'data-label': typeof c.name === 'string' ? c.name : undefined })), sigs: [] };
        r.el.append(...r.cells);
        this.rows.set(key, r);
      }
      r.row = row;
      this.columns.forEach((c, i) => {
        const v = c.sig ? c.sig(row) : c.cell(row);
        const sig = typeof v === 'string' ? v : JSON.stringify(v);
        if (r.sigs[i] === sig) return;
        r.sigs[i] = sig;
        const cell = c.sig ? c.cell(row) : v;
        r.cells[i].replaceChildren(...[cell].flat(Infinity).filter(x => x !== undefined && x !== null && x !== '').map(plain));
      });
      if (r.el === at) at = at.nextElementSibling;
      else this.body.insertBefore(r.el, at);
    }
    for (const [key, r] of this.rows) if (!seen.has(key)) { r.el.remove(); this.rows.delete(key); }
  }
  all() { return [...this.body.children]; }
  // move selects the next row, or the one before, of those that want says yes to.
  move(step, want = () => true) {
    const all = this.all();
    let i = all.findIndex(x => x.getAttribute('aria-selected') === 'true');
    if (i < 0 && step < 0) i = all.length;
    for (i += step; i >= 0 && i < all.length; i += step) {
      if (!want(this.rows.get(all[i].dataset.key).row)) continue;
      this.select(all[i]);
      return true;
    }
    return false;
  }
  select(el) {
    for (const x of this.body.querySelectorAll('[aria-selected]')) x.removeAttribute('aria-selected');
    el.setAttribute('aria-selected', 'true');
    const target = el.querySelector('a, button') || el;
    target.focus({ preventScroll: true });
    el.scrollIntoView({ block: 'nearest' });
  }
  selected() { const el = this.body.querySelector('[aria-selected=true]'); return el && this.rows.get(el.dataset.key).row; }
}
