// One run: what it is at and why, its definition with counts (Flow), its branches (Field), its times (Time), a list of them, and a drawer of one.
import { h, state, icon, n, took, ms, utc, when, json, cut, Table } from './dom.js';
import { get, post, seg, live } from './api.js';
import { ask, word, wrong, command, copy } from './ask.js';
import { answer } from './waits.js';
import { Flow, steps, order } from './flow.js';
import { Field, words } from './field.js';
import { Time, rowsOf, single } from './time.js';
import { Drawer } from './drawer.js';

const pattern = path => path.replaceAll(/\[\d+\]/g, '[*]');
const done = s => ['succeeded', 'failed', 'skipped', 'cancelled'].includes(s);
const page = 50;

export default function run(main, app, id) {
  app.title('Run ' + id.slice(0, 12));
  const v = new View(main, app, id);
  v.begin().catch(e => v.trouble.replaceChildren(wrong(e))); // Keys and the address count from the first moment on.
  return { update: () => v.fit(), key: e => v.key(e), close: () => v.close() };
}

class View {
  constructor(main, app, id) {
    Object.assign(this, { app, id, counts: {}, rates: [] });
    this.top = h('div', { class: 'bar' });
    this.whys = h('div', { class: 'why', role: 'status' });
    this.sums = h('div', { class: 'facts' });
    this.head = h('div', { class: 'head' }, this.top, this.whys, this.sums);
    this.trouble = h('div');
    this.tabs = h('div', { class: 'views', role: 'tablist', 'aria-label': 'Views' }, ['flow', 'field', 'time'].map((name, i) => h('button', { type: 'button', role: 'tab', 'data-view': name, title: `key ${i + 1}`, onclick: () => app.set({ view: name, t: '' }) }, name[0].toUpperCase() + name.slice(1))));
    this.body = h('div', { role: 'tabpanel' });
    this.picker = h('div', { class: 'bar' });
    this.list = h('div');
    this.result = h('div');
    this.drawer = new Drawer(id, { app, close: () => app.set({ sel: '' }), again: from => this.redrive(from) });
    this.split = h('div', { class: 'split' }, h('div', null, this.tabs, this.picker, this.body, this.list, this.result));
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
    const why = this.ask('/explain').then(lines, () => []);
    const [head, flow] = await Promise.all([this.ask(''), this.ask('/flow').catch(e => ({ failed: e }))]);
    this.def = flow.flow;
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
    source.onerror = () => { live('the router does not answer; asking again'); if (source.readyState === EventSource.CLOSED) { clearTimeout(this.retry); this.retry = setTimeout(() => this.listen(), 1500); } };
    source.addEventListener('run', e => {
      const said = JSON.parse(e.data);
      this.facts = said.run; this.why = lines(said);
      if (said.steps) this.count(said.steps);
      this.draw();
      this.fresh();
      if (this.ended) { source.close(); this.reload(); live(''); }
    });
    source.addEventListener('field', e => {
      const said = JSON.parse(e.data);
      this.cursor = said.cursor;
      if (!this.field) return;
      if (said.states) this.field.set(unpack(said));
      else if (said.size !== this.field.states.length) this.load();
      else { const at = [], is = []; for (let i = 0; i < said.changed.length; i += 2) { at.push(said.changed[i]); is.push(said.changed[i + 1]); } this.field.tick(at, is); }
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
    this.counts = counts;
    this.rates.push([Date.now(), over]);
    while (this.rates.length > 2 && this.rates[0][0] < Date.now() - 10_000) this.rates.shift();
    this.flow.update(counts);
  }
  total(path) { return Object.values(this.counts[path] || {}).reduce((a, b) => a + b, 0); }
  totals() {
    const out = {};
    for (const c of Object.values(this.counts)) for (const [k, x] of Object.entries(c)) out[k] = (out[k] || 0) + x;
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
      this.gave();
      this.top.replaceChildren(h('h1', null, state(is)), h('b', null, r.trigger), h('code', { class: 'sub' }, this.id), h('button', { type: 'button', class: 'quiet', onclick: () => copy(this.id) }, 'Copy id'), h('span', { class: 'grow' }), ...this.buttons());
    }
    if (changed(this.whys, this.why, this.ended)) {
      this.whys.replaceChildren(...[why.map((line, i) => h('div', { class: i ? 'sub' : r.error && this.ended ? 'error' : '' }, cut(line, 600))), this.why.length > why.length && h('div', { class: 'sub' }, `and ${n(this.why.length - why.length)} more lines: onward runs explain ${this.id}`)].flat().filter(Boolean));
    }
    if (changed(this.sums, r.calls, sums, Math.floor(lasted / 1000), rate && Math.round(rate), r.redrives, this.ended)) {
      this.sums.replaceChildren(...[order.filter(k => sums[k]).map(k => h('span', { class: 'state ' + k }, icon(k), h('span', null, `${n(sums[k])} ${k}`))),
        fact('started', utc(r.started).slice(0, 19) + ' UTC'), fact(this.ended ? 'took' : 'for', took(lasted)), fact('calls', n(r.calls)), rate !== undefined && fact('a second', n(Math.round(rate))), eta && fact('done in about', took(eta)),
        r.redrives && fact('redrives', n(r.redrives)), event.id && h('span', null, 'event ', h('a', { href: '/events?id=' + seg(event.id) }, event.id)), event.parentrun && h('span', null, 'started by ', h('a', { href: '/runs/' + event.parentrun }, event.parentrun.slice(0, 12) + '…'))].flat().filter(Boolean));
    }
  }
  // gave shows what the run gave, or by which error it ended.
  gave() {
    const r = this.facts, v = r.error ? r.error.data : r.result;
    if (!this.ended || v === undefined || v === null) { this.result.replaceChildren(); return; }
    this.result.replaceChildren(h('h2', null, r.error ? 'Data of the error' : 'Result'), h('pre', { tabindex: '0' }, cut(json(v), 20_000)), h('h2', null, 'Event'), h('pre', { tabindex: '0' }, cut(json(r.event), 20_000)));
  }
  buttons() {
    if (!this.app.may('operate')) return [h('button', { type: 'button', onclick: () => copy('onward runs explain ' + this.id) }, 'Copy command')];
    const b = (name, f, cls) => h('button', { type: 'button', class: cls, onclick: f }, name);
    if (this.ended) return [this.facts.error && b('Redrive…', () => this.redrive()), b('Rerun…', () => this.rerun())].filter(Boolean);
    return [b('Signal…', () => this.signal()), b(this.facts.paused ? 'Resume…' : 'Pause…', () => this.pause()), b('Cancel…', () => this.cancel(), 'danger')];
  }

  // fit makes the view what the address says.
  async fit(again) {
    if (!this.facts) return; // It will, once it is known what there is.
    const q = this.app.query, view = ['field', 'time'].includes(q.get('view')) ? q.get('view') : 'flow';
    for (const t of this.tabs.children) t.setAttribute('aria-selected', String(t.dataset.view === view));
    const step = q.get('step') || (view === 'field' ? this.widest ||= this.findWidest() : '');
    const want = [view, view === 'field' ? this.groupOf(step) : '', view === 'flow' ? q.get('at') : '', view === 'time' ? q.get('t') : ''].join('\n');
    const sel = q.get('sel') || '';
    if (want !== this.shown || again) {
      this.shown = want;
      if (this.field && view !== 'field') { this.field.close(); this.field = undefined; this.group = ''; this.listen(); }
      if (this.time && view !== 'time') { this.time.close(); this.time = undefined; }
      this.picker.replaceChildren();
      await this['show' + view](step).catch(e => this.body.replaceChildren(wrong(e)));
    }
    this.flow.mark(step);
    this.step = step;
    this.split.classList.toggle('open', !!sel);
    if (sel) {
      if (!this.drawer.el.isConnected) this.split.append(this.drawer.el);
      const at = sel.match(/^(.*)\[(\d+)\]/);
      if (this.field && at && at[1] === this.group) this.field.mark(+at[2]);
      if (this.drawer.path !== sel || again) { this.drawer.el.replaceChildren(); this.drawer.open(sel); }
    } else { this.drawer.el.remove(); this.drawer.path = undefined; if (this.field) { this.field.sel = -1; this.field.later(); } }
    this.lists();
  }
  // fresh asks again for what is open in the drawer, not more than once a second.
  fresh() {
    if (this.drawer.path && !(this.freshed > Date.now() - 1000)) { this.freshed = Date.now(); this.drawer.open(this.drawer.path); }
    if (this.time && !(this.timed > Date.now() - 2000)) { this.timed = Date.now(); this.showtime().catch(() => {}); }
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
    if (!this.def) { this.body.replaceChildren(h('div', { class: 'empty' }, 'This trigger has no flow: its event goes straight to the destinations.')); return Promise.resolve(); }
    this.flow.draw(this.def, this.app.query.get('at'));
    this.flow.update(this.counts);
    this.body.replaceChildren(this.flow.el);
    this.flow.wire();
    return Promise.resolve();
  }
  async showfield(step) {
    const many = this.def ? [...steps(this.def)].filter(s => s.many) : [];
    const outer = (step.replace(/\[\*\]$/, '').match(/\[\*\]/g) || []).length, inside = (this.app.query.get('in') || '').split(',');
    this.picker.replaceChildren(...[
      many.length > 1 && h('label', null, 'Step ', h('select', { onchange: e => this.app.set({ step: e.target.value, in: '', sel: '' }) }, many.map(s => h('option', { value: s.path, selected: s.path === step }, s.path)))),
      ...Array.from({ length: outer }, (_, i) => h('label', null, `within [${i + 1}] `, h('input', { type: 'number', min: 0, value: inside[i] || 0, style: { width: '90px' }, onchange: e => { inside[i] = e.target.value; this.app.set({ in: inside.map(x => x || 0).join(','), sel: '' }); } }))),
    ].filter(Boolean));
    if (!step) { this.body.replaceChildren(h('div', { class: 'empty' }, 'Nothing has begun.')); return; }
    this.group = this.groupOf(step);
    this.cursor = '';
    if (!this.field) this.field = new Field({ select: (i, open) => i >= 0 && (open ? this.app.set({ sel: `${this.group}[${i}]` }) : this.field.mark(i)) });
    this.body.replaceChildren(this.field.el);
    await this.load();
    this.listen();
  }
  async load() {
    const group = this.group, early = this.early && this.early.group === group && this.early.said;
    this.early = undefined;
    const said = await (early || this.ask('/field', { step: group }));
    if (group !== this.group || !this.field) return;
    this.cursor = said.cursor;
    this.field.set(unpack(said));
    this.listSoon();
  }
  async showtime() {
    if (!this.time) this.time = new Time({ select: path => /\[\*\]/.test(path) ? this.app.set({ step: path, view: 'field' }) : this.app.set({ sel: path }), brush: r => this.app.set({ t: r ? r.map(x => ((x - this.begun) / 1000).toFixed(3) + 's').join('..') : '' }) });
    const begun = this.begun = ms(this.facts.started), end = this.ended ? ms(this.facts.ended) : Date.now();
    const at = (this.app.query.get('t') || '').match(/^([\d.]+)s\.\.([\d.]+)s$/);
    const [from, to] = at ? [begun + at[1] * 1000, begun + at[2] * 1000] : [begun, end];
    const iso = t => new Date(Math.round(t)).toISOString();
    const said = await this.ask('/strips', { from: iso(from), to: iso(to), bins: Math.max(60, Math.min(240, Math.floor(this.body.clientWidth / 5))), single });
    if (!this.time) return;
    const rows = said.steps ? rowsOf(said.steps.map(s => ({ path: s.path, call: s.n ? 1 : 0, state: s.outcome === 'open' ? 'running' : s.outcome, queued: ms(s.queued), sent: ms(s.sent), ended: ms(s.ended) })), pattern)
      : said.strips.map(s => ({ path: s.path, total: s.total, strip: s.queued.map((x, i) => ({ queued: x, running: s.running[i], failed: s.failed[i] })) }));
    this.time.set(rows, from, to, [begun, end]);
    if (this.body.firstChild !== this.time.el) this.body.replaceChildren(this.time.el);
  }

  listSoon() { if (!this.listing) this.listing = setTimeout(() => { this.listing = 0; this.lists(); }, 500); }
  // lists shows the branches of the field, or else the steps: what failed first.
  async lists() {
    const only = this.app.query.get('state') || '';
    if (this.field) { this.branches(only); return; }
    if (!this.table || this.table.of !== 'steps') {
      this.table = Object.assign(new Table([
        { name: 'State', cell: s => state(s.again ? 'failed' : s.outcome, s.again ? 'tried again' : s.outcome), sig: s => [s.outcome, s.again] },
        { name: 'Step', cell: s => h('a', { href: '?' + this.drawer.link(s.path), onclick: e => { e.preventDefault(); e.stopPropagation(); this.app.set({ sel: s.path }); } }, s.path), sig: s => s.path },
        { name: 'Calls', class: 'opt', cell: s => s.function || s.starts || '' },
        { name: 'Try', class: 'num opt', cell: s => s.attempt ? String(s.attempt) : '' },
        { name: 'Took', class: 'num', cell: s => took((ms(s.ended) || Date.now()) - ms(s.queued)) },
        { name: 'Error', class: 'wide', cell: s => s.error ? `${s.error.type}: ${cut(s.error.message || '', 200)}` : '' },
      ], { key: s => [s.path, s.n || '', s.attempt || '', s.outcome].join(' '), label: 'Steps, failed first' }), { of: 'steps' });
    }
    const [bad, all] = await Promise.all([this.ask('/steps', { failed: true, limit: page }), this.ask('/steps', { limit: page })]).catch(() => []);
    if (!all) return;
    const seen = new Set(bad.steps.map(s => s.path + ' ' + s.n));
    const rows = [...bad.steps, ...(all.open || []), ...all.steps.filter(s => !seen.has(s.path + ' ' + s.n))].slice(0, page);
    this.table.update(rows);
    this.list.replaceChildren(rows.length ? this.table.el : '', rows.length ? h('div', { class: 'foot' }, `${n(rows.length)} steps, failed first`, all.next && h('span', null, ' of more: ', h('code', null, `onward runs get ${this.id} --timeline`))) : '');
  }
  branches(only) {
    if (!this.table || this.table.of !== this.group) {
      const group = this.group;
      this.failures = new Map();
      this.ask('/steps', { failed: true, limit: 200 }).then(said => { for (const s of said.steps) this.failures.set(s.path, s.error); this.listSoon(); }).catch(() => {});
      this.table = Object.assign(new Table([
        { name: 'State', cell: b => state(b.state), sig: b => b.state },
        { name: 'Branch', cell: b => h('a', { href: '?' + this.drawer.link(`${group}[${b.i}]`), onclick: e => { e.preventDefault(); e.stopPropagation(); this.app.set({ sel: `${group}[${b.i}]` }); } }, `[${b.i}]`), sig: b => b.i },
        { name: 'Error', class: 'wide', cell: b => b.error ? `${b.error.type}: ${cut(b.error.message || '', 200)}` : '' },
      ], { key: b => String(b.i), label: 'Branches, failed first' }), { of: group });
      this.shownRows = page;
    }
    const all = this.field.states, c = this.field.counts, rows = [];
    const wanted = only ? [only] : ['failed', 'waiting', 'running', 'queued', 'cancelled', 'skipped', 'pending', 'over', 'succeeded'];
    for (const w of wanted) {
      const s = words.indexOf(w);
      if (!c[s]) continue;
      for (let i = 0, left = c[s]; i < all.length && left && rows.length < this.shownRows; i++) if (all[i] === s) { left--; rows.push({ i, state: w, error: w === 'failed' ? this.failures.get(`${this.group}[${i}]`) : undefined }); }
      if (rows.length >= this.shownRows) break;
    }
    this.table.update(rows);
    const total = only ? c[words.indexOf(only)] : all.length;
    const chips = h('div', { class: 'chips bar' }, order.filter(w => c[words.indexOf(w)]).map(w => h('button', { type: 'button', 'aria-pressed': String(w === only), onclick: () => this.app.set({ state: w === only ? '' : w }) }, icon(w), `${w} ${n(c[words.indexOf(w)])}`)));
    this.list.replaceChildren(chips, this.table.el, h('div', { class: 'foot' }, `${n(rows.length)} of ${n(total)} branches`, rows.length < total && h('button', { type: 'button', onclick: () => { this.shownRows += page; this.lists(); } }, 'More')));
  }

  redrive(from) {
    ask({
      title: 'Redrive: the same run goes on', button: 'Redrive', fields: [
        { name: 'from', label: 'From step (empty: from what failed)', value: from || '' },
        { name: 'definition', label: 'Definition', options: [{ value: '', text: 'that by which it ran' }, { value: 'latest', text: 'the latest' }] }],
      command: f => `onward runs redrive ${this.id}` + (f.from ? ` --from ${word(f.from)}` : '') + (f.definition ? ' --definition latest' : ''),
      preview: async f => {
        const said = await post(`/v1/runs/${seg(this.id)}/redrive`, { from: f.from, definition: f.definition, dryRun: true });
        return h('div', null, h('p', null, `${n(said.kept)} steps keep what they gave; ${n(said.again)} are done again:`), h('ul', null, (said.againSteps || []).slice(0, 50).map(s => h('li', null, h('code', null, s)))),
          said.differs && said.differs.length ? [h('p', null, 'The definition differs:'), h('ul', null, said.differs.map(x => h('li', null, x)))] : '');
      },
      run: async f => { const said = await post(`/v1/runs/${seg(this.id)}/redrive`, { from: f.from, definition: f.definition }); this.revive(); return 'redrive: ' + (said.became || 'taken'); },
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
    if (said.waits.length === 1) { answer(this.id, said.waits[0].signal); return; }
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
      case '1': case '2': case '3': this.app.set({ view: ['flow', 'field', 'time'][e.key - 1], t: '' }); return true;
      case 'j': return !!this.table && this.table.move(1);
      case 'k': return !!this.table && this.table.move(-1);
      case 'n': case 'N': {
        const step = e.key === 'n' ? 1 : -1;
        if (!this.field) return !!this.table && this.table.move(step, r => (r.outcome || r.state) === 'failed');
        const i = this.field.next(step);
        if (i >= 0) this.app.set({ sel: `${this.group}[${i}]` });
        return true;
      }
      case 'Enter':
        if (this.field && this.field.sel >= 0 && document.activeElement === this.field.canvas) { this.app.set({ sel: `${this.group}[${this.field.sel}]` }); return true; }
        if (selected && document.activeElement.tagName !== 'BUTTON') { this.app.set({ sel: selected.path || `${this.group}[${selected.i}]` }); return true; }
        return false;
      case 'Escape':
        if (q.get('sel')) { this.app.set({ sel: '' }); return true; }
        if (q.get('at')) { this.app.set({ at: '' }); return true; }
        return false;
      case 'w': case 's': { const t = this.field || this.time; if (t) t.zoomBy(e.key === 'w' ? 1.6 : 1 / 1.6); return !!t; }
      case 'a': case 'd': { const t = this.field || this.time; if (t) t.pan(e.key === 'a' ? -1 : 1); return !!t; }
      case 'r': if (this.app.may('operate')) this.runAgain(); return true;
      case 'x': if (this.app.may('operate')) this.cancel(); return true;
      case 'p': this.held = !this.held; this.listen(); return true;
    }
  }
  close() {
    this.hush(); this.flow.close(); this.field && this.field.close(); this.time && this.time.close();
    clearTimeout(this.listing);
    document.removeEventListener('visibilitychange', this.seen);
  }
}

const lines = said => (said.reasons || []).map(r => (r.path ? r.path + ': ' : '') + r.text);

// unpack gives a byte for each branch: they come two in one.
function unpack(said) {
  const text = atob(said.states || ''), out = new Uint8Array(said.size);
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i >> 1) >> (i % 2 * 4) & 15;
  return out;
}
