// Small pieces that several views are made of.

import { announce, h, put, unique } from './dom.js';

/** States and what they look like; the word is always there too. */
const STATES = { active: 'Active', suspended: 'Suspended', revoked: 'Revoked', expired: 'Expired' };

export function badge(state, word = STATES[state] ?? state) {
  return h('span', { class: `badge ${state in STATES ? state : ''}` }, word);
}

/** The head of a view: title, a line below it, and what can be done. */
export function heading(title, lead, ...actions) {
  return h('div', { class: 'heading' },
    h('div', {}, h('h1', { tabindex: '-1' }, title), lead && h('p', { class: 'lead' }, lead)),
    actions.length > 0 && h('div', { class: 'actions' }, actions));
}

export function button(text, onclick, kind = '') {
  return h('button', { type: 'button', class: kind, onclick }, text);
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** A time as people say it; the exact one is in the tooltip. */
export function time(text, none = '–', isShort = false) {
  if (!text) return h('span', { class: 'faint' }, none);
  const at = new Date(text);
  return h('time', { datetime: text, title: text }, (isShort ? DAY : MOMENT).format(at));
}

/** What is fetched, and meanwhile a quiet placeholder. */
export function loading(what) {
  return h('div', { class: 'loading', role: 'status' },
    h('span', { class: 'hidden-text' }, `Loading ${what}…`),
    [70, 90, 60].map((width) => h('span', { class: `bone w${width}`, 'aria-hidden': 'true' })));
}

/** Nothing here, and what to do about it. */
export function empty(title, text, ...actions) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title), h('p', {}, text), actions);
}

/** It failed: why, and another try. */
export function failure(error, again) {
  return h('div', { class: 'notice danger', role: 'alert' },
    h('p', { class: 'strong' }, 'That didn’t work.'),
    h('p', {}, error.message),
    error.requestId && h('p', { class: 'faint small' }, 'Request ', h('code', {}, error.requestId)),
    again && button('Try again', again));
}

/** Shows `work`'s outcome in `place`: a placeholder, then what it made, or why not. */
export async function show(place, what, work) {
  place.replaceChildren(loading(what));
  try {
    put(place, await work());
  } catch (error) {
    place.replaceChildren(failure(error, () => show(place, what, work)));
  }
}

/**
 * A table. On a phone each row becomes a card, which takes the roles of table
 * elements away in some browsers: so they are said outright.
 */
export function table(label, columns, rows) {
  return h('table', { role: 'table', 'aria-label': label },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
      columns.map((column) => h('th', { role: 'columnheader', scope: 'col' }, column)))),
    h('tbody', { role: 'rowgroup' }, rows));
}

/** A row; each cell knows its column for the phone. */
export function row(columns, cells, attributes = {}) {
  return h('tr', { role: 'row', ...attributes },
    cells.map((cell, at) => h('td', { role: 'cell', 'data-label': columns[at] }, h('div', {}, cell))));
}

/** Pairs of a word and what it stands for; empty ones are left out. */
export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(Boolean).map(([name, ...value]) =>
    h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

export function section(title, ...children) {
  const id = unique('section');
  return h('section', { class: 'card', 'aria-labelledby': id }, h('h2', { id }, title), children);
}

/** Words in little boxes. */
export function chips(words, kind = '') {
  return h('ul', { class: 'chips' }, words.map((word) => h('li', { class: `chip ${kind}` }, word)));
}

/** Scopes by what they are about: `campaign: list, read`. */
export function rights(scopes, asleep = new Set()) {
  const groups = new Map();
  for (const scope of scopes) {
    const dot = scope.lastIndexOf('.');
    const [resource, action] = dot < 0 ? ['other', scope] : [scope.slice(0, dot), scope.slice(dot + 1)];
    if (!groups.has(resource)) groups.set(resource, []);
    groups.get(resource).push([action, scope]);
  }
  return h('dl', { class: 'rights' }, [...groups].map(([resource, actions]) => h('div', {},
    h('dt', {}, resource),
    h('dd', {}, h('ul', { class: 'chips' }, actions.map(([action, scope]) =>
      h('li', { class: `chip ${asleep.has(scope) ? 'asleep' : ''}`, title: scope },
        action, asleep.has(scope) && h('span', {}, ' · asleep'))))))));
}

/** Where rights hold, plainly. */
export function environmentsText(environments) {
  return environments.length === 0 ? 'All environments' : environments.join(', ');
}

/** Time that is left, such as `14:05` or `2:00:00`. */
function left(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** Counts down to `until` by the gateway's clock, as long as it is on the page. */
export function countdown(until, now, onOver) {
  const end = performance.now() + (new Date(until) - now);
  const face = h('span', { class: 'countdown', role: 'timer', title: until });
  const rest = () => {
    const milliseconds = end - performance.now();
    face.textContent = `${left(milliseconds)} left`;
    return milliseconds;
  };
  const wait = (milliseconds) => setTimeout(() => {
    if (!face.isConnected) return;
    const more = rest();
    if (more > 0) wait(more);
    else onOver();
  }, Math.max(50, Math.min(1000, milliseconds)));
  wait(rest());
  return face;
}

/** What becomes of a value: before, and after. */
export const beforeAfter = (before, after) => [h('del', {}, before), h('span', { class: 'faint' }, ' → '), h('ins', {}, after)];

/** Copies, also where the page came over plain HTTP and the clipboard is shut. */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h('textarea', { readOnly: true, class: 'hidden-text', 'aria-hidden': 'true' }, text);
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** A button that copies `text` and says so; if it can't, `source` is selected for doing it by hand. */
export function copyButton(label, text, onCopied = () => {}, { face: word = 'Copy', source } = {}) {
  const face = h('span', {}, word);
  return h('button', {
    type: 'button', class: 'copy', 'aria-label': label,
    onclick: async (event) => {
      const pressed = event.currentTarget;
      const done = await toClipboard(text);
      face.textContent = done ? 'Copied' : 'Press Ctrl+C';
      pressed.classList.toggle('done', done);
      pressed.focus();
      if (!done && source) getSelection().selectAllChildren(source);
      announce(done ? 'Copied' : 'It could not be copied; select it and copy it by hand');
      if (done) onCopied();
      setTimeout(() => { face.textContent = word; pressed.classList.remove('done'); }, 2500);
    },
  }, face);
}
