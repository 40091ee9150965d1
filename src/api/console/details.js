// One credential: everything there is to know, and everything that can be done.

import { allRoles, credentialPath, gatewayTime, get } from './api.js';
import { h, put } from './dom.js';
import { badge, button, chips, copyButton, environmentsText, failure, facts, heading, loading, rights, section, time } from './parts.js';
import { endTokens, narrow, resume, revoke, suspend } from './lifecycle.js';
import { roleList } from './arming.js';
import { trail } from './audit.js';
import { impactFacts } from './impact.js';
import { isGuarded } from './once.js';
import { secretsCard } from './secrets.js';

export async function details(place, { me, id }) {
  place.replaceChildren(loading('the credential'));
  const again = async () => {
    // Who worked here goes on here: what had the focus is drawn anew.
    const hadFocus = place.contains(document.activeElement) || document.activeElement === document.body;
    try {
      await draw(place, me, id, again);
      if (hadFocus && place.isConnected) place.querySelector('h1').focus({ preventScroll: true });
    } catch (error) {
      place.replaceChildren(
        heading(error.status === 404 ? 'There is no such credential' : 'Credential'),
        failure(error, again), h('p', {}, h('a', { href: '#/credentials' }, 'To all credentials')));
    }
  };
  await again();
}

async function draw(place, me, id, again) {
  const [credential, roles, usage, now] = await Promise.all([
    get(credentialPath(id)), allRoles(), get(credentialPath(id, '/usage')), gatewayTime(),
  ]);
  // A role that falls asleep draws the page anew; a secret that is shown once stays.
  if (isGuarded()) return;
  const isDead = credential.state === 'revoked';
  const canAct = me.role !== 'viewer' && !isDead;
  const known = new Map(roles.map((role) => [role.id, role]));
  const means = { now, canAct, place, again };
  const limits = [credential.rate, credential.concurrency && `${credential.concurrency} at once`].filter(Boolean);

  put(place,
    h('p', { class: 'crumb' }, h('a', { href: '#/credentials' }, '← Credentials')),
    heading(credential.name, credential.description,
      h('a', { class: 'button', href: `#/explain/${id}` }, 'Explain a request'),
      canAct && h('a', { class: 'button', href: `#/credentials/${id}/edit` }, 'Edit'),
      canAct && (credential.state === 'suspended'
        ? button('Resume', () => resume(credential, again))
        : button('Suspend', () => suspend(credential, again))),
      canAct && button('Revoke', () => revoke(credential, again), 'danger')),
    isDead && h('p', { class: 'notice danger' }, h('strong', {}, 'Revoked'), ' by ', credential.revoked_by, ', ',
      time(credential.revoked_at), credential.revoked_reason && `: ${credential.revoked_reason}`),
    h('div', { class: 'columns' },
      h('div', { class: 'stack' },
        section('Identity', facts([
          ['State', badge(credential.state)],
          ['Client ID', h('code', {}, credential.client_id), copyButton('Copy client ID', credential.client_id)],
          ['Account', h('span', { class: 'mono' }, credential.account)],
          ['Environments', environmentsText(credential.environments)],
          ['Limits', limits.length > 0 ? limits.join(', ') : h('span', { class: 'faint' }, 'None of its own')],
          ['Created', time(credential.created_at), h('span', { class: 'faint' }, `by ${credential.created_by}`)],
          ['Expires', time(credential.expires_at, 'Never')],
        ])),
        secretsCard(credential, means),
        section('In use', impactFacts(credential),
          canAct && h('div', { class: 'answers' }, button('End all its tokens…', () => endTokens(credential, again))))),
      h('div', { class: 'stack' },
        section(`Rights (${credential.scopes.length})`,
          credential.scopes.length > 0 ? rights(credential.scopes, asleep(credential, known)) : h('p', { class: 'faint' }, 'None.')),
        section('Roles', roleList(credential, known, means)),
        used(credential, usage, canAct, again))),
    h('div', { class: 'after' }, trail(id)));
}

/** Rights that only a sleeping role grants. */
function asleep(credential, known) {
  const awake = new Set(credential.armed.map((each) => each.role));
  const held = credential.roles.map((id) => known.get(id)).filter(Boolean);
  const sleeps = (role) => role.armed && !awake.has(role.id);
  const counts = new Set([...credential.extra_scopes, ...held.filter((role) => !sleeps(role)).flatMap((role) => role.scopes)]);
  return new Set(held.filter(sleeps).flatMap((role) => role.scopes).filter((scope) => !counts.has(scope)));
}

function used(credential, usage, canAct, again) {
  const never = usage.never_used;
  const isUnused = usage.used.length === 0;
  return section('Least privilege',
    h('div', { class: 'meter', role: 'img', 'aria-label': `${usage.used.length} of ${usage.granted.length} rights were used` },
      usage.granted.map((scope) => h('span', { class: usage.used.includes(scope) ? 'on' : '' }))),
    never.length === 0
      ? h('p', {}, 'All that was granted is used.')
      : [h('p', {}, `${never.length} of ${usage.granted.length} rights were never used since `, time(usage.since), '.'), chips(never),
        canAct && !isUnused && h('div', { class: 'answers' }, button('Narrow to what is used…', () => narrow(credential, usage, again))),
        canAct && isUnused && h('p', { class: 'hint' }, 'Nothing was used at all, so nothing would be left: revoke it if nobody needs it.')]);
}
