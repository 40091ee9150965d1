// One credential: everything there is to know, and everything that can be done.

import { allRoles, credentialPath, get, serves } from './api.js';
import { h, put } from './dom.js';
import { badge, button, chips, copyButton, environmentsText, failure, facts, heading, loading, rights, row, section, table, time } from './parts.js';
import { armRole, change, disarmRole, narrow, resume, retire, revoke, rotate, suspend } from './lifecycle.js';
import { trail } from './audit.js';

/** What the gateway may not have; without it the page has one card less. */
const optional = async (path, template) =>
  (await serves('GET', template)) ? get(path).catch(() => null) : null;

export async function details(place, { me, id }) {
  place.replaceChildren(loading('the credential'));
  const again = async () => {
    try {
      await draw(place, me, id, again);
    } catch (error) {
      place.replaceChildren(
        heading(error.status === 404 ? 'There is no such credential' : 'Credential'),
        failure(error, again), h('p', {}, h('a', { href: '#/credentials' }, 'To all credentials')));
    }
  };
  await again();
}

async function draw(place, me, id, again) {
  const path = (rest) => credentialPath(id, rest);
  const template = (rest) => `/v1/credentials/{client_id}${rest}`;
  const can = (method, rest) => me.role !== 'viewer' && serves(method, template(rest));
  const [credential, roles, usage, may] = await Promise.all([
    get(path()),
    allRoles(),
    optional(path('/usage'), template('/usage')),
    Promise.all([can('PATCH', ''), can('POST', '/secrets'), can('DELETE', '/secrets/{}'), can('POST', '/arm'), can('POST', '/narrow')])
      .then(([edit, rotation, retirement, arming, narrowing]) => ({ edit, rotation, retirement, arming, narrowing })),
  ]);
  const isDead = credential.state === 'revoked';
  const canAct = me.role !== 'viewer' && !isDead;
  const known = new Map(roles.map((role) => [role.id, role]));
  const armed = armedUntil(credential);
  const asleep = new Set(credential.roles.filter((role) => known.get(role)?.armed && !armed.has(role))
    .flatMap((role) => known.get(role).scopes));
  for (const role of credential.roles.filter((each) => !known.get(each)?.armed || armed.has(each))) {
    for (const scope of known.get(role)?.scopes ?? []) asleep.delete(scope);
  }

  put(place,
    h('p', { class: 'crumb' }, h('a', { href: '#/credentials' }, '← Credentials')),
    heading(credential.name, credential.description,
      canAct && may.edit && button('Edit', () => change(credential, again)),
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
          ['Created by', credential.created_by],
          ['Created', time(credential.created_at)],
          ['Expires', time(credential.expires_at, 'Never')],
          ['Last used', time(credential.last_used_at, 'None on record')],
          (credential.rate || credential.concurrency) && ['Limits',
            [credential.rate, credential.concurrency && `${credential.concurrency} at once`].filter(Boolean).join(', ')],
        ])),
        secrets(credential, may, canAct, place, again),
        trail(id)),
      h('div', { class: 'stack' },
        section('Rights',
          credential.scopes.length > 0 ? rights(credential.scopes, asleep) : h('p', { class: 'faint' }, 'None.')),
        section('Roles', roleList(credential, known, armed, may, canAct, again)),
        usage && used(credential, usage, may.narrowing && canAct, again))));
}

/** Roles that are awake, and until when. */
const armedUntil = (credential) =>
  new Map((credential.armed ?? []).map((each) => [each.role, each.armed_until]));

function roleList(credential, known, armed, may, canAct, again) {
  if (credential.roles.length === 0) return h('p', { class: 'faint' }, 'None: it has only rights of its own.');
  return h('ul', { class: 'plain' }, credential.roles.map((id) => {
    const role = known.get(id);
    return h('li', {},
      h('div', {}, h('span', { class: 'strong' }, role?.label ?? id),
        h('span', { class: 'faint block' }, role ? role.description : 'The configuration names it no more: it grants nothing.'),
        role?.armed && h('span', { class: 'block' }, armed.has(id)
          ? [h('span', { class: 'badge active' }, 'Armed'), ' until ', time(armed.get(id))]
          : h('span', { class: 'badge suspended' }, 'Asleep until armed'))),
      role?.armed && canAct && may.arming && (armed.has(id)
        ? button('Disarm', () => disarmRole(credential, role, again))
        : button('Arm…', () => armRole(credential, role, again))));
  }));
}

const SECRET_COLUMNS = ['Secret', 'Created', 'Last used', 'Ends', 'Action'];

function secrets(credential, may, canAct, place, again) {
  const canRetire = may.retirement && canAct && credential.secrets.length > 1;
  const columns = canRetire ? SECRET_COLUMNS : SECRET_COLUMNS.slice(0, 4);
  const rows = credential.secrets.map((secret) => row(columns, [
    `Generation ${secret.generation}`,
    time(secret.created_at),
    time(secret.last_used_at, 'None on record'),
    secret.retires_unused_for && !secret.retires_at
      ? `When unused for ${secret.retires_unused_for}` : time(secret.retires_at, 'Not set'),
    canRetire && h('button', {
      type: 'button', 'aria-label': `Retire generation ${secret.generation}`,
      onclick: () => retire(credential, secret, again),
    }, 'Retire…'),
  ].slice(0, columns.length)));
  return section('Secrets',
    rows.length > 0 ? h('div', { class: 'scroll' }, table('Secrets, oldest first', columns, rows)) : h('p', { class: 'faint' }, 'None is left.'),
    may.rotation && canAct && h('div', { class: 'answers' }, button('Add a new secret…', () => rotate(credential, place, again))));
}

function used(credential, usage, canNarrow, again) {
  const never = usage.never_used;
  return section('Rights in use',
    h('p', { class: 'faint' }, 'Since ', time(usage.since), '.'),
    never.length === 0
      ? h('p', {}, 'All that was granted is used.')
      : [h('p', {}, `${never.length} of ${usage.granted.length} rights were never used:`), chips(never),
        canNarrow && h('div', { class: 'answers' }, button('Narrow to what is used…', () => narrow(credential, usage, again)))]);
}
