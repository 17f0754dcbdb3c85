// One run: what it is at and why, its definition with counts (Flow), its branches (Field), its times (Time), a list of them, and a drawer of one.
import { h, state, icon, n, many, took, ms, utc, json, cut, Table } from './dom.js';
import { get, post, seg, live } from './api.js';
import { ask, word, wrong, command, copy } from './ask.js';
import { answer } from './waits.js';
import { Flow, steps, order } from './flow.js';
import { Field, words } from './field.js';
import { Time, rowsOf, single } from './time.js';
import { Drawer } from './drawer.js';

const pattern = path => path.replaceAll(/\[\d+\]/g, '[*]');
const page = 50;

export default function run(main, app, id) {
  app.title('Run ' + id.slice(0, 12));
  const v = new View(main, app, id);
  v.begin().catch(e => { // Keys and the address count from the first moment on.
    v.head.replaceChildren(h('h1', null, 'No run to show'), wrong(e), h('p', { class: 'sub' }, h('a', { href: '/runs' }, 'All runs'), '; a run that ended long ago may have been let go of by the history.'), command('onward runs list'));
    v.split.remove();
  });
  return { update: () => v.fit(), key: e => v.key(e), close: () => v.close() };
}

class View {
  constructor(main, app, id) {
    Object.assign(this, { app, id, counts: {}, rates: [], reasons: [], ticks: 0 });
    this.top = h('div', { class: 'bar' });
    this.whys = h('div', { class: 'why' }); // It changes by the second: what is read aloud is when the state does.
    this.told = h('div', { class: 'hidden', role: 'status' });
    this.sums = h('div', { class: 'facts' });
    this.head = h('div', { class: 'head' }, this.top, this.whys, this.sums, this.told);
    this.trouble = h('div');
    this.tabs = h('div', { class: 'views', role: 'tablist', 'aria-label': 'Views' }, ['flow', 'field', 'time'].map((name, i) => h('button', { type: 'button', role: 'tab', 'data-view': name, id: 'tab-' + name, title: `key ${i + 1}`, 'aria-controls': 'view', onclick: () => app.set({ view: name }) }, name[0].toUpperCase() + name.slice(1))));
    this.tabs.addEventListener('keydown', e => {
      const all = [...this.tabs.children], to = all[(all.indexOf(document.activeElement) + { ArrowRight: 1, ArrowLeft: 2 }[e.key]) % 3];
      if (to) { e.preventDefault(); e.stopPropagation(); to.focus(); to.click(); }
    });
    this.body = h('div', { role: 'tabpanel', id: 'view' });
    this.brushed = h('div', { class: 'note brushed', hidden: true });
    this.picker = h('div', { class: 'bar' });
    this.list = h('div');
    this.result = h('div');
    this.drawer = new Drawer(this, { app, close: () => app.set({ sel: '' }) });
    this.split = h('div', { class: 'split' }, h('div', null, this.tabs, this.brushed, this.picker, this.body, this.list, this.result));
    main.append(this.head, this.trouble, this.split);
    this.flow = new Flow({ select: s => app.set({ step: s.path, sel: s.many || /\[\*\]/.test(s.path) ? '' : s.path, view: s.many && this.total(s.path) > 1 ? 'field' : 'flow' }), enter: path => app.set({ at: path }) });
    this.seen = () => document.hidden ? this.hush() : this.listen();
    document.addEventListener('visibilitychange', this.seen);
  }
  async begin() {
    // All is asked for at once, and each shown as it comes: the field does not wait for what is written above it.
    const q = this.app.query, step = q.get('view') === 'field' && q.get('step');
    this.early = step && { group: this.groupOf(step), said: this.ask('/field', { step: this.groupOf(step) }) };
    if (this.early) this.early.said.catch(() => {}); // Who waits for it is told.
    const counts = this.ask('/counts').then(said => this.count(said.steps), () => {});
    const why = this.ask('/explain').then(said => { this.reasons = said.reasons || []; return lines(said); }, () => []);
    const [head, flow] = await Promise.all([this.ask(''), this.ask('/flow').catch(e => ({ failed: e }))]);
    this.def = flow.flow; this.whole = flow;
    if (flow.failed) this.trouble.append(wrong(flow.failed));
    this.facts = head;
    this.why = [];
    this.draw();
    if (!step) await counts;
    const fitted = this.fit();
    this.why = await why;
    await counts;
    this.draw();
    await fitted;
    if (!this.field) this.listen();
    const todo = this.app.query.get('do');
    if (todo) { this.app.set({ do: '' }); todo === 'cancel' ? this.cancel() : this.runAgain(); }
  }
  ask(what, params) { return get(`/v1/runs/${seg(this.id)}${what}`, params); }
  get ended() { return !!this.facts.ended; }

