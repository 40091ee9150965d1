// Form fields that say in place what is wrong with them.

import { announce, h, unique } from './dom.js';

/**
 * A labelled control.
 *
 * @returns {{element: HTMLElement, control: HTMLElement, name: string,
 *   fault: (message: string) => void}}
 */
export function field(name, label, control, hint) {
  const id = unique(name);
  const [hintId, faultId] = [`${id}-hint`, `${id}-fault`];
  control.id = id;
  control.name = name;
  const problem = h('p', { class: 'fault', id: faultId });
  const describe = (isBad) => {
    const ids = [hint && hintId, isBad && faultId].filter(Boolean).join(' ');
    if (ids) control.setAttribute('aria-describedby', ids);
    else control.removeAttribute('aria-describedby');
  };
  describe(false);
  const element = h('div', { class: 'field' },
    h('label', { for: id }, label), control, hint && h('p', { class: 'hint', id: hintId }, hint), problem);
  const fault = (message) => {
    problem.textContent = message;
    element.classList.toggle('bad', message !== '');
    if (message) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
    describe(message !== '');
  };
  // Who mends a field need not be told again that it was wrong.
  control.addEventListener('input', () => fault(''));
  return { element, control, name, fault };
}

/**
 * Puts each fault at its field and the rest above the form; the first bad field
 * gets the focus.
 */
export function showFaults(error, fields, rest) {
  for (const each of fields) each.fault('');
  rest.replaceChildren();
  const left = [];
  let first = null;
  for (const { field: name, message } of error.fields ?? []) {
    const target = fields.find((each) => each.name === name);
    if (!target) { left.push(`${name} ${message}`); continue; }
    const text = message.charAt(0).toUpperCase() + message.slice(1);
    target.fault(text.endsWith('.') ? text : `${text}.`);
    first ??= target;
  }
  if (!first || left.length > 0) {
    rest.replaceChildren(h('div', { class: 'notice danger', role: 'alert' },
      h('p', {}, left.length > 0 ? left.join('; ') : error.message)));
  } else {
    announce(error.message);
  }
  first?.control.focus();
}

/** Removes every fault, and what was said of them. */
export function clearFaults(fields, rest) {
  announce('');
  for (const each of fields) each.fault('');
  rest.replaceChildren();
}

/** A removable tag. */
export function tag(text, onRemove) {
  return h('li', { class: 'tag' }, text,
    h('button', { type: 'button', 'aria-label': `Remove ${text}`, onclick: onRemove },
      h('span', { 'aria-hidden': 'true' }, '×')));
}

/**
 * A field for several words: Enter or a comma makes a tag of what was typed,
 * Backspace in the empty field takes the last one away.
 */
export function tagField(name, label, { hint, placeholder, words: initial = [], onChange = () => {} }) {
  const words = [...initial];
  const list = h('ul', { class: 'tags', 'aria-label': `${label}: chosen` });
  const draw = () => {
    list.replaceChildren(...words.map((word, at) => tag(word, () => {
      words.splice(at, 1);
      changed(`${word} removed`);
      input.focus();
    })));
    list.hidden = words.length === 0;
  };
  const changed = (what) => {
    draw();
    onChange();
    announce(what);
  };
  const take = () => {
    const typed = input.value.split(/[\s,]+/).filter((word) => word && !words.includes(word));
    input.value = '';
    if (typed.length > 0) {
      words.push(...typed);
      changed(`${typed.join(', ')} added`);
    }
  };
  const input = h('input', {
    type: 'text', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', placeholder,
    onkeydown: (event) => {
      if (event.key === 'Enter' || event.key === ',') {
        if (event.key === 'Enter' && !input.value) return;
        event.preventDefault();
        take();
      } else if (event.key === 'Backspace' && !input.value && words.length > 0) {
        changed(`${words.pop()} removed`);
      }
    },
    onblur: take,
  });
  const made = field(name, label, input, hint);
  input.before(list);
  draw();
  // What is typed and not yet a tag is meant, too.
  return { ...made, chosen: () => [...words], values: () => { take(); return [...words]; } };
}

/** A number where it is one; else the text, for the gateway to say what is wrong. */
export function whole(text) {
  if (!text) return null;
  return /^\d+$/.test(text) ? Number(text) : text;
}
