// Who did what, when.

import { get, withQuery } from './api.js';
import { announce, debounced, h } from './dom.js';
import { beforeAfter, button, empty, failure, heading, loading, row, section, show, table, time } from './parts.js';

const COLUMNS = ['When', 'Who', 'What', 'To what', 'Reason'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** From where, unless the name says it. */
const origin = ({ source, actor }) => source && source !== actor && h('p', { class: 'faint small' }, source);

/** Before and after, field by field; what is new has no before, and much of it is folded. */
function differences({ changes }) {
  if (changes.length === 0) return null;
  const list = h('ul', { class: 'changes' }, changes.map(({ field, before, after }) =>
    h('li', {}, h('span', { class: 'faint' }, `${field.replaceAll('_', ' ')}: `),
      before === null ? h('ins', {}, after ?? 'none') : beforeAfter(before, after ?? 'none'))));
  const isNew = changes.every(({ before }) => before === null);
  return isNew && changes.length > 3
    ? h('details', { class: 'changed' }, h('summary', {}, `As it was made: ${changes.length} fields`), list) : list;
}

/** Whether the thing that was changed is a credential. */
const isCredential = ({ action, target }) => /^(credential|secret|role)\./.test(action) && UUID.test(target);

function line(entry) {
  return row(COLUMNS, [
    time(entry.at),
    [entry.actor, origin(entry)],
    [h('code', {}, entry.action), differences(entry)],
    isCredential(entry)
      ? h('a', { href: `#/credentials/${entry.target}`, class: 'mono' }, entry.target)
      : h('span', { class: 'mono' }, entry.target),
    entry.reason,
  ]);
}

export async function audit(place) {
  const results = h('div', { class: 'results' });
  let asked = 0;
  let q = '';
  const load = async (cursor, body, more) => {
    asked += 1;
    const mine = asked;
    try {
      const page = await get(withQuery('/v1/audit', { q, limit: '50', cursor }));
      if (mine !== asked) return;
      if (!cursor) {
        if (page.items.length === 0) {
          results.replaceChildren(q ? empty('Nothing matches.', 'Try fewer letters.') : empty('Nothing happened yet.', 'Every change will stand here.'));
          announce('Nothing found');
          return;
        }
        const list = table('Audit trail, newest first', COLUMNS, []);
        [body, more] = [list.querySelector('tbody'), h('div', { class: 'load-more' })];
        results.replaceChildren(h('div', { class: 'scroll' }, list), more);
      }
      body.append(...page.items.map(line));
      more.replaceChildren(page.next_cursor
        ? button('Load more', (event) => { event.currentTarget.disabled = true; load(page.next_cursor, body, more); })
        : '');
      announce(`${body.children.length} entries`);
    } catch (error) {
      if (mine === asked) (more ?? results).replaceChildren(failure(error, () => load(cursor, body, more)));
    }
  };
  const soon = debounced(() => load(), 180);
  const search = h('input', {
    id: 'audit-q', type: 'search', autocomplete: 'off', placeholder: 'Search who, what, to what or reason', value: q,
    oninput: () => { q = search.value.trim(); soon(); },
  });
  const verdict = h('div', {});
  place.replaceChildren(
    heading('Audit trail', 'Every change: who, what, when, from where and why. Newest first.',
      button('Verify the chain', () => verify(verdict))),
    verdict,
    h('div', { class: 'filters', role: 'search' }, h('div', { class: 'search' },
      h('label', { for: 'audit-q', class: 'hidden-text' }, 'Search the audit trail'), search)),
    results);
  results.replaceChildren(loading('the audit trail'));
  await load();
}

/** Whether nobody tampered with the trail, in the gateway's own words. */
function verify(place) {
  return show(place, 'the verdict', async () => {
    const found = await get('/v1/audit/verify');
    const told = found.ok
      ? `The chain of ${found.entries.toLocaleString()} entries is whole: none was changed, removed or slipped in.`
      : `The chain breaks at revision ${found.first_broken.revision}: ${found.first_broken.what}.`;
    announce(told);
    return h('p', { class: `notice ${found.ok ? 'good' : 'danger'}` }, told);
  });
}

/** The card with what happened to one thing. */
export function trail(id) {
  const place = h('div', {});
  show(place, 'its history', async () => {
    const { items, next_cursor: more } = await get(withQuery('/v1/audit', { q: id, limit: '20' }));
    if (items.length === 0) return h('p', { class: 'faint' }, 'Nothing.');
    return [h('ol', { class: 'trail' }, items.map((entry) => h('li', {},
      h('p', {}, h('strong', {}, entry.actor), ' ', h('code', {}, entry.action), entry.reason && `: ${entry.reason}`),
      differences(entry),
      h('p', { class: 'faint small' }, time(entry.at), ` · ${entry.source}`)))),
    more && h('p', { class: 'hint' }, 'Older entries are in the ', h('a', { href: '#/audit' }, 'audit trail'), '.')];
  });
  return section('History', place);
}