  // listen takes what changes as it is sent. A browser that was cut off goes on by itself where it was.
  listen() {
    this.hush();
    if (this.held || document.hidden || this.ended) { live(this.ended ? '' : this.held ? 'paused' : ''); return; }
    const url = new URL(`/v1/runs/${seg(this.id)}/live`, location.origin);
    if (this.group && this.field && this.cursor) { url.searchParams.set('step', this.group); url.searchParams.set('after', this.cursor); }
    const source = this.source = new EventSource(url);
    source.onopen = () => live('live');
    source.onerror = () => {
      live('the router does not answer; asking again');
      if (source.readyState !== EventSource.CLOSED) return; // It asks again by itself.
      this.cursor = ''; // It may be what was refused.
      clearTimeout(this.retry);
      this.retry = setTimeout(() => this.listen(), 1500);
    };
    source.addEventListener('run', e => {
      const said = JSON.parse(e.data);
      this.facts = said.run; this.reasons = said.reasons || []; this.why = lines(said);
      if (said.steps) this.count(said.steps);
      this.draw();
      this.fresh();
      if (this.ended) { source.close(); this.reload(); live(''); }
    });
    source.addEventListener('field', e => {
      const begin = performance.now(), said = JSON.parse(e.data);
      this.cursor = said.cursor;
      if (!this.field) return;
      if (said.states) this.field.set(unpack(said));
      else if (said.size !== this.field.states.length) this.load();
      else this.field.tick(said.changed);
      performance.measure('tick', { start: begin }); // What it takes is a budget of the page.
      if (++this.ticks % 500 === 0) performance.clearMeasures('tick');
      this.listSoon();
    });
  }
  hush() { clearTimeout(this.retry); if (this.source) this.source.close(); this.source = undefined; }
  reload() { if (this.field) this.load(); else this.fit(true); }

  count(list) {
    const counts = {};
    let over = 0;
    for (const c of list) {
      counts[c.path] = Object.fromEntries(order.filter(k => c[k]).map(k => [k, c[k]]));
      over += c.succeeded + c.failed + c.skipped + c.cancelled;
    }
    this.counts = Object.assign(counts, this.ends);
    this.rates.push([Date.now(), over]);
    while (this.rates.length > 2 && this.rates[0][0] < Date.now() - 10_000) this.rates.shift();
    this.flow.update(counts, this.facts && this.ended);
  }
  total(path) { return Object.values(this.counts[path] || {}).reduce((a, b) => a + b, 0); }
  totals() {
    // Steps with others in them are left out: they stand as those do.
    const out = {}, outer = new Set(this.def ? [...steps(this.def)].filter(s => s.steps).map(s => s.path) : []);
    const all = Object.entries(this.counts).filter(([path]) => !path.startsWith('end:')), some = all.filter(([path]) => !outer.has(path));
    for (const [, c] of some.length ? some : all) for (const [k, x] of Object.entries(c)) out[k] = (out[k] || 0) + x;
    return out;
  }
  // pace is how many steps end a second, and how long that would take what is still to be done.
  pace() {
    const [a, b] = [this.rates[0], this.rates[this.rates.length - 1]];
    if (this.ended || !a || b[0] - a[0] < 1000) return {};
    const rate = (b[1] - a[1]) / (b[0] - a[0]) * 1000, sums = this.totals();
    const left = (sums.pending || 0) + (sums.queued || 0) + (sums.running || 0);
    return { rate, eta: rate > 0 && left ? left / rate * 1000 : undefined };
  }

