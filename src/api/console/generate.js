// A new credential: what it is for, where, and what it may do, before it is made.

import { allRoles, post } from './api.js';
import { h, put } from './dom.js';
import { clearFaults, field, showFaults } from './fields.js';
import { amount, amountText, grantFields, line } from './grant.js';
import { once } from './once.js';
import { empty, heading, section, show } from './parts.js';

export async function generate(place, { me }) {
  if (me.role === 'viewer') {
    place.replaceChildren(heading('Generate a credential'),
      empty('Your role reads only.', 'An administrator with the role admin can generate credentials.'));
    return;
  }
  const body = h('div', {});
  put(place,
    h('p', { class: 'crumb' }, h('a', { href: '#/credentials' }, '← Credentials')),
    heading('Generate a credential', 'One for each integration: then each can be revoked alone.'), body);
  await show(body, 'the roles', async () => form(place, await allRoles()));
}

function form(place, roles) {
  const sum = h('div', { class: 'sum', 'aria-live': 'polite' });
  const name = field('name', 'Name', line({ required: true, maxlength: '100' }), 'The integration that will use it, such as “Nightly report”.');
  const description = field('description', 'Description', h('textarea', { rows: '2', maxlength: '1000' }), 'What it is for. Optional.');
  const account = field('account', 'Account', line({ required: true }), 'The tenant it is bound to. It can reach no other.');
  const grant = grantFields(roles, null, (chosen) =>
    put(sum, amountText(amount(roles, chosen.roles, chosen.scopes), chosen.environments)));
  const fields = [name, description, account, ...grant.fields];
  const rest = h('div', {});
  const go = h('button', { type: 'submit', class: 'primary' }, 'Generate');

  const submit = async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    clearFaults(fields, rest);
    go.disabled = true;
    try {
      const made = await post('/v1/credentials', {
        name: name.control.value.trim(),
        description: description.control.value.trim(),
        account: account.control.value.trim(),
        ...await grant.values(),
      });
      reveal(place, made);
    } catch (error) {
      if (error.isLost) return void lost(rest, name.control.value.trim());
      grant.unfold(error);
      showFaults(error, fields, rest);
    } finally {
      go.disabled = false;
    }
  };

  grant.start();
  return h('form', { class: 'columns', novalidate: true, onsubmit: submit },
    h('div', { class: 'card stack' }, rest, name.element, description.element, account.element, grant.elements),
    h('aside', { class: 'beside', 'aria-label': 'Summary' },
      section('What it will be able to do', sum, h('div', { class: 'answers' },
        h('a', { class: 'button', href: '#/credentials' }, 'Cancel'), go))));
}

/** It may have been made, with a secret that nobody has seen. */
function lost(rest, name) {
  const list = h('a', { href: '#/credentials', target: '_blank', rel: 'noopener' }, 'Look at the newest credentials');
  put(rest, h('div', { class: 'notice danger', role: 'alert' },
    h('p', { class: 'strong' }, 'No answer came from the gateway.'),
    h('p', {}, `“${name}” may have been made, or not. `, list, ' (in a new tab) before you press Generate again.'),
    h('p', {}, 'If it is there, open it and add a new secret: nobody has seen the first one.')));
  list.focus();
}

function reveal(place, made) {
  place.replaceChildren(once({
    title: `“${made.name}” is ready`,
    notes: made.warnings,
    warning: 'Copy the secret now and keep it where the integration reads it. If it is lost, a new one must be made.',
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
