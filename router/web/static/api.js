// How the page asks the router: the same API as the command's, with the session's cookie.

import { h } from './dom.js';
import { wrong } from './ask.js';

export class Refused extends Error {
  constructor(status, said) {
    super(said.message || 'status ' + status);
    this.status = status; this.code = said.code; this.cure = said.cure;
  }
}

// send asks, and gives the answer if it is none of refusal.
async function send(method, path, params, { body, headers, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [k, v] of Object.entries(params || {})) if (v !== undefined && v !== null && v !== '') url.searchParams.set(k, v);
  let answer;
  try {
    answer = await fetch(url, { method, body, headers, signal, credentials: 'same-origin', redirect: 'error' });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Refused(0, { message: 'the router does not answer', cure: 'see whether it runs; the page goes on by itself' });
  }
  if (answer.status === 401) {
    location.assign('/login?next=' + encodeURIComponent(location.pathname + location.search));
    throw new Refused(401, { message: 'log in' });
  }
  if (!answer.ok) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error || {});
  return answer;
}

async function ask(method, path, params, o) {
  const answer = await send(method, path, params, o);
  const said = await answer.json();
  said.unanswered = answer.headers.get('Onward-Unanswered') || undefined;
  return said;
}

// lines asks for what is told line by line, as it is done.
export async function* lines(path, params) {
  const answer = await send('POST', path, params, { headers: { Accept: 'application/x-ndjson' } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ;) {
    const { value, done } = await reader.read();
    const all = (rest + (value || '')).split('\n');
    rest = done ? '' : all.pop();
    for (const line of all) if (line) yield JSON.parse(line);
    if (done) return;
  }
}

export const get = (path, params, o) => ask('GET', path, params, o);
export const post = (path, params, body, o) => ask('POST', path, params, body === undefined ? o : { ...o, body, headers: { 'Content-Type': 'application/json', ...(o && o.headers) } });
export const del = (path, params) => ask('DELETE', path, params);
export const seg = encodeURIComponent;

// A Poll asks again and again, as long as somebody looks: never faster than every second, and seldom what takes the router long.
export class Poll {
  constructor(f, every = 1000) {
    this.f = f; this.every = every; this.stopped = false; this.held = false;
    this.seen = () => { if (!document.hidden && !this.held) this.now(); };
    document.addEventListener('visibilitychange', this.seen);
    this.now();
  }
  async now() {
    clearTimeout(this.timer);
    if (this.busy) { this.again = true; return this.busy; }
    this.busy = this.once();
    await this.busy;
    this.busy = undefined;
    if (this.again) { this.again = false; return this.now(); }
  }
  async once() {
    const began = performance.now();
    try {
      const said = await this.f();
      if (this.stopped) return;
      trouble(said && said.unanswered && h('p', { class: 'note' }, 'These routers do not answer, and what they have may be missing here: ' + said.unanswered));
      if (!this.held) live('live');
    } catch (e) {
      if (e.name === 'AbortError' || this.stopped) return;
      if (e.status) trouble(wrong(e));
      if (e.status === 0) live('the router does not answer; asking again');
      else if (e.status !== 401) live(e.message);
      this.failed = e;
    }
    if (this.stopped) return;
    const cost = performance.now() - began;
    this.timer = setTimeout(() => { if (!document.hidden && !this.held) this.now(); }, Math.max(this.every, 10 * cost));
  }
  hold(held) { this.held = held; if (held) { clearTimeout(this.timer); live('paused'); } else this.now(); }
  stop() { this.stopped = true; clearTimeout(this.timer); document.removeEventListener('visibilitychange', this.seen); }
}

// trouble says above a list what is wrong with it, or nothing any more.
function trouble(el) {
  const at = document.getElementById('trouble');
  if (at && (el || at.firstChild) && at.textContent !== (el ? el.textContent : '')) at.replaceChildren(...(el ? [el] : []));
}

export function live(text) {
  const el = document.getElementById('live');
  if (el.textContent !== text) el.textContent = text;
}