  draw() {
    const r = this.facts, sums = this.totals(), { rate, eta } = this.pace();
    const is = r.state, lasted = (this.ended ? ms(r.ended) : Date.now()) - ms(r.started);
    const event = r.event || {};
    const changed = (part, ...of) => { const sig = JSON.stringify(of), was = part.sig; part.sig = sig; return sig !== was; };
    const fact = (name, text) => text === undefined || text === '' ? undefined : h('span', null, name, ' ', h('b', null, text));
    const why = this.why.slice(0, 6);
    if (changed(this.top, is, this.ended, !!r.error, !!r.paused)) {
      if (this.is && this.is !== is) this.told.textContent = `The run is ${is}.`;
      this.is = is;
      this.gave();
      this.top.replaceChildren(h('h1', null, state(is), ' ', r.trigger), h('code', { class: 'sub' }, this.id), h('button', { type: 'button', class: 'quiet', onclick: () => copy(this.id) }, 'Copy id'), h('button', { type: 'button', class: 'quiet', title: 'the command that says why it is not further, or how it ended', onclick: () => copy('onward runs explain ' + this.id) }, 'Copy command'), h('span', { class: 'grow' }), ...this.buttons());
    }
    if (changed(this.whys, this.why, this.ended)) {
      this.whys.replaceChildren(...[why.map((line, i) => h('div', { class: i ? 'sub' : r.error && this.ended ? 'error' : '' }, cut(line, 600))), this.why.length > why.length && h('div', { class: 'sub' }, `and ${n(this.why.length - why.length)} more lines: onward runs explain ${this.id}`)].flat().filter(Boolean));
    }
    if (changed(this.sums, r.calls, sums, Math.floor(lasted / 1000), rate && Math.round(rate), r.redrives, this.ended)) {
      this.sums.replaceChildren(...[h('span', null, 'steps'), order.filter(k => sums[k]).map(k => h('span', { class: 'state ' + k }, icon(k), h('span', null, `${n(sums[k])} ${k}`))),
        fact('started', utc(r.started).slice(0, 19) + ' UTC'), fact(this.ended ? 'took' : 'for', took(lasted)), fact('calls', n(r.calls)), rate >= 0.5 && fact('a second', n(Math.round(rate))), eta && fact('done in about', took(eta)),
        r.redrives && fact('redrives', n(r.redrives)), event.id && h('span', null, 'event ', h('a', { href: '/events?id=' + seg(event.id) }, event.id)), event.parentrun && h('span', null, 'started by ', h('a', { href: '/runs/' + event.parentrun }, event.parentrun.slice(0, 12) + '…'))].flat().filter(Boolean));
    }
  }
  // gave shows what the run gave, or by which error it ended.
  gave() {
    const r = this.facts, v = r.error ? r.error.data : r.result;
    if (!this.ended || v === undefined || v === null) { this.result.replaceChildren(); return; }
    this.result.replaceChildren(h('h2', null, r.error ? 'Data of the error' : 'Result'), h('pre', { tabindex: '0', dir: 'ltr' }, cut(json(v), 20_000)), h('h2', null, 'Event'), h('pre', { tabindex: '0' }, cut(json(r.event), 20_000)));
  }
  buttons() {
    if (!this.app.may('operate')) return [];
    const b = (name, f, cls) => h('button', { type: 'button', class: cls, onclick: f }, name);
    if (this.ended) return [this.facts.error && b('Redrive…', () => this.redrive()), b('Rerun…', () => this.rerun())].filter(Boolean);
    const windows = this.windows();
    return [b('Signal…', () => this.signal()), windows.length && b('Window…', () => this.resize(windows)), b(this.facts.paused ? 'Resume…' : 'Pause…', () => this.pause()), b('Cancel…', () => this.cancel(), 'danger')].filter(Boolean);
  }

