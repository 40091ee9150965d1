// Single tokens, and everything issued to somebody before a time: what was
// ended so, and ending more. Credentials are revoked on their own pages.

import { gatewayTime, get, post, withQuery } from './api.js';
import { ask } from './dialog.js';
import { announce, h, put } from './dom.js';
import { field, showFaults } from './fields.js';
import { line } from './grant.js';
import { reasonField, said } from './lifecycle.js';
import { button, empty, failure, heading, loading, row, table, time } from './parts.js';

const COLUMNS = ['What', 'Ended', 'By', 'When', 'Reason', 'Kept until'];
const KINDS = [['', 'Everything'], ['token', 'Single tokens'], ['cut_off', 'Cut-offs']];

export async function revocations(place, { me }) {
  const results = h('div', { class: 'results' });
  const kind = h('select', { id: 'kind', onchange: () => load() }, KINDS.map(([value, text]) => h('option', { value }, text)));
  let asked = 0;
  const load = async (cursor, body, more) => {
    asked += 1;
    const mine = asked;
    try {
      const page = await get(withQuery('/v1/revocations', { kind: kind.value, limit: '50', cursor }));
      if (mine !== asked) return;
      if (!cursor) {
        if (page.items.length === 0) {
          results.replaceChildren(empty('No tokens were revoked.', 'Revoked credentials are not listed here: they stay in the list of credentials.'));
          announce('Nothing found');
          return;
        }
        const list = table('Revoked tokens and cut-offs, newest first', COLUMNS, []);
        [body, more] = [list.querySelector('tbody'), h('div', { class: 'load-more' })];
        results.replaceChildren(h('div', { class: 'scroll' }, list), more);
      }
      body.append(...page.items.map(told));
      more.replaceChildren(page.next_cursor
        ? button('Load more', (event) => { event.currentTarget.disabled = true; load(page.next_cursor, body, more); }) : '');
      announce(`${body.children.length} revocations`);
    } catch (error) {
      if (mine === asked) (more ?? results).replaceChildren(failure(error, () => load(cursor, body, more)));
    }
  };
  put(place,
    heading('Revocations', 'Tokens that were ended before their time, newest first.',
      me.role !== 'viewer' && button('Revoke tokens…', () => revokeTokens(load), 'primary')),
    h('div', { class: 'filters' }, h('div', { class: 'filter' }, h('label', { for: 'kind' }, 'Show'), kind)),
    results);
  results.replaceChildren(loading('revocations'));
  await load();
}

const credentialLink = (id) => h('a', { href: `#/credentials/${id}`, class: 'mono' }, id);

function told(each) {
  const isToken = each.kind === 'token';
  const what = isToken
    ? [h('span', { class: 'title' }, 'One token'), h('p', { class: 'mono faint small' }, each.jti)]
    : [h('span', { class: 'title' }, each.account ? 'An account’s tokens' : 'A credential’s tokens'),
      h('p', { class: 'faint small' }, 'issued before ', time(each.issued_before))];
  const whose = each.client_id ? credentialLink(each.client_id)
    : each.account ? ['Account ', h('span', { class: 'mono' }, each.account)] : h('span', { class: 'faint' }, 'Not known');
  return row(COLUMNS, [what, whose, each.revoked_by, time(each.revoked_at), each.reason, time(each.expires_at, 'For ever')]);
}

/** What can be ended: the field of the call, its label, a hint, and what it means. */
const SUBJECTS = {
  token: ['One token, from its text', 'Token', 'The whole of it: eyJ… It is not kept.', 'Only this token ends.'],
  jti: ['One token, by its id', 'Token id (jti)', 'A UUID, from the token or the audit trail.', 'Only this token ends.'],
  client_id: ['All tokens of a credential', 'Client ID', 'A UUID.', 'Its secrets stay: whoever asks for a new token goes on.'],
  account: ['All tokens of an account', 'Account', 'The tenant.', 'The tokens of all of its credentials end. Their secrets stay: whoever asks for a new token goes on.'],
};

async function revokeTokens(again) {
  const kind = field('kind', 'What', h('select', {}, Object.entries(SUBJECTS).map(([value, [text]]) => h('option', { value }, text))));
  const means = h('p', { class: 'hint', 'aria-live': 'polite' });
  const value = h('div', {});
  const before = field('issued_before', 'Issued before', h('input', { type: 'datetime-local', step: '1' }), 'Empty means now.');
  const reason = reasonField('Stays in the audit trail. Optional.');
  const rest = h('div', {});
  let subject;
  const choose = () => {
    const [, label, hint, meaning] = SUBJECTS[kind.control.value];
    const control = kind.control.value === 'token' ? h('textarea', { rows: '4', spellcheck: 'false', autocomplete: 'off', class: 'mono' }) : line({});
    subject = field(kind.control.value, label, control, hint);
    value.replaceChildren(subject.element);
    before.element.hidden = !['client_id', 'account'].includes(kind.control.value);
    means.textContent = meaning;
    rest.replaceChildren();
  };
  kind.control.addEventListener('change', choose);
  choose();
  const done = await ask({
    title: 'Revoke tokens',
    body: [h('p', {}, 'It takes effect at once, on requests under way, too, and can’t be undone.'),
      kind.element, means, rest, value, before.element, reason.element],
    yes: 'Yes, revoke', no: 'No, keep them', danger: true,
    act: async () => {
      const order = { [subject.name]: subject.control.value.trim() };
      if (reason.control.value.trim()) order.reason = reason.control.value.trim();
      if (!before.element.hidden) {
        const at = before.control.value ? new Date(before.control.value) : await gatewayTime();
        order.issued_before = at.toISOString();
      }
      return post('/v1/revocations', order);
    },
    onError: (error) => { showFaults(error, [subject, before, reason], rest); return true; },
  });
  if (done) {
    said(done, 'Revoked');
    await again();
  }
}
