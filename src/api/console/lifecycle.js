// What changes a credential. Each asks first, and says what hangs on it.

import { credentialPath, get, patch, post, remove, serves } from './api.js';
import { ask } from './dialog.js';
import { announce, h } from './dom.js';
import { field, showFaults } from './fields.js';
import { once } from './once.js';
import { chips, facts, time } from './parts.js';

/** What the gateway knows to hang on a credential, or nothing. */
async function impact(credential) {
  if (!(await serves('GET', '/v1/credentials/{client_id}/impact'))) return null;
  const what = await get(credentialPath(credential.client_id, '/impact')).catch(() => null);
  if (!what) return null;
  const routes = what.routes.map((each) => `${each.route}: ${each.requests_last_hour.toLocaleString()}`);
  return h('div', { class: 'impact' },
    h('h3', {}, 'What hangs on it'),
    facts([
      ['Last used', time(what.last_used_at, 'Never')],
      ['Live tokens', what.live_tokens.toLocaleString()],
      ['Requests under way', what.open_streams.toLocaleString()],
      ['Last hour', routes.length > 0 ? chips(routes) : 'No requests'],
    ]));
}

/** Impact arrives while the question already stands. */
function laterImpact(credential) {
  const place = h('div', {});
  impact(credential).then((found) => { if (found) place.replaceChildren(found); });
  return place;
}

const said = (receipt, verb) => announce(receipt?.streams_closed > 0
  ? `${verb}. ${receipt.streams_closed} requests under way were cut.` : `${verb}.`);

export async function revoke(credential, again) {
  const reason = field('reason', 'Reason', h('input', { type: 'text', autocomplete: 'off', required: true, maxlength: '300' }),
    'Stays in the history.');
  const rest = h('div', {});
  const done = await ask({
    title: `Revoke “${credential.name}”?`,
    body: [
      h('p', { class: 'strong' }, 'Every integration linked to that access will stop working.'),
      h('p', {}, 'Its secrets and tokens end at once. This can’t be undone.'),
      laterImpact(credential), rest, reason.element,
    ],
    yes: 'Yes, revoke', danger: true,
    act: () => post(credentialPath(credential.client_id, '/revoke'), { reason: reason.control.value.trim() }),
    onError: (error) => { showFaults(error, [reason], rest); return true; },
  });
  if (done) {
    said(done, 'Revoked');
    await again();
  }
}

export async function suspend(credential, again) {
  const done = await ask({
    title: `Suspend “${credential.name}”?`,
    body: [h('p', {}, 'Its secrets and tokens stop working until it is resumed.'), laterImpact(credential)],
    yes: 'Yes, suspend', no: 'No, keep it awake',
    act: () => post(credentialPath(credential.client_id, '/suspend')),
  });
  if (done) {
    said(done, 'Suspended');
    await again();
  }
}

export async function resume(credential, again) {
  const done = await ask({
    title: `Resume “${credential.name}”?`,
    body: [h('p', {}, 'Its secrets work again, and those of its tokens that still live.')],
    yes: 'Yes, resume', no: 'No, let it sleep',
    act: () => post(credentialPath(credential.client_id, '/resume')),
  });
  if (done) {
    said(null, 'Resumed');
    await again();
  }
}

/** What becomes of the old secret, and the field of the call that says so. */
const OVERLAPS = [
  ['', 'Until I retire it'],
  ['retire_old_after=1h', 'For an hour'],
  ['retire_old_after=24h', 'For a day'],
  ['retire_old_after=168h', 'For a week'],
  ['retire_old_after_unused=168h', 'Until it was unused for a week'],
];