  // fit makes the view what the address says.
  async fit(again) {
    if (!this.facts) return; // It will, once it is known what there is.
    const q = this.app.query, view = ['field', 'time'].includes(q.get('view')) ? q.get('view') : 'flow';
    for (const t of this.tabs.children) { t.setAttribute('aria-selected', String(t.dataset.view === view)); t.tabIndex = t.dataset.view === view ? 0 : -1; }
    this.body.setAttribute('aria-labelledby', 'tab-' + view);
    this.brush();
    const step = q.get('step') || (view === 'field' ? this.widest ||= this.findWidest() : '');
    const want = [view, view === 'field' ? this.groupOf(step) : '', view === 'flow' ? q.get('at') : '', q.get('t')].join('\n');
    const sel = q.get('sel') || '';
    if (want !== this.shown || again) {
      this.shown = want;
      if (this.field && view !== 'field') { this.field.close(); this.field = undefined; this.group = ''; this.listen(); }
      if (this.time && view !== 'time') { this.time.close(); this.time = undefined; }
      this.picker.replaceChildren();
      await this['show' + view](step).catch(e => this.body.replaceChildren(wrong(e)));
    }
    if (this.field) this.field.filter(q.get('state') || '', this.bits);
    this.flow.mark(step);
    this.step = step;
    this.split.classList.toggle('open', !!sel);
    if (sel) {
      if (!this.drawer.el.isConnected) this.split.append(this.drawer.el);
      const at = sel.match(/^(.*)\[(\d+)\]/);
      if (this.field && at && at[1] === this.group) this.field.mark(+at[2]);
      if (this.drawer.path !== sel || again) { this.from = document.activeElement; this.drawer.el.replaceChildren(); this.drawer.open(sel); }
    } else if (this.drawer.path !== undefined) {
      const inside = this.drawer.el.contains(document.activeElement);
      this.drawer.el.remove(); this.drawer.path = undefined;
      if (inside && this.from && this.from.isConnected) this.from.focus({ preventScroll: true });
      if (this.field) { this.field.sel = -1; this.field.later(); }
    }
    this.lists();
  }
  // span is the time that is looked at, in milliseconds since 1970; undefined is all of it.
  get span() {
    const at = (this.app.query.get('t') || '').match(/^([\d.]+)s\.\.([\d.]+)s$/), begun = ms(this.facts.started);
    return at && +at[2] > +at[1] ? [begun + at[1] * 1000, begun + at[2] * 1000] : undefined;
  }
  get end() { return this.ended ? ms(this.facts.ended) : Date.now(); }
  // brush says that only a time is looked at, in each view.
  brush() {
    const span = this.span, begun = ms(this.facts.started), sig = this.app.query.get('t') || '';
    this.brushed.hidden = !span;
    if (!span) { this.bits = undefined; this.flow.within(undefined); }
    if (!span || sig === this.brushedSig) return;
    this.brushedSig = sig;
    this.brushed.replaceChildren(h('span', null, 'Only what was at work from ', h('b', null, took(span[0] - begun)), ' to ', h('b', null, took(span[1] - begun)), ' of the run.'), ' ', h('button', { type: 'button', onclick: () => this.app.set({ t: '' }) }, 'All of the time'));
  }
  strips(from, to) {
    const iso = t => new Date(Math.round(t)).toISOString();
    return this.ask('/strips', { from: iso(from), to: iso(to), bins: Math.max(60, Math.min(240, Math.floor(this.body.clientWidth / 5))), single });
  }
  // inSpan asks what was at work in the time that is looked at, of Flow's boxes and of the list.
  async inSpan() {
    const span = this.span;
    this.some = undefined;
    if (!span) return;
    const said = await this.strips(...span), at = {};
    if (said.steps) for (const s of said.steps) at[pattern(s.path)] = (at[pattern(s.path)] || 0) + 1; else for (const s of said.strips) at[s.path] = s.total;
    if (String(span) !== String(this.span)) return;
    this.some = said;
    this.flow.within(at);
  }
  // fresh asks again for what is open in the drawer, not more than once a second.
  fresh() {
    if (this.drawer.path && !(this.freshed > Date.now() - 1000)) { this.freshed = Date.now(); this.drawer.open(this.drawer.path); }
    if (!(this.timed > Date.now() - 2000)) {
      this.timed = Date.now();
      if (this.time) this.showtime().catch(() => {}); else if (this.span && this.field) this.within().catch(() => {}); else if (this.span) this.inSpan().catch(() => {});
    }
    if (!this.field) this.listSoon();
  }
  findWidest() {
    let best = '', most = 0;
    if (this.def) for (const s of steps(this.def)) if (s.many && this.total(s.path) > most) { most = this.total(s.path); best = s.path; }
    if (!best && this.def) for (const s of steps(this.def)) if (s.path) return s.path;
    return best;
  }
  // groupOf is the place of a step's activations: of steps within steps that run often, those of one of these.
  groupOf(step) {
    const outer = (this.app.query.get('in') || '').split(',');
    let i = 0;
    return (step || '').replace(/\[\*\]$/, '').replaceAll('[*]', () => `[${outer[i++] || 0}]`);
  }
  showflow() {
    if (this.whole.failed) { this.body.replaceChildren(h('div', { class: 'empty' }, 'The definition is not known any more: Field, Time and the list have what the history has.')); return Promise.resolve(); }
    this.flow.draw(this.whole, this.app.query.get('at'));
    this.flow.update(this.counts, this.ended);
    this.body.replaceChildren(this.flow.el);
    this.flow.wire();
    this.delivered().catch(() => {});
    return this.inSpan();
  }
  // delivered asks what became of the event of the run's end at its destinations.
  async delivered() {
    if (!this.ended && this.facts.state !== 'ending') return;
    const ends = {};
    for (const x of [...(this.whole.onSuccess || []), ...(this.whole.onFailure || [])].slice(0, 10)) {
      const said = await this.ask('/steps', { path: x.path, limit: 100 }), all = [...said.steps.filter(s => !s.again), ...(said.open || [])], last = all[all.length - 1];
      if (last) ends[x.path] = { [last.outcome === 'open' ? last.state || 'running' : last.outcome]: 1 };
    }
    this.ends = ends;
    Object.assign(this.counts, ends);
    this.flow.update(this.counts, this.ended);
  }
  async showfield(step) {
    const many = this.def ? [...steps(this.def)].filter(s => s.many) : [];
    const outer = (step.replace(/\[\*\]$/, '').match(/\[\*\]/g) || []).length, inside = (this.app.query.get('in') || '').split(',');
    this.picker.replaceChildren(...[
      many.length > 1 && h('label', null, 'Step ', h('select', { onchange: e => this.app.set({ step: e.target.value, in: '', sel: '' }) }, many.map(s => h('option', { value: s.path, selected: s.path === step }, s.path)))),
      ...Array.from({ length: outer }, (_, i) => h('label', null, `within [${i + 1}] `, h('input', { type: 'number', min: 0, value: inside[i] || 0, style: { width: '90px' }, onchange: e => { inside[i] = e.target.value; this.app.set({ in: inside.map(x => x || 0).join(','), sel: '' }); } }))),
    ].filter(Boolean));
    if (!step) { this.body.replaceChildren(h('div', { class: 'empty' }, 'No step has begun yet.')); return; }
    this.group = this.groupOf(step);
    this.cursor = '';
    if (!this.field) this.field = new Field({ select: (i, open) => i >= 0 && (open ? this.app.set({ sel: this.branch(i) }) : this.field.mark(i)), only: w => this.app.set({ state: this.app.query.get('state') === w ? '' : w }) });
    this.body.replaceChildren(this.field.el);
    await Promise.all([this.load(), this.within()]);
    this.listen();
  }
  // branch is the path of one: a step that runs once has no index.
  branch(i) { return this.single ? this.group : `${this.group}[${i}]`; }
  // within asks which branches were at work in the time that is looked at.
  async within() {
    const span = this.span, group = this.group;
    if (!span) { this.bits = undefined; return; }
    const iso = t => new Date(Math.round(t)).toISOString();
    const said = await this.ask('/field', { step: group, from: iso(span[0]), to: iso(span[1]) });
    if (group !== this.group || !this.field) return;
    this.bits = Uint8Array.from(atob(said.within || ''), c => c.charCodeAt(0));
    this.field.filter(this.app.query.get('state') || '', this.bits);
    this.listSoon();
  }
  async load() {
    const group = this.group, early = this.early && this.early.group === group && this.early.said;
    this.early = undefined;
    const said = await (early || this.ask('/field', { step: group }));
    if (group !== this.group || !this.field) return;
    this.cursor = said.cursor;
    this.single = !!said.counts && !said.counts.path.endsWith('[*]');
    this.field.set(unpack(said));
    this.listSoon();
  }
  async showtime() {
    if (!this.time) this.time = new Time({ select: path => /\[\*\]/.test(path) ? this.app.set({ step: path, view: 'field' }) : this.app.set({ sel: path }), brush: r => this.app.set({ t: r ? r.map(x => (Math.max(0, x - ms(this.facts.started)) / 1000).toFixed(3) + 's').join('..') : '' }) });
    const begun = ms(this.facts.started), [from, to] = this.span || [begun, this.end], said = await this.strips(from, to);
    if (!this.time) return;
    this.some = this.span ? said : undefined;
    const outer = new Set(this.def ? [...steps(this.def)].filter(s => s.steps).map(s => s.path) : []), bin = (to - from) / ((said.strips || [])[0] || { running: [0] }).running.length;
    const rows = said.steps ? rowsOf(said.steps.map(s => ({ path: s.path, call: s.n ? 1 : 0, state: s.outcome === 'open' ? 'running' : s.outcome, queued: ms(s.queued), sent: ms(s.sent), ended: ms(s.ended) })), pattern)
      : said.strips.map(s => ({ path: s.path, total: s.total, strip: s.queued.map((x, i) => ({ queued: x, running: s.running[i], failed: s.failed[i] })), begin: s.running.findIndex((x, i) => x || s.queued[i]),
        frame: s.total === 1 && outer.has(s.path) ? [from + bin * s.running.findIndex(Boolean), from + bin * (s.running.findLastIndex(Boolean) + 1)] : undefined, state: s.failed.some(Boolean) ? 'failed' : '' }))
        .sort((a, b) => a.begin - b.begin || !!b.frame - !!a.frame);
    this.time.set(rows, from, to, [begun, this.end]);
    if (this.body.firstChild !== this.time.el) { this.body.replaceChildren(this.time.el); this.time.draw(); }
  }

