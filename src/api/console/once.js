// What is shown this once: a secret or a key, with a guard until it was copied.

import { h } from './dom.js';
import { ask } from './dialog.js';
import { button, copyButton } from './parts.js';

/** True while a secret is on the page that nobody has copied. */
let isHeld = false;

window.addEventListener('beforeunload', (event) => {
  if (isHeld) event.preventDefault();
});
// A browser may keep the page to show it again on the way back; not with a secret on it.
window.addEventListener('pagehide', () => {
  for (const shown of document.querySelectorAll('[data-once]')) shown.textContent = 'No longer shown.';
});

/** Asks before an uncopied secret is lost; true if the way is free. */
export async function mayLeave() {
  if (!isHeld) return true;
  const leaves = await ask({
    title: 'Leave without the secret?',
    body: [h('p', {}, 'It has not been copied, and it can’t be shown again.')],
    yes: 'Leave anyway', no: 'Stay here', danger: true,
  });
  if (leaves) isHeld = false;
  return !isHeld;
}

/** Whether an uncopied secret is there. */
export const isGuarded = () => isHeld;

/** Lets go without asking: whoever signed out has lost it anyway. */
export function release() {
  isHeld = false;
}

/**
 * The panel with what is shown once.
 *
 * @param {{title: string, warning: string, pairs: {label: string, value: string, isSecret?: boolean}[],
 *   notes?: string[],
 *   done: string, onDone: () => void}} what
 */
export function once({ title, warning, pairs, notes = [], done, onDone }) {
  isHeld = true;
  const panel = h('section', { class: 'card once', 'aria-labelledby': 'once-title' });
  const copied = () => {
    isHeld = false;
    panel.classList.add('copied');
  };
  const whole = pairs.map(({ label, value }) => `${label}: ${value}`).join('\n');
  panel.append(
    h('h1', { id: 'once-title', tabindex: '-1' }, title),
    h('p', { class: 'notice warning' }, h('strong', {}, 'This is shown only once. '), warning),
    h('dl', { class: 'pair' }, pairs.map(({ label, value, isSecret }) => {
      // Whoever copies by hand has copied it, too.
      const code = h('code', { 'data-once': isSecret, oncopy: isSecret && copied }, value);
      return h('div', {}, h('dt', {}, label),
        h('dd', {}, code, copyButton(`Copy ${label}`, value, isSecret ? copied : undefined, { source: code })));
    })),
    ...notes.map((note) => h('p', { class: 'notice warning' }, note)),
    h('div', { class: 'answers' },
      pairs.length > 1 && copyButton('Copy both', whole, copied, { face: 'Copy both', source: panel }),
      button(done, async () => { if (await mayLeave()) onDone(); }, 'primary')));
  return panel;
}
