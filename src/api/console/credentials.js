// The history: every credential there ever was, newest first.

import { allRoles, get, withQuery } from './api.js';
import { announce, debounced, h, put, unique } from './dom.js';
import { badge, button, chips, empty, failure, heading, loading, row, table, time } from './parts.js';

const COLUMNS = ['Credential', 'State', 'Roles', 'Account', 'Environments', 'Created by', 'Created', 'Last used'];
/** Longer than any credential lives: what is left was never used. */
const EVER = '36500d';
const USES = [['', 'Any time'], [EVER, 'Never'], ['30d', 'Not for 30 days'], ['90d', 'Not for 90 days'], ['365d', 'Not for a year']];
const STATES = [['', 'Any state'], ['active', 'Active'], ['suspended', 'Suspended'], ['revoked', 'Revoked'], ['expired', 'Expired']];

/** What was last looked for, so that the way back leads to the same list. */
const filter = { q: '', state: '', role: '', account: '', environment: '', unused_for: '' };

export async function credentials(place, { me }) {
  const results = h('div', { class: 'results' });
  const roles = await allRoles().catch(() => []);
  const labels = new Map(roles.map((role) => [role.id, role.label]));
  // Answers may overtake each other: only the last question's counts.
  let asked = 0;

  const load = async (cursor, body, more) => {
    asked += 1;
    const mine = asked;
    try {
      const page = await get(withQuery('/v1/credentials', { ...filter, limit: '50', cursor }));
      if (mine !== asked) return;
      if (!cursor) ({ body, more } = frame(page.items.length));
      if (body) body.append(...page.items.map((each) => line(each, labels)));
      if (more) {
        more.replaceChildren(page.next_cursor
          ? button('Load more', (event) => { event.currentTarget.disabled = true; load(page.next_cursor, body, more); })
          : h('span', {}));
      }
      const count = body?.children.length ?? 0;
      announce(count === 0 ? 'No credentials found' : `${count}${page.next_cursor ? ' or more' : ''} ${count === 1 ? 'credential' : 'credentials'}`);
    } catch (error) {
      if (mine !== asked) return;
      if (cursor) more.replaceChildren(failure(error, () => load(cursor, body, more)));
      else results.replaceChildren(failure(error, () => load()));
    }
  };

  /** An empty table to be filled, or why there is none. */
  const frame = (found) => {
    if (found === 0) {
      const isFiltered = Object.values(filter).some(Boolean);
      results.replaceChildren(isFiltered
        ? empty('Nothing matches.', 'Try fewer letters, or another filter.', button('Clear search and filters', clear))
        : empty('No credentials yet.', 'A credential lets one integration in, with just the rights it needs.',
          me.role !== 'viewer' && h('a', { class: 'button primary', href: '#/generate' }, 'Generate the first one')));
      return {};
    }
    const list = table('Credentials, newest first', COLUMNS, []);
    const more = h('div', { class: 'load-more' });
    results.replaceChildren(h('div', { class: 'scroll' }, list), more);
    return { body: list.querySelector('tbody'), more };
  };

  const soon = debounced(() => load(), 180);
  const control = (name, label, element) => {
    element.id = unique(name);
    element.value = filter[name];
    element.addEventListener('input', () => { filter[name] = element.value.trim(); soon(); });
    return h('div', { class: name === 'q' ? 'search' : 'filter' },
      h('label', { for: element.id, class: name === 'q' ? 'hidden-text' : '' }, label), element);
  };
  const options = (pairs) => pairs.map(([value, text]) => h('option', { value }, text));
  const controls = h('div', { class: 'filters', role: 'search' },
    control('q', 'Search by name, description, role, creator or client ID', h('input', {
      type: 'search', autocomplete: 'off', spellcheck: 'false', placeholder: 'Search name, description, role, creator or client ID',
    })),
    control('state', 'State', h('select', {}, options(STATES))),
    control('role', 'Role', h('select', {}, options([['', 'Any role'], ...labels]))),
    control('account', 'Account', h('input', { type: 'text', autocomplete: 'off', placeholder: 'Any', spellcheck: 'false' })),
    control('environment', 'Environment', h('input', { type: 'text', autocomplete: 'off', placeholder: 'Any', spellcheck: 'false' })),
    control('unused_for', 'Last used', h('select', {}, options(USES))));
  const clear = () => {
    for (const each of Object.keys(filter)) filter[each] = '';
    for (const each of controls.querySelectorAll('input, select')) each.value = '';
    controls.querySelector('input').focus();
    load();
  };

  put(place,
    heading('Credentials', 'Every credential there ever was, newest first. Revoked ones stay.',
      me.role !== 'viewer' && h('a', { class: 'button primary', href: '#/generate' }, 'Generate')),
    controls, results);
  results.replaceChildren(loading('credentials'));
  await load();
}

const extra = (count) => (count > 0 ? [`+ ${count} ${count === 1 ? 'right' : 'rights'}`] : []);

function line(credential, labels) {
  const href = `#/credentials/${credential.client_id}`;
  return row(COLUMNS, [
    [h('a', { href, class: 'title' }, credential.name), credential.description && h('p', { class: 'faint clip' }, credential.description)],
    badge(credential.state),
    chips([...credential.roles.map((id) => labels.get(id) ?? id), ...extra(credential.extra_scopes.length)]),
    h('span', { class: 'mono' }, credential.account),
    credential.environments.length > 0 ? credential.environments.join(', ') : h('span', { class: 'faint' }, 'All'),
    credential.created_by,
    time(credential.created_at, '–', true),
    time(credential.last_used_at, 'Never', true),
  ], { class: credential.state });
}
