// The page's frame: which view an address is, the keys, and what is told on top. The address is all of the state: who is sent it sees the same.
import { h, n } from './dom.js';
import { get, live } from './api.js';
import { copy, open, close, say, wrong } from './ask.js';

// A view's module is fetched when it is first shown; the frame has told the browser of the one that its address asks for.
const part = name => () => import('./parts.js').then(m => m[name]);
const of = file => () => import(file).then(m => m.default);
const views = [[/^\/(?:runs)?$/, of('./runs.js')], [/^\/runs\/([^/]+)$/, of('./run.js')], [/^\/waits$/, of('./waits.js')], [/^\/dead$/, of('./dead.js')], [/^\/events$/, of('./events.js')], [/^\/triggers$/, part('triggers')], [/^\/functions$/, part('functions')], [/^\/routers$/, part('routers')]];
const main = document.getElementById('main');
let at; // the view that is open: { view, args, update, key, close }

// app is what views are given of the frame.
const app = {
  me: { name: '', right: 'admin' },
  get query() { return new URLSearchParams(location.search); },
  // set changes the address; undefined and '' take a key away.
  set(changes, { push = false } = {}) {
    const url = new URL(location.href);
    for (const [k, v] of Object.entries(changes)) v === undefined || v === '' || v === null ? url.searchParams.delete(k) : url.searchParams.set(k, v);
    if (url.href === location.href) return;
    history[push ? 'pushState' : 'replaceState'](null, '', url);
    show();
  },
  go(path) { history.pushState(null, '', path); show(true); },
  title(text) { document.title = text + ' - Onward'; },
  // head begins a page of lists: its name, what it is for in a sentence, and what is on it.
  head(name, about, ...parts) { main.append(h('div', { class: 'lede' }, h('h1', null, name), h('p', { class: 'sub' }, about)), h('div', { id: 'trouble' }), ...parts); },
  // can is may for a key: it says why it does nothing.
  can(right) { const is = app.may(right); if (!is) say(`This token may only ${app.me.right}: it takes one with the right to ${right} to change anything.`); return is; },
  may(right) { return { read: 0, operate: 1, admin: 2 }[app.me.right] >= { read: 0, operate: 1, admin: 2 }[right]; },
};

async function show(focus) {
  const hit = views.map(([re, view]) => [location.pathname.match(re), view]).find(([m]) => m);
  const [m, view] = hit || [[], async () => lost];
  const args = m.slice(1).map(decodeURIComponent);
  for (const a of document.querySelectorAll('nav a')) {
    const on = a.pathname === location.pathname || a.pathname === '/runs' && /^\/($|runs\/)/.test(location.pathname);
    on ? a.setAttribute('aria-current', 'page') : a.removeAttribute('aria-current');
  }
  reveal();
  if (at && at.view === view && String(at.args) === String(args)) {
    at.update && at.update();
    return;
  }
  if (at && at.close) at.close();
  if (document.getElementById('dialog').open) close();
  main.replaceChildren();
  if (!app.may('operate')) main.append(h('p', { class: 'note' }, `You look on: the token ${app.me.name || ''} has the right to ${app.me.right}. What changes something needs one with the right to operate, and its buttons are not shown.`));
  live('');
  if (focus) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
  at = { view, args };
  const mine = at;
  try {
    const open = await view();
    if (mine !== at) return; // Somebody was faster.
    const opened = await open(main, app, ...args);
    if (mine === at) Object.assign(at, opened);
    else if (opened && opened.close) opened.close();
  } catch (e) {
    if (mine === at) main.append(wrong(e));
  }
}

// reveal keeps the name of the page that is shown in sight, where not all fit.
function reveal() {
  const a = document.querySelector('nav a[aria-current]'), nav = a && a.parentElement;
  if (nav && nav.scrollWidth > nav.clientWidth) nav.scrollLeft = a.offsetLeft - nav.offsetLeft - (nav.clientWidth - a.offsetWidth) / 2;
}

function lost(el) {
  app.title('Nothing here');
  el.append(h('h1', { class: 'hidden' }, 'Nothing here'), h('div', { class: 'empty' }, h('p', null, 'There is no page of this address.'), h('a', { href: '/runs' }, 'All runs')));
}

document.addEventListener('click', e => {
  const a = e.target.closest('a[href^="/"]');
  if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.hasAttribute('download') || a.pathname.startsWith('/v1/')) return;
  e.preventDefault();
  app.go(a.href);
});
addEventListener('popstate', () => show());

const keys = [
  ['j k', 'next and previous'], ['n N', 'next and previous that failed'], ['Enter', 'open'], ['Esc', 'close, or back'], ['1 2 3', 'views of a run: Flow, Field, Time'],
  ['w a s d', 'zoom in and out, left and right, in Field and Time'], ['/', 'filter'], ['r', 'run again: redrive or rerun'], ['x', 'cancel'], ['p', 'stop and go on with live changes'],
  ['y', 'copy the address of what is shown'], ['?', 'this list'],
];
function help() {
  open('Keys', h('div', { class: 'keys' }, keys.flatMap(([k, what]) => [h('span', null, k.split(' ').map(x => [h('kbd', null, x), ' '])), h('span', null, what)])),
    h('div', { class: 'ends' }, h('button', { type: 'button', onclick: close }, 'Close')));
}
document.getElementById('help').addEventListener('click', help);

addEventListener('keydown', e => {
  if (e.metaKey || e.ctrlKey || e.altKey || document.getElementById('dialog').open) return;
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
  if (typing) {
    if (e.key === 'Escape') { e.target.blur(); e.preventDefault(); }
    return;
  }
  if (e.key === '?') help();
  else if (e.key === 'y') copy(location.href);
  else if (e.key === '/') { const f = main.querySelector('[data-filter]'); if (!f) return; f.focus(); f.select && f.select(); }
  else if (!(at && at.key && at.key(e))) {
    if (e.key !== 'Escape' || location.pathname === '/runs') return;
    history.length > 1 ? history.back() : app.go('/runs');
  }
  e.preventDefault();
});

// The counts beside the names of pages that somebody has to look at.
async function counts() {
  if (!document.hidden) {
    for (const [path, ask] of [['/waits', () => get('/v1/waits', { limit: 1 })], ['/dead', () => get('/v1/dead', { group: 'cause' })]]) {
      const said = await ask().catch(() => undefined);
      const a = document.querySelector(`nav a[href="${path}"]`);
      let el = a.querySelector('.count');
      if (!said || !said.total) { if (said && el) el.remove(); continue; }
      if (!el) a.append(el = h('span', { class: 'count' }));
      el.textContent = n(said.total);
    }
    reveal();
  }
  setTimeout(counts, 10_000);
}

if (document.body.dataset.login === undefined) { show(); counts(); } else {
  const me = await fetch('/session', { credentials: 'same-origin' }).then(r => r.json()).catch(() => ({}));
  if (!me.right) location.assign('/login?next=' + encodeURIComponent(location.pathname + location.search));
  else {
    Object.assign(app.me, me);
    document.getElementById('logout').hidden = false;
    show();
    counts();
  }
}
