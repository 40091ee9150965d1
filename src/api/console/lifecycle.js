// What changes the life of a credential. Each asks first, and says what hangs on it.

import { credentialPath, gatewayTime, post } from './api.js';
import { ask } from './dialog.js';
import { announce, h } from './dom.js';
import { field, showFaults } from './fields.js';
import { line as text } from './grant.js';
import { impactBox } from './impact.js';
import { beforeAfter, chips } from './parts.js';

/** Says what was done, and what was cut. */
export const said = (receipt, verb) => announce(receipt?.streams_closed > 0
  ? `${verb}. Requests under way that were cut: ${receipt.streams_closed}.` : `${verb}.`);

/** Asks; once it is done, says so and draws anew. */
async function doIt(verb, again, question) {
  const done = await ask(question);
  if (!done) return;
  said(done, verb);
  await again();
}

const paragraph = (text) => h('p', {}, text);

/** A reason, for questions. */
export function reasonField(hint) {
  return field('reason', 'Reason', text({ maxlength: '300', autocapitalize: 'sentences', spellcheck: 'true' }), hint);
}

export function revoke(credential, again) {
  const reason = reasonField('Stays in the history.');
  const rest = h('div', {});
  return doIt('Revoked', again, {
    title: `Revoke “${credential.name}”?`,
    body: [
      h('p', { class: 'strong' }, 'Every integration linked to that access will stop working.'),
      paragraph('Its secrets and tokens end at once. This can’t be undone.'),
      impactBox(credential), rest, reason.element,
    ],
    yes: 'Yes, revoke', danger: true,
    act: () => post(credentialPath(credential.client_id, '/revoke'), { reason: reason.control.value.trim() }),
    onError: (error) => { showFaults(error, [reason], rest); return true; },
  });
}

export const suspend = (credential, again) => doIt('Suspended', again, {
  title: `Suspend “${credential.name}”?`,
  body: [paragraph('Its secrets and tokens stop working until it is resumed.'), impactBox(credential)],
  yes: 'Yes, suspend', no: 'No, keep it awake',
  act: () => post(credentialPath(credential.client_id, '/suspend')),
});

export const resume = (credential, again) => doIt('Resumed', again, {
  title: `Resume “${credential.name}”?`,
  body: [paragraph('Its secrets work again, and those of its tokens that still live.')],
  yes: 'Yes, resume', no: 'No, let it sleep',
  act: () => post(credentialPath(credential.client_id, '/resume')),
});

export const endTokens = (credential, again) => doIt('Its tokens ended', again, {
  title: `End all tokens of “${credential.name}”?`,
  body: [
    paragraph('Every token issued until now ends at once, and requests under way with it. Its secrets stay: an integration that asks for a new token goes on.'),
    impactBox(credential)],
  yes: 'Yes, end them', no: 'No, keep them', danger: true,
  act: async () => post('/v1/revocations', { client_id: credential.client_id, issued_before: (await gatewayTime()).toISOString() }),
});

export function narrow(credential, usage, again) {
  const { roles, scopes } = usage.proposed;
  const list = (words) => (words.length > 0 ? words.join(', ') : 'none');
  const line = (name, was, is) => list(was) !== list(is) && h('p', {}, `${name}: `, beforeAfter(list(was), list(is)));
  return doIt('Narrowed', again, {
    title: `Narrow “${credential.name}” to what it uses?`,
    body: [
      h('div', { class: 'delta less' }, h('h3', {}, 'Taken away, at once'), chips(usage.never_used, 'less')),
      h('div', { class: 'delta' }, h('h3', {}, 'Stays'), chips(usage.used)),
      line('Roles', credential.roles, roles),
      line('Extra rights', credential.extra_scopes, scopes),
      h('p', { class: 'hint' }, 'A role that is used in part gives way to the single rights that are. Tokens that are out lose them, too.'),
    ],
    yes: 'Yes, narrow', no: 'No, keep all', danger: true,
    act: () => post(credentialPath(credential.client_id, '/narrow')),
  });
}
