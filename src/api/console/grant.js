// The fields that say what a credential may do, where, how long and how much:
// the same for a new one and for one that is changed.

import { gatewayTime } from './api.js';
import { announce, h, unique } from './dom.js';
import { field, tag, tagField, whole } from './fields.js';
import { environmentsText, rights, time } from './parts.js';

const DAY_MS = 86_400_000;
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const LIVES = [['30', 'In 30 days'], ['90', 'In 90 days'], ['365', 'In a year'], ['date', 'On a day…']];

/** A line of text to be typed. */
export const line = (attributes = {}) =>
  h('input', { type: 'text', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', ...attributes });

/** The roles as a list to tick, and what was ticked as tags to remove. */
function rolePicker(roles, held, onChange) {
  const boxes = roles.map((role) => {
    const box = h('input', { type: 'checkbox', value: role.id, id: unique('role'), checked: held.includes(role.id), onchange: () => draw() });
    return { role, box };
  });
  // What the configuration has dropped can only be taken away.
  const lost = new Set(held.filter((id) => roles.every((role) => role.id !== id)));
  const tags = h('ul', { class: 'tags', 'aria-label': 'Roles: chosen' });
  const chosen = () => boxes.filter(({ box }) => box.checked).map(({ role }) => role);
  const draw = () => {
    tags.replaceChildren(
      ...boxes.filter(({ box }) => box.checked).map(({ role, box }) =>
        tag(role.label, () => { box.checked = false; draw(); box.focus(); announce(`${role.label} removed`); })),
      ...[...lost].map((id) => tag(id, () => { lost.delete(id); draw(); control.focus(); announce(`${id} removed`); })));
    tags.hidden = tags.children.length === 0;
    fault('');
    all.textContent = chosen().length === boxes.length ? 'Select none' : 'Select all';
    onChange();
  };
  const all = h('button', {
    type: 'button', class: 'link',
    onclick: () => {
      const value = chosen().length < boxes.length;
      for (const { box } of boxes) box.checked = value;
      draw();
    },
  }, 'Select all');
  const list = h('div', { class: 'choices' }, boxes.map(({ role, box }) => h('div', { class: 'choice' }, box,
    h('label', { for: box.id },
      h('span', { class: 'strong' }, role.label),
      role.armed && h('span', { class: 'badge suspended' }, 'Asleep until armed'),
      role.description && h('span', { class: 'faint block' }, role.description)))));
  const problem = h('p', { class: 'fault', id: unique('roles-fault') });
  const element = h('fieldset', { class: 'field', 'aria-describedby': problem.id },
    h('legend', {}, 'Roles', boxes.length > 1 && all), tags,
    boxes.length > 0 ? list : h('p', { class: 'hint' }, 'The configuration names no roles. Extra rights still work.'), problem);
  const fault = (message) => {
    problem.textContent = message;
    element.classList.toggle('bad', message !== '');
  };
  const control = boxes[0]?.box ?? all;
  return { element, name: 'roles', control, fault, chosen, draw, values: () => [...chosen().map((role) => role.id), ...lost] };
}

/** When it ends; `values()` is undefined where that stays as it is. `chosen` was chosen before. */
function expiry(end, chosen) {
  const day = h('input', { type: 'date', 'aria-label': 'Expires on', hidden: true });
  const stay = end ? [['keep', 'As it is']] : [];
  const again = chosen ? [['chosen', `On ${DAY.format(new Date(chosen))}`]] : [];
  const life = h('select', { onchange: () => { day.hidden = life.value !== 'date'; if (!day.hidden) day.focus(); } },
    [...stay, ['', 'Never'], ...again, ...LIVES].map(([value, label]) => h('option', { value }, label)));
  const made = field('expires_at', 'Expires', life, end && ['Now: ', time(end), '.']);
  life.after(day);
  if (chosen !== undefined) life.value = chosen ? 'chosen' : '';
  const values = async () => {
    if (life.value === 'keep') return undefined;
    if (life.value === 'chosen') return chosen;
    if (life.value === '') return null;
    if (life.value !== 'date') return new Date((await gatewayTime()).getTime() + Number(life.value) * DAY_MS).toISOString();
    if (!day.value) throw Object.assign(new Error('Choose a day'), { fields: [{ field: 'expires_at', message: 'choose a day' }] });
    // The end of that day, where the administrator is.
    return new Date(`${day.value}T23:59:59`).toISOString();
  };
  day.addEventListener('input', () => life.dispatchEvent(new Event('input')));
  return { ...made, values };
}

/**
 * The fields, filled with what `held` has, by the names of a change. `onChange` gets what is chosen, each
 * time that it changes.
 */
export function grantFields(roles, held, onChange) {
  // The API knows a star for all of them; here that is none.
  const places = (chosen) => (chosen.length === 1 && chosen[0] === '*' ? [] : chosen);
  const now = () => ({ roles: picker.values(), scopes: scopes.chosen(), environments: places(environments.chosen()) });
  const changed = () => onChange(now());
  const picker = rolePicker(roles, held?.roles ?? [], changed);
  const environments = tagField('environments', 'Environments', {
    hint: 'Where its rights hold. None means all.', placeholder: 'production', words: held?.environments, onChange: changed,
  });
  const scopes = tagField('scopes', 'Extra rights', {
    hint: 'Scopes besides those of the roles, such as campaign.list. Enter adds one.', placeholder: 'resource.action',
    words: held?.scopes, onChange: changed,
  });
  const expires = expiry(held?.expires_at, held?.chosenEnd);
  const rate = field('rate', 'Rate', line({ placeholder: '100/s', value: held?.rate ?? '' }), 'Requests in a time, such as 600/m.');
  const concurrency = field('concurrency', 'At once',
    line({ inputmode: 'numeric', placeholder: '50', value: String(held?.concurrency ?? '') }), 'Requests at the same time.');
  const limits = h('details', { open: Boolean(held?.rate || held?.concurrency) }, h('summary', {}, 'Limits of its own'),
    h('div', { class: 'two' }, rate.element, concurrency.element));
  const start = () => picker.draw();
  return {
    start,
    fields: [picker, environments, scopes, expires, rate, concurrency],
    elements: [picker.element, environments.element, scopes.element, expires.element, limits],
    /** All values; `expires_at` is undefined where it stays. */
    values: async () => ({
      roles: picker.values(),
      scopes: scopes.values(),
      environments: places(environments.values()),
      expires_at: await expires.values(),
      rate: rate.control.value.trim() || null,
      concurrency: whole(concurrency.control.value.trim()),
    }),
    /** A fault in what is folded away must be seen. */
    unfold: (error) => {
      if (error.fields?.some(({ field: bad }) => bad === 'rate' || bad === 'concurrency')) limits.open = true;
    },
  };
}

/** What roles and extra scopes amount to: all rights, and those that are asleep. */
export function amount(roles, chosen, extra) {
  const held = roles.filter((role) => chosen.includes(role.id));
  const of = (some) => some.flatMap((role) => role.scopes);
  const granted = [...new Set([...of(held), ...extra])].sort();
  const awake = new Set([...of(held.filter((role) => !role.armed)), ...extra]);
  return { granted, asleep: new Set(granted.filter((scope) => !awake.has(scope))) };
}

/** The same in plain sight. */
export function amountText({ granted, asleep }, environments) {
  if (granted.length === 0) return [h('p', { class: 'faint' }, 'Nothing yet. Choose a role, or add a right.')];
  return [
    h('p', {}, h('strong', {}, `${granted.length} ${granted.length === 1 ? 'right' : 'rights'}`), ' in ',
      h('strong', {}, environments.length === 0 ? 'all environments' : environmentsText(environments)), '.'),
    rights(granted, asleep),
    asleep.size > 0 && h('p', { class: 'hint' }, 'What is asleep works only while an administrator has armed it, for minutes.'),
  ];
}
