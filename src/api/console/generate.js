// A new credential: what it is for, where, and what it may do, before it is made.

import { allRoles, post } from './api.js';
import { h, unique } from './dom.js';
import { clearFaults, field, showFaults, tag, tagField } from './fields.js';
import { once } from './once.js';
import { empty, environmentsText, heading, rights, section, show } from './parts.js';

const DAY_MS = 86_400_000;
const LIVES = [['', 'Never'], ['30', 'In 30 days'], ['90', 'In 90 days'], ['365', 'In a year'], ['date', 'On a day…']];

export async function generate(place, { me }) {
  if (me.role === 'viewer') {
    place.replaceChildren(heading('Generate a credential'),
      empty('Your role reads only.', 'An administrator with the role admin can generate credentials.'));
    return;
  }
  place.replaceChildren(heading('Generate a credential', 'One for each integration: then each can be revoked alone.'));
  const body = h('div', {});
  place.append(body);
  await show(body, 'the roles', async () => form(place, await allRoles()));
}

/** The roles as a list to tick, and what was ticked as tags to remove. */
function rolePicker(roles, onChange) {
  const boxes = roles.map((role) => {
    const box = h('input', { type: 'checkbox', value: role.id, id: unique('role'), onchange: () => draw() });
    return { role, box };
  });
  const tags = h('ul', { class: 'tags', 'aria-label': 'Roles: chosen' });
  const chosen = () => boxes.filter(({ box }) => box.checked).map(({ role }) => role);
  const draw = () => {
    tags.replaceChildren(...boxes.filter(({ box }) => box.checked).map(({ role, box }) =>
      tag(role.label, () => { box.checked = false; draw(); box.focus(); })));
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
  tags.hidden = true;
  return { element, name: 'roles', control: boxes[0]?.box ?? all, fault, chosen };
}

function form(place, roles) {
  const sum = h('div', { class: 'sum', 'aria-live': 'polite' });
  const text = (attributes = {}) => h('input', { type: 'text', autocomplete: 'off', ...attributes });

  const name = field('name', 'Name', text({ required: true, maxlength: '100' }), 'The integration that will use it, such as “Nightly report”.');
  const description = field('description', 'Description', h('textarea', { rows: '2', maxlength: '1000' }), 'What it is for. Optional.');
  const account = field('account', 'Account', text({ required: true, spellcheck: 'false', autocapitalize: 'none' }), 'The tenant it is bound to. It can reach no other.');
  const picker = rolePicker(roles, () => change());
  const scopes = tagField('scopes', 'Extra rights',
    'Scopes besides those of the roles, such as campaign.list. Enter adds one. Optional.', 'resource.action', () => change());
  const environments = tagField('environments', 'Environments', 'Where its rights hold. None means all.', 'production', () => change());
  const change = () => summary(sum, picker.chosen(), scopes.chosen(), environments.chosen());

  const day = h('input', { type: 'date', 'aria-label': 'Expires on', hidden: true });
  const life = h('select', { onchange: () => { day.hidden = life.value !== 'date'; if (!day.hidden) day.focus(); } },
    LIVES.map(([value, label]) => h('option', { value }, label)));
  const expires = field('expires_at', 'Expires', life);
  life.after(day);
  const rate = field('rate', 'Rate', text({ placeholder: '100/s', spellcheck: 'false' }), 'Requests in a time, such as 600/m.');
  const concurrency = field('concurrency', 'At once', text({ inputmode: 'numeric', placeholder: '50' }), 'Requests at the same time.');
  const fields = [name, description, account, picker, scopes, environments, expires, rate, concurrency];
  const rest = h('div', {});
  const go = h('button', { type: 'submit', class: 'primary' }, 'Generate');

  const expiry = () => {
    if (life.value === '') return null;
    if (life.value !== 'date') return new Date(Date.now() + Number(life.value) * DAY_MS).toISOString();
    // The end of that day, where the administrator is; no day is a fault of that field.
    return day.value ? new Date(`${day.value}T23:59:59`).toISOString() : 'no day';
  };
  const submit = async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    clearFaults(fields, rest);
    const wanted = {
      name: name.control.value.trim(),
      description: description.control.value.trim(),
      account: account.control.value.trim(),
      roles: picker.chosen().map((role) => role.id),
      scopes: scopes.values(),
      environments: environments.values(),
      expires_at: expiry(),
      rate: rate.control.value.trim() || null,
      concurrency: whole(concurrency.control.value.trim()),
    };
    go.disabled = true;
    try {
      reveal(place, await post('/v1/credentials', wanted));
    } catch (error) {
      if (error.fields?.some(({ field: bad }) => bad === 'rate' || bad === 'concurrency')) limits.open = true;
      showFaults(error, fields, rest);
    } finally {
      go.disabled = false;
    }
  };

  const limits = h('details', {}, h('summary', {}, 'Limits of its own'),
    h('div', { class: 'two' }, rate.element, concurrency.element));
  change();
  return h('form', { class: 'columns', novalidate: true, onsubmit: submit },
    h('div', { class: 'card stack' }, rest, name.element, description.element, account.element, picker.element,
      environments.element, scopes.element, expires.element, limits),
    h('aside', { class: 'beside', 'aria-label': 'What it will be able to do' },
      section('What it will be able to do', sum, h('div', { class: 'answers' },
        h('a', { class: 'button', href: '#/credentials' }, 'Cancel'), go))));
}

/** The rights that the choices amount to, in plain sight. */
function summary(place, roles, extra, environments) {
  const granted = new Set([...roles.flatMap((role) => role.scopes), ...extra]);
  const awake = new Set([...roles.filter((role) => !role.armed).flatMap((role) => role.scopes), ...extra]);
  const asleep = new Set([...granted].filter((scope) => !awake.has(scope)));
  if (granted.size === 0) {
    place.replaceChildren(h('p', { class: 'faint' }, 'Nothing yet. Choose a role, or add a right.'));
    return;
  }
  place.replaceChildren(
    h('p', {}, h('strong', {}, `${granted.size} ${granted.size === 1 ? 'right' : 'rights'}`), ' in ',
      h('strong', {}, environments.length === 0 ? 'all environments' : environmentsText(environments)), '.'),
    rights([...granted].sort(), asleep));
  if (asleep.size > 0) {
    place.append(h('p', { class: 'hint' }, 'What is asleep works only while an administrator has armed it, for minutes.'));
  }
}

function reveal(place, made) {
  place.replaceChildren(once({
    title: `“${made.name}” is ready`,
    warning: 'Copy the secret now and keep it where the integration reads it. If it is lost, a new one must be generated.',
    pairs: [
      { label: 'Client ID', value: made.client_id },
      { label: 'Client secret', value: made.client_secret, isSecret: true },
    ],
    done: 'Done',
    onDone: () => { location.hash = `#/credentials/${made.client_id}`; },
  }));
  place.querySelector('h1').focus();
  window.scrollTo(0, 0);
}

/** A number where it is one; else the text, for the gateway to say what is wrong. */
function whole(text) {
  if (!text) return null;
  return /^\d+$/.test(text) ? Number(text) : text;
}
