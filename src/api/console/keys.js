// The keys that tokens are signed with.

import { everything, post } from './api.js';
import { ask } from './dialog.js';
import { announce, h, put } from './dom.js';
import { field, showFaults } from './fields.js';
import { reasonField, said } from './lifecycle.js';
import { button, heading, row, show, table, time } from './parts.js';

const COLUMNS = ['Key', 'State', 'Algorithm', 'Made', 'Signs from', 'Believed until', 'Action'];
const STATES = {
  next: ['suspended', 'Next', 'Published already, so that everybody knows it; it does not sign yet.'],
  active: ['active', 'Signs', 'New tokens are signed with it.'],
  retiring: ['', 'Retiring', 'Signs no more; believed until the last token that it signed has ended.'],
};
const ALGORITHMS = [['', 'As now'], ['EdDSA', 'EdDSA (Ed25519)'], ['ES256', 'ES256 (P-256)'], ['RS256', 'RS256 (RSA)']];
const DELAYS = [['0s', 'At once'], ['5m', 'In 5 minutes'], ['1h', 'In an hour'], ['24h', 'In a day'], ['168h', 'In a week']];

const REVOKE = '/v1/keys/{kid}/revoke';

export async function keys(place, { me }) {
  const list = h('div', {});
  const canRotate = me.role === 'super-admin';
  const again = () => show(list, 'the keys', async () => {
    const all = await everything('/v1/keys');
    const columns = canRotate ? COLUMNS : COLUMNS.slice(0, 6);
    return h('div', { class: 'scroll' }, table('Signing keys, newest first', columns, all.map((key) => line(columns, key, again))));
  });
  put(place,
    heading('Signing keys', canRotate ? 'What tokens are signed with. Partners read the public halves at /.well-known/jwks.json.'
      : 'What tokens are signed with. Super-admins rotate them.',
    canRotate && button('Rotate…', () => rotate(again), 'primary')),
    list,
    h('dl', { class: 'legend-list' }, Object.values(STATES).map(([kind, word, text]) =>
      h('div', {}, h('dt', {}, h('span', { class: `badge ${kind}` }, word)), h('dd', {}, text)))));
  await again();
}

/** Whether this gateway can do it, as its own description says. */

function line(columns, key, again) {
  const [kind, word] = STATES[key.state] ?? ['', key.state];
  return row(columns, [
    h('code', { class: 'small' }, key.kid),
    h('span', { class: `badge ${kind}` }, word),
    key.algorithm,
    time(key.created_at, 'From a file'),
    time(key.activates_at, 'Always'),
    time(key.retires_at, 'No end set'),
    h('button', { type: 'button', 'aria-label': `Revoke key ${key.kid}`, onclick: () => revoke(key, again) }, 'Revoke…'),
  ].slice(0, columns.length));
}

async function revoke(key, again) {
  const reason = reasonField('Stays in the audit trail.');
  const rest = h('div', {});
  const done = await ask({
    title: 'Revoke this signing key?',
    body: [
      h('p', { class: 'strong' }, 'Every token that it signed stops working at once, whoever holds it.'),
      h('p', {}, 'For a key that somebody else may know; this can’t be undone. If it is the one that signs, a new one takes over.'),
      h('p', {}, h('code', {}, key.kid)), rest, reason.element],
    yes: 'Yes, revoke', danger: true,
    act: () => post(REVOKE.replace('{kid}', encodeURIComponent(key.kid)), { reason: reason.control.value.trim() }),
    onError: (error) => { showFaults(error, [reason], rest); return true; },
  });
  if (done) {
    said(done, 'Revoked');
    await again();
  }
}

async function rotate(again) {
  const algorithm = field('algorithm', 'Algorithm', h('select', {}, ALGORITHMS.map(([value, text]) => h('option', { value }, text))));
  const delay = field('activate_after', 'Signs', h('select', {}, DELAYS.map(([value, text]) => h('option', { value }, text))),
    'It is published at once. Whoever keeps a copy of the public keys needs this time to see it.');
  delay.control.value = '5m';
  const rest = h('div', {});
  const made = await ask({
    title: 'Make a new signing key?',
    body: [
      h('p', {}, 'Tokens that are out go on: the key of now is believed until the last token that it signed has ended.'),
      rest, algorithm.element, delay.element],
    yes: 'Yes, make it', no: 'No, keep the key',
    act: () => post('/v1/keys/rotate', {
      activate_after: delay.control.value, ...(algorithm.control.value && { algorithm: algorithm.control.value }),
    }),
    onError: (error) => { showFaults(error, [algorithm, delay], rest); return true; },
  });
  if (made) {
    announce('A new key was made and is published.');
    await again();
  }
}
