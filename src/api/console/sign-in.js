// The way in; and back in, when the session has ended while a page was open.

import { h } from './dom.js';
import { post } from './api.js';
import { focusAgain } from './dialog.js';
import { clearFaults, field, showFaults } from './fields.js';
import { button } from './parts.js';

/** As long as a session lives without a call. */
export const IDLE_MS = 30 * 60_000;

/** The form; `onDone` gets who signed in. */
function keyForm(onDone, ...more) {
  const key = field('key', 'Admin key', h('input', {
    type: 'password', autocomplete: 'current-password', autocapitalize: 'none', spellcheck: 'false', required: true,
  }), 'It begins with pak1. This page does not keep it: it gets a session, which ends after 30 minutes without use.');
  const rest = h('div', {});
  const go = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  const form = h('form', {
    novalidate: true,
    onsubmit: async (event) => {
      event.preventDefault();
      if (go.disabled) return;
      clearFaults([key], rest);
      const typed = key.control.value.trim();
      if (!typed) {
        showFaults({ message: 'Enter a key', fields: [{ field: 'key', message: 'enter your admin key' }] }, [key], rest);
        return;
      }
      go.disabled = true;
      try {
        const me = await post('/v1/session', { key: typed });
        key.control.value = '';
        onDone(me);
      } catch (error) {
        const fields = error.status === 401 ? [{ field: 'key', message: 'this key is not known' }] : error.fields;
        showFaults({ message: error.message, fields }, [key], rest);
      } finally {
        go.disabled = false;
      }
    },
  }, rest, key.element, h('div', { class: 'answers' }, more, go));
  return { form, key: key.control };
}

/** Shows the page to sign in on. */
export function signIn(place, onDone, note) {
  const { form, key } = keyForm(onDone);
  place.replaceChildren(h('div', { class: 'sign-in' },
    h('img', { src: 'console/icon.svg', alt: '', width: '56', height: '56' }),
    h('h1', { tabindex: '-1' }, 'Portcullis'),
    h('p', { class: 'lead' }, 'Who may do what with your APIs.'),
    note && h('p', { class: 'notice', role: 'status' }, note),
    h('div', { class: 'card' }, form),
    h('p', { class: 'hint' }, 'No key yet? ', h('code', {}, 'portcullis admin create'), ' makes one.')));
  key.focus();
}

/**
 * Asks for the key over the page that is open, which stays as it is beneath.
 * Resolves to who signed in, or to null for starting over.
 */
export function signInAgain() {
  const before = document.activeElement;
  return new Promise((resolve) => {
    let isOver = false;
    const end = (who) => {
      isOver = true;
      dialog.close();
      dialog.remove();
      if (who) focusAgain(before);
      resolve(who);
    };
    const { form, key } = keyForm(end, button('Start over', () => end(null)));
    const dialog = h('dialog', {
      class: 'gate', 'aria-labelledby': 'gate-title', 'aria-describedby': 'gate-text',
      oncancel: (event) => event.preventDefault(),
      onclose: () => { if (!isOver && dialog.isConnected) dialog.showModal(); },
    },
    h('h2', { id: 'gate-title' }, 'Your session has ended'),
    h('p', { id: 'gate-text' }, 'Sign in to go on where you were. What you typed is still here.'),
    form);
    document.body.append(dialog);
    dialog.showModal();
    key.focus();
  });
}
