// Who may use the admin port.

import { everything, post, remove } from './api.js';
import { ask } from './dialog.js';
import { announce, h, put } from './dom.js';
import { field, showFaults } from './fields.js';
import { once } from './once.js';
import { button, heading, row, show, table, time } from './parts.js';

const COLUMNS = ['Name', 'Role', 'Created by', 'Created', 'Action'];
const ROLES = [
  ['viewer', 'Viewer: reads, never a secret'],
  ['admin', 'Admin: also generates and revokes'],
  ['super-admin', 'Super-admin: also manages administrators and keys'],
];

export async function admins(place, { me }) {
  const list = h('div', {});
  const canChange = me.role === 'super-admin';
  const columns = canChange ? COLUMNS : COLUMNS.slice(0, 4);
  const again = () => show(list, 'administrators', async () => {
    const all = await everything('/v1/admins');
    return h('div', { class: 'scroll' }, table('Administrators, newest first', columns, all.map((admin) => row(columns, [
      [h('span', { class: 'title' }, admin.name), admin.name === me.name && h('span', { class: 'faint' }, ' (you)')],
      admin.role, admin.created_by, time(admin.created_at),
      canChange && h('button', { type: 'button', 'aria-label': `Remove ${admin.name}`, onclick: () => drop(admin, again) }, 'Remove…'),
    ].slice(0, columns.length)))));
  });
  put(place,
    heading('Administrators', canChange ? 'Who may use this console and the admin port.' : 'Who may use this console and the admin port. Super-admins change this list.',
      canChange && button('Add an administrator', () => add(place, () => admins(place, { me })), 'primary')),
    list);
  await again();
}

async function add(place, again) {
  const name = field('name', 'Name', h('input', { type: 'text', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' }),
    'A person’s or a program’s. It stands in the audit trail.');
  const role = field('role', 'Role', h('select', {}, ROLES.map(([value, text]) => h('option', { value }, text))));
  const rest = h('div', {});
  const made = await ask({
    title: 'Add an administrator',
    body: [rest, name.element, role.element],
    yes: 'Add', no: 'Cancel',
    act: () => post('/v1/admins', { name: name.control.value.trim(), role: role.control.value }),
    onError: (error) => { showFaults(error, [name, role], rest); return true; },
  });
  if (!made) return;
  place.replaceChildren(once({
    title: `The key of “${made.name}”`,
    warning: 'Hand it over now, by a way that nobody else reads.',
    pairs: [{ label: 'Admin key', value: made.key, isSecret: true }],
    done: 'Done', onDone: again,
  }));
  place.querySelector('h1').focus();
  window.scrollTo(0, 0);
}

async function drop(admin, again) {
  const done = await ask({
    title: `Remove “${admin.name}”?`,
    body: [h('p', {}, 'The key and every session end at once. What was done stays in the audit trail.')],
    yes: 'Yes, remove', danger: true,
    act: () => remove(`/v1/admins/${encodeURIComponent(admin.name)}`),
  });
  if (done) {
    announce('Removed.');
    await again();
  }
}
