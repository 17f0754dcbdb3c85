// A dialog for each thing that can be done: what it will do, what it needs to know, and the command that does the same.
import { h, cut, plain } from './dom.js';

const dialog = () => document.getElementById('dialog');

// say tells what was done, or why nothing was; it is read aloud.
export function say(text) {
  const el = h('div', null, cut(text, 300));
  document.getElementById('said').append(el);
  setTimeout(() => el.remove(), 6000);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // Without HTTPS browsers offer no clipboard.
    const area = h('textarea', { value: text, 'aria-label': 'text to copy' });
    (dialog().open ? dialog() : document.body).append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  say('copied: ' + text);
}

export const command = (text, get) => h('div', { class: 'command' }, h('code', null, text),
  h('button', { type: 'button', onclick: () => copy(get ? get() : text) }, 'Copy'));

// copyCommand is a button for what does the same in a terminal.
export const copyCommand = (f, what = 'lists the same') => h('button', { type: 'button', title: `the command that ${what} in a terminal`, onclick: () => copy(f()) }, 'Copy command');

// word quotes what a shell would take apart, and writes what a terminal would obey as numbers.
export const word = s => /^[\w@%+=:,./~^-]+$/.test(s) ? s : plain(s = String(s)) === s && !/[\n\r]/.test(s) ? "'" + s.replaceAll("'", "'\\''") + "'"
  : "$'" + plain(s.replace(/[\\']/g, '\\$&')).replaceAll('\n', '\\n').replaceAll('\r', '\\r') + "'";

export function open(title, ...content) {
  const d = dialog();
  d.replaceChildren(h('h1', { id: 'dialog-title' }, title), ...content);
  if (!d.open) {
    const from = document.activeElement, row = from && from.closest('[data-key]');
    // The focus goes back to where it was; if that is not there any more, to its row, or else to the page.
    d.addEventListener('close', () => requestAnimationFrame(() => {
      if (document.activeElement !== document.body || d.open) return;
      const at = from && from.isConnected && !from.disabled ? from : row && document.querySelector(`tr[data-key="${CSS.escape(row.dataset.key)}"] :is(.acts button, a, button)`);
      (at || document.getElementById('main')).focus({ preventScroll: true });
    }), { once: true });
    d.showModal();
  }
  return d;
}

export const close = () => dialog().close();

// ask opens a dialog. fields: {name, label, value, type, hint, area, options}. command(values) is what does the same in a terminal.
// preview(values) gives an element, and is asked again when a field changes. run(values) does it and gives what is said then.
export function ask({ title, text, fields = [], command: words, preview, run, button = 'Do it', danger }) {
  const inputs = {};
  const values = () => Object.fromEntries(fields.map(f => [f.name, f.type === 'checkbox' ? inputs[f.name].checked : inputs[f.name].value]));
  const code = h('code');
  const said = h('div', { role: 'status' });
  const shown = h('div');
  const go = h('button', { class: danger ? 'danger' : 'go', type: 'submit' }, button);
  let turn = 0;
  const look = async () => {
    code.textContent = plain(words(values()));
    if (!preview) return;
    const mine = ++turn;
    try {
      const el = await preview(values());
      if (mine === turn) { shown.replaceChildren(el); go.disabled = false; }
    } catch (e) {
      if (mine === turn) { shown.replaceChildren(wrong(e)); go.disabled = true; }
    }
  };
  const form = h('form', {
    method: 'dialog', onsubmit: async e => {
      e.preventDefault();
      go.disabled = true;
      try {
        const text = await run(values(), text => said.replaceChildren(h('p', { class: 'sub' }, text)));
        close();
        if (text) say(text);
      } catch (e) {
        said.replaceChildren(wrong(e));
        go.disabled = false;
      }
    },
  }, text && h('p', { class: 'sub' }, text), fields.map(f => {
    const id = 'ask-' + f.name;
    const el = f.options ? h('select', { id }, f.options.map(o => h('option', { value: o.value ?? o }, o.text ?? o)))
      : f.area ? h('textarea', { id, spellcheck: 'false', value: f.value || '' })
        : h('input', { id, type: f.type || 'text', value: f.value ?? '', placeholder: f.hint, autocomplete: 'off', min: f.min, max: f.max, list: f.list && id + '-list' });
    inputs[f.name] = el;
    el.addEventListener(f.type === 'checkbox' || f.options ? 'change' : 'input', look);
    return h('div', { class: 'field' }, h('label', { for: id }, f.label), f.picks && h('div', { class: 'chips' }, f.picks.map(p => h('button', { type: 'button', onclick: () => { el.value = p; look(); } }, p))), el,
      f.list && h('datalist', { id: id + '-list' }, f.list.map(x => h('option', { value: x }))));
  }), preview && shown, h('div', { class: 'sub' }, 'In a terminal:'),
  h('div', { class: 'command' }, code, h('button', { type: 'button', onclick: () => copy(code.textContent) }, 'Copy')), said,
  h('div', { class: 'ends' }, h('button', { type: 'button', onclick: close }, 'Close'), go));
  open(title, form);
  look();
  (fields.length ? inputs[fields[0].name] : go).focus();
}

export const wrong = e => h('p', { class: 'error', role: 'alert' }, e.message, e.cure && h('span', { class: 'sub' }, ' ' + e.cure));

export const empty = (text, ...commands) => h('div', { class: 'empty' }, h('p', null, text), commands.map(c => command(c)));