/** Another secret; it takes the place of the view until it was copied. */
export async function rotate(credential, place, again) {
  const overlap = field('retire_old_after', 'The old secret works', h('select', {},
    OVERLAPS.map(([value, text]) => h('option', { value }, text))), 'Long enough to change it where it is in use.');
  const rest = h('div', {});
  const made = await ask({
    title: 'Add a new secret?',
    body: [h('p', {}, 'Both work meanwhile, so that nothing stops.'), rest, overlap.element],
    yes: 'Make a new secret', no: 'Cancel',
    act: () => {
      const [name, value] = overlap.control.value.split('=');
      return post(credentialPath(credential.client_id, '/secrets'), name ? { [name]: value } : {});
    },
    onError: (error) => { showFaults(error, [overlap], rest); return true; },
  });
  if (!made) return;
  place.replaceChildren(once({
    title: `A new secret for “${credential.name}”`,
    warning: 'Copy it now and put it where the integration reads it.',
    pairs: [
      { label: 'Client ID', value: credential.client_id },
      { label: 'Client secret', value: made.client_secret, isSecret: true },
    ],
    done: 'Done',
    onDone: again,
  }));
  place.querySelector('h1').focus();
}

export async function retire(credential, secret, again) {
  const done = await ask({
    title: `Retire generation ${secret.generation}?`,
    body: [h('p', { class: 'strong' }, 'Whoever still uses this secret will stop working.'),
      h('p', {}, 'The tokens that it minted end with it. Last used: ', time(secret.last_used_at, 'never'), '.')],
    yes: 'Yes, retire', danger: true,
    act: () => remove(credentialPath(credential.client_id, `/secrets/${secret.generation}`)),
  });
  if (done) {
    said(done, 'Retired');
    await again();
  }
}

const WINDOWS = [['5m', '5 minutes'], ['15m', '15 minutes'], ['30m', '30 minutes'], ['60m', 'An hour']];

export async function armRole(credential, role, again) {
  const time = field('for', 'For', h('select', {}, WINDOWS.map(([value, text]) => h('option', { value }, text))));
  time.control.value = '15m';
  const rest = h('div', {});
  const done = await ask({
    title: `Arm “${role.label}”?`,
    body: [h('p', {}, `“${credential.name}” can then do this, and it is noted that you allowed it:`), chips(role.scopes), rest, time.element],
    yes: 'Yes, arm', no: 'No, let it sleep', danger: true,
    act: () => post(credentialPath(credential.client_id, '/arm'), { role: role.id, for: time.control.value }),
    onError: (error) => { showFaults(error, [time], rest); return true; },
  });
  if (done) {
    said(null, 'Armed');
    await again();
  }
}

export async function disarmRole(credential, role, again) {
  const done = await ask({
    title: `Disarm “${role.label}”?`,
    body: [h('p', {}, 'It falls asleep at once.')],
    yes: 'Yes, disarm', no: 'No, keep it armed',
    act: () => post(credentialPath(credential.client_id, '/disarm'), { role: role.id }),
  });
  if (done) {
    said(null, 'Disarmed');
    await again();
  }
}

export async function narrow(credential, usage, again) {
  const done = await ask({
    title: 'Narrow to what is used?',
    body: [h('p', {}, 'These rights were never used and will be taken away, also from tokens that are out:'), chips(usage.never_used),
      h('p', { class: 'hint' }, 'A role that is used in part gives way to the single rights that are.')],
    yes: 'Yes, narrow', no: 'No, keep all', danger: true,
    act: () => post(credentialPath(credential.client_id, '/narrow')),
  });
  if (done) {
    said(null, 'Narrowed');
    await again();
  }
}

/** Changes what it is called and what it is said to be for. */
export async function change(credential, again) {
  const name = field('name', 'Name', h('input', { type: 'text', value: credential.name, maxlength: '100' }));
  const description = field('description', 'Description', h('textarea', { rows: '3', value: credential.description, maxlength: '1000' }));
  const rest = h('div', {});
  const done = await ask({
    title: 'Change what it is called',
    body: [rest, name.element, description.element],
    yes: 'Save', no: 'Cancel',
    act: () => patch(credentialPath(credential.client_id), {
      name: name.control.value.trim(), description: description.control.value.trim(),
    }),
    onError: (error) => { showFaults(error, [name, description], rest); return true; },
  });
  if (done) {
    said(null, 'Saved');
    await again();
  }
}
