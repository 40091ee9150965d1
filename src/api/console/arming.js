// The roles of a credential, and waking those that sleep, for minutes.

import { credentialPath, post } from './api.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { field, showFaults } from './fields.js';
import { line } from './grant.js';
import { said } from './lifecycle.js';
import { button, chips, countdown } from './parts.js';

const MINUTES = [5, 15, 30, 60];

/** The list of roles; `now` is the gateway's clock. */
export function roleList(credential, known, { now, canAct, again }) {
  if (credential.roles.length === 0) return h('p', { class: 'faint' }, 'None: it has only rights of its own.');
  const awake = new Map(credential.armed.map((each) => [each.role, each.armed_until]));
  return h('ul', { class: 'plain' }, credential.roles.map((id) => {
    const role = known.get(id);
    return h('li', {},
      h('div', {}, h('span', { class: 'strong' }, role?.label ?? id),
        h('span', { class: 'faint block' }, role ? role.description : 'The configuration names it no more: it grants nothing.'),
        role?.armed && h('p', { class: 'armed' }, awake.has(id)
          ? [h('span', { class: 'badge awake' }, 'Armed'), countdown(awake.get(id), now, again)]
          : h('span', { class: 'badge suspended' }, 'Asleep until armed'))),
      role?.armed && canAct && h('div', { class: 'pair-of' },
        button(awake.has(id) ? 'Longer…' : 'Arm…', () => arm(credential, role, again)),
        awake.has(id) && button('Disarm', () => disarm(credential, role, again))));
  }));
}

async function arm(credential, role, again) {
  const minutes = field('for', 'Minutes', line({ inputmode: 'numeric', value: '15', required: true }), 'From now; at most 1440, a day.');
  const quick = h('div', { class: 'quick', role: 'group', 'aria-label': 'Minutes, quickly' }, MINUTES.map((number) =>
    h('button', { type: 'button', 'aria-label': `${number} minutes`, onclick: () => { minutes.control.value = String(number); minutes.fault(''); } }, String(number))));
  const rest = h('div', {});
  const done = await ask({
    title: `Arm “${role.label}”?`,
    body: [
      h('p', {}, `“${credential.name}” can then do this, and the audit trail keeps that you allowed it:`), chips(role.scopes),
      rest, minutes.element, quick],
    yes: 'Yes, arm', no: 'No, let it sleep', danger: true,
    act: async () => {
      if (!/^\d+$/.test(minutes.control.value.trim())) throw Object.assign(new Error(), { fields: [{ field: 'for', message: 'must be a whole number of minutes' }] });
      return post(credentialPath(credential.client_id, '/arm'), { role: role.id, for: `${minutes.control.value.trim()}m` });
    },
    onError: (error) => { showFaults(error, [minutes], rest); return true; },
  });
  if (done) {
    said(null, 'Armed');
    await again();
  }
}

async function disarm(credential, role, again) {
  const done = await ask({
    title: `Disarm “${role.label}”?`,
    body: [h('p', {}, 'It falls asleep at once; requests under way that run on it are cut.')],
    yes: 'Yes, disarm', no: 'No, keep it armed',
    act: () => post(credentialPath(credential.client_id, '/disarm'), { role: role.id }),
  });
  if (done) {
    said(done, 'Disarmed');
    await again();
  }
}
