// What two forms of a credential differ in, as people read it, and what somebody
// typed over the older one.

import { beforeAfter, chips, environmentsText } from './parts.js';
import { h } from './dom.js';
import { amount } from './grant.js';

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const moment = (text) => (text ? MOMENT.format(new Date(text)) : 'never');
const own = (limit) => String(limit ?? 'none of its own');

/** Whether two values are the same; lists in any order. */
export const isSame = (a, b) => (Array.isArray(a)
  ? JSON.stringify([...a].sort()) === JSON.stringify([...b].sort()) : (a ?? null) === (b ?? null));

/** What of a credential can be changed, by the names that a change has. */
export function fieldsOf({ name, description, roles, extra_scopes: scopes, environments, expires_at: end, rate, concurrency }) {
  return { name, description, roles, scopes, environments, expires_at: end, rate, concurrency };
}

/** What a choice takes away and gives, in rights. */
export function difference(before, after) {
  const gone = before.granted.filter((scope) => !after.granted.includes(scope));
  const more = after.granted.filter((scope) => !before.granted.includes(scope));
  const both = before.granted.filter((scope) => after.granted.includes(scope));
  const dozes = both.filter((scope) => after.asleep.has(scope) && !before.asleep.has(scope));
  const wakes = both.filter((scope) => before.asleep.has(scope) && !after.asleep.has(scope));
  return { gone, more, dozes, wakes, before: before.granted.length, after: after.granted.length };
}

/** The same of two sets of roles and scopes. */
export const rightsBetween = (roles, before, after) =>
  difference(amount(roles, before.roles, before.scopes), amount(roles, after.roles, after.scopes));

/** What else differs, each with its name, before and after. */
export function linesBetween(before, after) {
  const shown = [
    ['environments', 'Environments', environmentsText], ['expires_at', 'Expires', moment],
    ['rate', 'Rate', own], ['concurrency', 'At once', own],
  ];
  return shown.filter(([key]) => key in after && !isSame(before[key], after[key]))
    .map(([key, name, text]) => [name, text(before[key]), text(after[key])]);
}

/** The difference as people read it; `lines` are the other fields that change. */
export function told({ gone, more, dozes, wakes, before, after }, lines) {
  const list = (title, scopes, kind) => scopes.length > 0 && h('div', { class: `delta ${kind}` }, h('h3', {}, title), chips(scopes, kind));
  return [
    list('Taken away', gone, 'less'),
    list('Asleep from now on, until armed', dozes, 'less'),
    list('Added', more, 'more'),
    list('Awake from now on', wakes, 'more'),
    before !== after && h('p', {}, 'Rights: ', beforeAfter(String(before), String(after))),
    lines.map(([name, was, is]) => h('p', {}, `${name}: `, beforeAfter(was, is))),
  ];
}

/** What others made of `before` while somebody typed over it. */
export function toldMeanwhile(roles, before, now) {
  const names = [['name', 'Name'], ['description', 'Description']].filter(([key]) => !isSame(before[key], now[key]));
  const lists = [['roles', 'Roles'], ['scopes', 'Extra rights']].filter(([key]) => !isSame(before[key], now[key]));
  const listText = (ids) => ids.map((id) => roles.find((role) => role.id === id)?.label ?? id).join(', ') || 'none';
  return told(rightsBetween(roles, before, now), [
    ...names.map(([key, name]) => [name, before[key] || 'none', now[key] || 'none']),
    ...lists.map(([key, name]) => [name, listText(before[key]), listText(now[key])]),
    ...linesBetween(before, now),
  ]);
}

/**
 * What was typed over `before`, over `now` instead. What nobody touched is as it is now;
 * of roles and scopes only what was added and removed is, so that a right which was taken
 * away meanwhile stays away.
 */
export function typedOver(before, typed, now) {
  const merged = (key) => [
    ...now[key].filter((one) => typed[key].includes(one) || !before[key].includes(one)),
    ...typed[key].filter((one) => !before[key].includes(one) && !now[key].includes(one)),
  ];
  // Not so of environments: that none are left would mean all of them.
  const chosen = (key) => (typed[key] === undefined || isSame(before[key], typed[key]) ? now[key] : typed[key]);
  return {
    name: chosen('name'), description: chosen('description'), roles: merged('roles'), scopes: merged('scopes'),
    environments: chosen('environments'), expires_at: chosen('expires_at'), rate: chosen('rate'), concurrency: chosen('concurrency'),
  };
}
