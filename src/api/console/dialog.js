// Questions that must be answered. <dialog> keeps the focus in and Escape out.

import { h, unique } from './dom.js';
import { button } from './parts.js';

/**
 * Asks. Resolves to what `yes` returned, or to null for a no. While `yes` fails
 * the dialog stays, with the reason in it.
 *
 * @param {{title: string, body: Node[], yes: string, no?: string, danger?: boolean,
 *   act?: () => Promise<unknown>, onError?: (error: Error) => boolean}} question
 */
export function ask({ title, body, yes, no = 'No, keep it', danger = false, act = async () => true, onError }) {
  const before = document.activeElement;
  const name = unique('dialog');
  return new Promise((resolve) => {
    const problem = h('div', { role: 'alert' });
    const agree = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, yes);
    const end = (value) => {
      dialog.close();
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(value);
    };
    const form = h('form', {
      novalidate: true,
      onsubmit: async (event) => {
        event.preventDefault();
        if (agree.disabled) return;
        agree.disabled = true;
        problem.replaceChildren();
        try {
          end((await act()) ?? true);
        } catch (error) {
          agree.disabled = false;
          if (!onError?.(error)) problem.replaceChildren(h('p', { class: 'notice danger' }, error.message));
        }
      },
    },
    h('h2', { id: name }, title), body, problem,
    h('div', { class: 'answers' }, button(no, () => end(null)), agree));
    const dialog = h('dialog', {
      'aria-labelledby': name,
      oncancel: (event) => { event.preventDefault(); end(null); },
    }, form);
    document.body.append(dialog);
    dialog.showModal();
  });
}
