// The way in.

import { h } from './dom.js';
import { post } from './api.js';
import { clearFaults, field, showFaults } from './fields.js';

/** Shows the form; `onDone` gets who signed in. */
export function signIn(place, onDone, note) {
  const key = field('key', 'Admin key', h('input', {
    type: 'password', autocomplete: 'current-password', autocapitalize: 'none', spellcheck: 'false', required: true,
  }), 'It begins with pak1. The key is not kept: the browser only gets a session, which ends after 30 minutes without use.');
  const rest = h('div', {});
  const go = h('button', { type: 'submit', class: 'primary wide' }, 'Sign in');
  const form = h('form', {
    novalidate: true,
    onsubmit: async (event) => {
      event.preventDefault();
      clearFaults([key], rest);
      if (!key.control.value.trim()) {
        showFaults({ message: 'Enter a key', fields: [{ field: 'key', message: 'enter your admin key' }] }, [key], rest);
        return;
      }
      go.disabled = true;
      try {
        const me = await post('/v1/session', { key: key.control.value.trim() });
        key.control.value = '';
        onDone(me);
      } catch (error) {
        const fields = error.status === 401 ? [{ field: 'key', message: 'this key is not known' }] : error.fields;
        showFaults({ message: error.message, fields }, [key], rest);
      } finally {
        go.disabled = false;
      }
    },
  }, rest, key.element, go);
  place.replaceChildren(h('div', { class: 'sign-in' },
    h('img', { src: 'console/icon.svg', alt: '', width: '56', height: '56' }),
    h('h1', { tabindex: '-1' }, 'Portcullis'),
    h('p', { class: 'lead' }, 'Who may do what with your APIs.'),
    note && h('p', { class: 'notice', role: 'status' }, note),
    h('div', { class: 'card' }, form),
    h('p', { class: 'hint' }, 'No key yet? ', h('code', {}, 'portcullis admin create'), ' makes one.')));
  key.control.focus();
}
