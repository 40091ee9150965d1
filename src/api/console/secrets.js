// The secrets of a credential: another one beside the old, and the end of one,
// with what tells whether that is safe.

import { credentialPath, post, remove } from './api.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { field, showFaults } from './fields.js';
import { said } from './lifecycle.js';
import { once } from './once.js';
import { button, row, section, table, time } from './parts.js';

const COLUMNS = ['Secret', 'Created', 'Last used', 'Ends', 'Action'];

/** What becomes of the old secret, and the field of the call that says so. */
const OVERLAPS = [
  ['', 'Until I retire it'],
  ['retire_old_after=1h', 'For an hour'],
  ['retire_old_after=24h', 'For a day'],
  ['retire_old_after=168h', 'For a week'],
  ['retire_old_after=720h', 'For 30 days'],
  ['retire_old_after_unused=24h', 'Until nobody used it for a day'],
  ['retire_old_after_unused=168h', 'Until nobody used it for a week'],
  ['retire_old_after_unused=720h', 'Until nobody used it for 30 days'],
];

const isOver = (secret, now) => Boolean(secret.retires_at) && new Date(secret.retires_at) <= now;

const DAY_MS = 86_400_000;
const UNITS = [[DAY_MS, 'day'], [3_600_000, 'hour'], [60_000, 'minute'], [1000, 'second']];

/** How long, roughly: `3 days`. */
function roughly(milliseconds) {
  const [scale, unit] = UNITS.find(([each]) => milliseconds >= each) ?? UNITS.at(-1);
  const count = Math.floor(milliseconds / scale);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** What its last use says about an old secret, beside a newer one. */
function verdict(secret, newest, now) {
  // Uses are known to the second; one in the very second of the change is taken for later.
  const since = Math.floor(new Date(newest.created_at) / 1000) * 1000;
  const idle = now - new Date(newest.created_at);
  if (secret.last_used_at && new Date(secret.last_used_at) >= since) {
    return { kind: 'suspended', word: 'Still in use', text: `It was used since generation ${newest.generation} was made: somebody has not changed over yet.` };
  }
  // A nightly job has had its turn after a day, and the new one is in use somewhere.
  const isLong = idle >= DAY_MS && newest.last_used_at;
  return {
    kind: isLong ? 'active' : '',
    word: `Unused for ${roughly(idle)}`,
    text: `Nobody used it in the ${roughly(idle)} since generation ${newest.generation} was made.`
      + (newest.last_used_at ? '' : ` Nobody used generation ${newest.generation} either.`)
      + (isLong ? '' : ' Wait until every integration had its turn.'),
  };
}

/** The card, and what can be done. `now` is the gateway's. */
export function secretsCard(credential, { now, canAct, place, again }) {
  const living = credential.secrets.filter((secret) => !isOver(secret, now));
  const newest = living.at(-1);
  const canRetire = canAct && living.length > 1;
  const columns = canRetire ? COLUMNS : COLUMNS.slice(0, 4);
  const end = (secret) => {
    if (isOver(secret, now)) return [h('span', { class: 'badge' }, 'Retired'), ' ', time(secret.retires_at)];
    const dates = [
      secret.retires_at && time(secret.retires_at),
      secret.retires_unused_for && `When unused for ${secret.retires_unused_for}`,
    ].filter(Boolean);
    return dates.length > 0 ? dates : h('span', { class: 'faint' }, 'Not set');
  };
  const line = (secret) => {
    const isOld = living.includes(secret) && secret !== newest;
    const about = isOld && verdict(secret, newest, now);
    return row(columns, [
      [h('span', { class: 'title' }, `Generation ${secret.generation}`),
        secret === newest && living.length > 1 && h('span', { class: 'faint' }, ' (newest)')],
      time(secret.created_at),
      [time(secret.last_used_at, 'Never'), about && h('span', { class: `badge ${about.kind} under`, title: about.text }, about.word)],
      end(secret),
      living.includes(secret) && h('button', {
        type: 'button', 'aria-label': `Retire generation ${secret.generation}`, onclick: () => retire(credential, secret, about, again),
      }, 'Retire…'),
    ].slice(0, columns.length), { class: isOver(secret, now) ? 'expired' : '' });
  };
  return section('Secrets',
    credential.secrets.length > 0
      ? h('div', { class: 'scroll' }, table('Secrets, newest first', columns, [...credential.secrets].reverse().map(line)))
      : h('p', { class: 'faint' }, 'None is left.'),
    canAct && h('div', { class: 'answers' }, button('Add a new secret…', () => rotate(credential, place, again))));
}

/** Another secret; it takes the place of the view until it was copied. */
async function rotate(credential, place, again) {
  const overlap = field('retire_old_after', 'The old secret works', h('select', {},
    OVERLAPS.map(([value, text]) => h('option', { value }, text))), 'Long enough to change it wherever it is in use. It can be retired by hand at any time.');
  const rest = h('div', {});
  const made = await ask({
    title: 'Add a new secret?',
    body: [h('p', {}, 'Both work meanwhile, so that nothing stops. The new one is shown once.'), rest, overlap.element],
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
  window.scrollTo(0, 0);
}

async function retire(credential, secret, about, again) {
  const done = await ask({
    title: `Retire generation ${secret.generation}?`,
    body: [
      h('p', { class: 'strong' }, 'Whoever still uses this secret will stop working.'),
      h('p', {}, 'The tokens that it minted end with it, at once and for good. Last used: ', time(secret.last_used_at, 'never'), '.'),
      about && h('p', { class: `notice ${about.kind === 'active' ? 'good' : 'warning'}` }, about.text)],
    yes: 'Yes, retire', danger: true,
    act: () => remove(credentialPath(credential.client_id, `/secrets/${secret.generation}`)),
  });
  if (done) {
    said(done, 'Retired');
    await again();
  }
}