  listSoon() { if (!this.listing) this.listing = setTimeout(() => { this.listing = 0; this.lists(); }, 500); }
  // lists shows the branches of the field, or else the steps: what failed first, then what is open.
  async lists() {
    const only = this.app.query.get('state') || '';
    if (this.field) { this.branches(only); return; }
    const by = this.app.query.get('list') || '';
    if (!this.table || this.table.of !== 'steps') {
      this.table = Object.assign(new Table([
        { name: 'State', cell: s => stateOf(s), sig: s => [s.outcome, s.again, s.state] },
        { name: 'Step', cell: s => h('a', { href: '?' + this.drawer.link(s.path), onclick: e => { e.preventDefault(); e.stopPropagation(); this.app.set({ sel: s.path }); } }, s.path || 'the whole flow'), sig: s => s.path },
        { name: 'Calls', class: 'opt', cell: s => s.function || s.starts || '' },
        { name: 'Try', class: 'num opt', cell: s => s.attempt ? String(s.attempt) : '' },
        { name: 'Took', class: 'num', cell: s => took((ms(s.ended) || Date.now()) - ms(s.queued), s.outcome === 'open') },
        { name: 'Error', class: 'wide', cell: s => s.error ? `${s.error.type}: ${cut(s.error.message || '', 200)}` : '' },
      ], { key: s => [s.path, s.n || '', s.attempt || '', s.outcome].join(' '), label: 'Steps, failed first' }), { of: 'steps' });
      this.orders = h('div', { class: 'chips bar', role: 'group', 'aria-label': 'Order of the list' }, [['', 'Failed first'], ['open', 'Open'], ['slowest', 'Slowest']].map(([k, text]) => h('button', { type: 'button', 'data-list': k, onclick: () => this.app.set({ list: k }) }, text)));
      this.count_ = h('div', { class: 'foot' });
    }
    const part = params => this.ask('/steps', { limit: page, ...params }), ended = this.ended, span = this.span, some = this.some;
    let rows, text, more;
    try {
      if (span) {
        if (!some) return; // It will be asked for.
        rows = (some.steps || []).slice().sort((a, b) => rank(a) - rank(b)).slice(0, 200);
        text = some.steps ? `${many(rows.length, 'step')} of this time, failed first` : 'More than 200 steps were at work in this time: drag over a shorter one in Time to have them listed.';
      } else if (by === 'slowest') {
        rows = (await part({ slowest: true })).steps;
        text = `The ${many(rows.length, 'call')} that took longest`;
      } else if (by === 'open') {
        rows = ended ? [] : ((await part({ open: true })).open || []).sort((a, b) => rank(a) - rank(b));
        text = ended ? 'The run has ended: nothing is open.' : `${many(rows.length, 'open step')}, waiting first` + (rows.length >= 100 ? '; of those that are many at one place, the first 100' : '');
        rows = rows.slice(0, 200);
      } else {
        const [bad, open, all] = await Promise.all([part({ failed: true }), ended ? { open: [] } : part({ open: true }), part({})]);
        const seen = new Set();
        rows = [...bad.steps, ...(open.open || []).sort((a, b) => rank(a) - rank(b)), ...all.steps].filter(s => { const k = [s.path, s.n, s.attempt, s.outcome].join(' '), had = seen.has(k); seen.add(k); return !had; });
        more = rows.length > page || !!all.next;
        rows = rows.slice(0, page);
        text = `${many(rows.length, 'step')}, failed first, then what is open`;
      }
    } catch { return; } // It is asked again.
    if (this.field || !this.table || by !== (this.app.query.get('list') || '')) return;
    for (const b of this.orders.children) b.setAttribute('aria-pressed', String(b.dataset.list === by));
    this.orders.hidden = !!span;
    this.table.update(rows);
    this.table.el.hidden = !rows.length;
    this.count_.replaceChildren(...[text, more && h('span', null, '; all of them: ', h('code', null, `onward runs get ${this.id} --timeline`))].filter(Boolean));
    if (this.list.firstChild !== this.orders) this.list.replaceChildren(this.orders, this.table.el, this.count_);
  }
  branches(only) {
    if (!this.table || this.table.of !== this.group) {
      const group = this.group;
      this.failures = new Map(); this.failed = 0;
      this.table = Object.assign(new Table([
        { name: 'State', cell: b => state(b.state), sig: b => b.state },
        { name: 'Branch', cell: b => h('a', { href: '?' + this.drawer.link(this.branch(b.i)), onclick: e => { e.preventDefault(); e.stopPropagation(); this.app.set({ sel: this.branch(b.i) }); } }, `[${b.i}]`), sig: b => b.i },
        { name: 'Error', class: 'wide', cell: b => b.error ? `${b.error.type}: ${cut(b.error.message || '', 200)}` : '' },
      ], { key: b => String(b.i), label: 'Branches, failed first' }), { of: group });
      this.shownRows = page;
    }
    const all = this.field.states, c = this.field.counts, rows = [], f = this.field, bad = c[words.indexOf('failed')];
    if (bad > this.failed && !(this.failuresAt > Date.now() - 2000)) { // Why they failed is asked for as they do.
      this.failed = bad; this.failuresAt = Date.now();
      this.ask('/steps', { failed: true, limit: 200 }).then(said => { for (const s of said.steps) this.failures.set(s.path, s.error); this.listSoon(); }).catch(() => {});
    }
    const wanted = only ? [only] : ['failed', 'waiting', 'running', 'queued', 'cancelled', 'skipped', 'pending', 'over', 'succeeded'];
    for (const w of wanted) {
      const s = words.indexOf(w);
      if (!c[s]) continue;
      for (let i = 0, left = c[s]; i < all.length && left && rows.length < this.shownRows; i++) if (all[i] === s) { left--; if (f.has(i)) rows.push({ i, state: w, error: w === 'failed' ? this.failures.get(this.branch(i)) : undefined }); }
      if (rows.length >= this.shownRows) break;
    }
    this.table.update(rows);
    const total = this.bits ? undefined : only ? c[words.indexOf(only)] : all.length;
    this.branchFoot ||= h('div', { class: 'foot' });
    this.branchFoot.replaceChildren(...[this.bits ? `${many(rows.length, 'branch', 'branches')} of this time` : `${n(rows.length)} of ${many(total, 'branch', 'branches')}`, rows.length >= this.shownRows && (total === undefined || rows.length < total) && h('button', { type: 'button', onclick: () => { this.shownRows += page; this.lists(); } }, 'More')].filter(Boolean));
    if (this.list.firstChild !== this.table.el) this.list.replaceChildren(this.table.el, this.branchFoot);
  }

