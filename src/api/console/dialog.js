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
    let [isBusy, isOver] = [false, false];
    const problem = h('div', { role: 'alert' });
    const agree = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, yes);
    const end = (value) => {
      isOver = true;
      dialog.close();
      dialog.remove();
      focusAgain(before);
      resolve(value);
    };
    // What is under way has an outcome, perhaps a secret, that must be seen.
    const refuse = () => { if (!isBusy) end(null); };
    const form = h('form', {
      novalidate: true,
      onsubmit: async (event) => {
        event.preventDefault();
        if (isBusy) return;
        isBusy = agree.disabled = true;
        problem.replaceChildren();
        try {
          const done = await act();
          end(done ?? true);
        } catch (error) {
          isBusy = agree.disabled = false;
          if (!onError?.(error)) problem.replaceChildren(h('p', { class: 'notice danger' }, error.message));
        }
      },
    },
    h('h2', { id: name }, title), body, problem,
    h('div', { class: 'answers' }, button(no, refuse), agree));
    const dialog = h('dialog', {
      'aria-labelledby': name,
      oncancel: (event) => { event.preventDefault(); refuse(); },
      // A second Escape closes it in some browsers, whatever the first was told.
      onclose: () => { if (!isOver && dialog.isConnected) { if (isBusy) dialog.showModal(); else end(null); } },
    }, form);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** To where the focus was; what is gone by now is represented by the heading. */
export function focusAgain(before) {
  const there = before?.isConnected && before !== document.body ? before : document.querySelector('main h1');
  there?.focus({ preventScroll: there !== before });
}