  redrive(from) {
    ask({
      title: 'Redrive: the same run goes on', button: 'Redrive', fields: [
        { name: 'from', label: 'From step (empty: from what failed)', value: from || '', list: this.stepPaths() },
        { name: 'definition', label: 'Definition', options: [{ value: '', text: 'that by which it ran' }, { value: 'latest', text: 'the latest' }] }],
      command: f => `onward runs redrive ${this.id}` + (f.from ? ` --from ${word(f.from)}` : '') + (f.definition ? ' --definition latest' : ''),
      preview: async f => {
        const said = await post(`/v1/runs/${seg(this.id)}/redrive`, { from: f.from, definition: f.definition, dryRun: true });
        return h('div', null, h('p', null, `${many(said.kept, 'step keeps', 'steps keep')} what ${said.kept === 1 ? 'it' : 'they'} gave; ${many(said.again, 'is', 'are')} done again:`), h('ul', null, (said.againSteps || []).slice(0, 50).map(s => h('li', null, h('code', null, s)))),
          said.differs && said.differs.length ? [h('p', null, 'The definition differs:'), h('ul', null, said.differs.map(x => h('li', null, x)))] : '');
      },
      run: async f => { const said = await post(`/v1/runs/${seg(this.id)}/redrive`, { from: f.from, definition: f.definition }); this.revive(); return 'redrive: ' + (said.became || 'taken'); },
    });
  }
  stepPaths() { return this.def ? [...steps(this.def)].map(s => s.path).filter(p => p && !p.includes('[*]')).slice(0, 200) : []; }
  // windows are the steps over lists, of which it can be said how many may be open.
  windows() { return this.def ? [...steps(this.def)].filter(s => s.shape === 'each' || s.shape === 'graph').map(s => this.groupOf(s.path)).filter(Boolean) : []; }
  resize(paths) {
    ask({
      title: 'Change a window', button: 'Change', text: 'How many items of a map may be open at a time, from now on: what is open goes on. A retry of the step begins with the window of the document again.',
      fields: [{ name: 'path', label: 'Step, as it is at work', value: paths[0], list: paths }, { name: 'window', label: 'Items at a time (0: the most)', type: 'number', min: 0, value: '100' }],
      command: f => `onward runs window ${this.id} ${word(f.path)} ${f.window}`,
      run: async f => `window of ${f.path}: ${(await post(`/v1/runs/${seg(this.id)}/window`, { path: f.path, window: f.window })).became}`,
    });
  }
  // revive looks at a run that has ended and goes on.
  async revive() {
    for (let i = 0; i < 20; i++) {
      this.facts = await this.ask('');
      if (!this.ended || i > 2 && this.facts.redrives) break;
      await new Promise(f => setTimeout(f, 100));
    }
    this.rates = [];
    this.draw(); this.listen(); this.reload();
  }
  rerun() {
    ask({
      title: 'Rerun: another run with the same event', button: 'Rerun', fields: [{ name: 'input', label: 'Other data, as JSON (empty: that of this run)', area: true }],
      command: f => `onward runs rerun ${this.id}` + (f.input.trim() ? ` --input ${word(f.input)}` : ''),
      preview: async f => { if (f.input.trim()) JSON.parse(f.input); await post(`/v1/runs/${seg(this.id)}/rerun`, { dryRun: true }, f.input.trim() || undefined); return h('p', null, `Starts another run of ${this.facts.trigger}.`); },
      run: async f => { const said = await post(`/v1/runs/${seg(this.id)}/rerun`, undefined, f.input.trim() || undefined); this.app.go('/runs/' + said.run); return `started run ${said.run}`; },
    });
  }
  runAgain() { if (this.ended && this.facts.error) this.redrive(); else if (this.ended) this.rerun(); }
  cancel() {
    if (this.ended) return;
    ask({
      title: 'Cancel this run', button: 'Cancel the run', danger: true, text: 'Its calls are dropped; what has to be undone is undone first.', fields: [{ name: 'reason', label: 'Reason' }],
      command: f => `onward runs cancel ${this.id}` + (f.reason ? ` --reason ${word(f.reason)}` : ''),
      run: async f => 'cancel: ' + (await post(`/v1/runs/${seg(this.id)}/cancel`, { reason: f.reason })).became,
    });
  }
  pause() {
    const verb = this.facts.paused ? 'resume' : 'pause';
    ask({
      title: verb === 'pause' ? 'Pause this run' : 'Let this run go on', button: verb === 'pause' ? 'Pause' : 'Resume', text: verb === 'pause' ? 'What it calls is not sent; deadlines go on.' : 'What was held back is sent.', fields: verb === 'pause' ? [{ name: 'reason', label: 'Reason' }] : [],
      command: f => `onward runs ${verb} ${this.id}` + (f.reason ? ` --reason ${word(f.reason)}` : ''),
      run: async f => `${verb}: ` + (await post(`/v1/runs/${seg(this.id)}/${verb}`, { reason: f.reason, by: 'page' })).became,
    });
  }
  async signal() {
    const said = await get('/v1/waits', { run: this.id, limit: 20 }).catch(() => ({ waits: [] }));
    if (said.waits.length === 1) { answer(this.id, said.waits[0].signal, undefined, said.waits[0].subject); return; }
    const key = String(Math.random()).slice(2);
    ask({
      title: 'Send a signal', button: 'Send', text: said.waits.length ? 'It waits for ' + said.waits.map(w => w.signal).join(', ') : 'No step waits for a signal now; one that comes early is kept.',
      fields: [{ name: 'name', label: 'Name', value: said.waits[0] ? said.waits[0].signal : '' }, { name: 'data', label: 'Data, as JSON', area: true, value: '{}' }],
      command: f => `onward runs signal ${this.id} ${word(f.name)} --data ${word(f.data)}`,
      preview: async f => { JSON.parse(f.data || 'null'); return h('span'); },
      run: async f => 'signal: ' + (await post(`/v1/runs/${seg(this.id)}/signals/${seg(f.name)}`, undefined, f.data || 'null', { headers: { 'Idempotency-Key': key } })).became,
    });
  }
  key(e) {
    if (!this.facts) return false;
    const q = this.app.query, selected = this.table && this.table.selected();
    switch (e.key) {
      case '1': case '2': case '3': this.app.set({ view: ['flow', 'field', 'time'][e.key - 1] }); return true;
      case 'j': return !!this.table && this.table.move(1);
      case 'k': return !!this.table && this.table.move(-1);
      case 'n': case 'N': {
        const step = e.key === 'n' ? 1 : -1;
        if (!this.field) return !!this.table && this.table.move(step, r => (r.outcome || r.state) === 'failed');
        const i = this.field.next(step);
        if (i >= 0) this.app.set({ sel: this.branch(i) });
        return true;
      }
      case 'Enter':
        if (this.field && this.field.sel >= 0 && document.activeElement === this.field.canvas) { this.app.set({ sel: this.branch(this.field.sel) }); return true; }
        if (selected && document.activeElement.tagName !== 'BUTTON') { this.app.set({ sel: selected.path || (selected.i === undefined ? '' : this.branch(selected.i)) }); return true; }
        return false;
      case 'Escape':
        if (q.get('sel')) { this.app.set({ sel: '' }); return true; }
        if (q.get('t')) { this.app.set({ t: '' }); return true; }
        if (q.get('at')) { this.app.set({ at: '' }); return true; }
        return false;
      case 'w': case 's': { const t = this.field || this.time; if (t) t.zoomBy(e.key === 'w' ? 1.6 : 1 / 1.6); return !!t; }
      case 'a': case 'd': { const t = this.field || this.time; if (t) t.pan(e.key === 'a' ? -1 : 1); return !!t; }
      case 'r': if (this.app.can('operate')) this.runAgain(); return true;
      case 'x': if (this.app.can('operate')) this.cancel(); return true;
      case 'p': this.held = !this.held; this.listen(); return true;
    }
  }
  close() {
    this.hush(); this.flow.close(); this.field && this.field.close(); this.time && this.time.close();
    clearTimeout(this.listing);
    document.removeEventListener('visibilitychange', this.seen);
  }
}

// What somebody can do something about comes before how long it may take.
const first = r => ({ paused: 0, queued: 1, signal: 2 }[r.kind] ?? 3);
const lines = said => [...(said.reasons || [])].sort((a, b) => first(a) - first(b)).map(r => (r.path ? r.path + ': ' : '') + r.text);
const isOf = s => s.again ? 'failed' : s.outcome === 'open' ? s.state || 'running' : s.outcome;
const stateOf = s => state(isOf(s), s.again ? 'tried again' : isOf(s));
const rank = s => ['failed', 'waiting', 'running', 'queued'].indexOf(s.again ? '' : isOf(s)) >>> 0;

// unpack gives a byte for each branch: they come two in one.
function unpack(said) {
  const text = atob(said.states || ''), out = new Uint8Array(said.size);
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i >> 1) >> (i % 2 * 4) & 15;
  return out;
}
