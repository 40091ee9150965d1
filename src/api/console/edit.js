// Changing a credential: every field, and what a change takes away, in plain
// sight before it is confirmed. Less right takes effect at once.

import { allRoles, credentialPath, patch, readTagged } from './api.js';
import { ask } from './dialog.js';
import { difference, fieldsOf, isSame, linesBetween, rightsBetween, told, toldMeanwhile, typedOver } from './difference.js';
import { announce, h, put } from './dom.js';
import { clearFaults, field, showFaults } from './fields.js';
import { amount, grantFields, line } from './grant.js';
import { impactBox } from './impact.js';
import { empty, failure, heading, loading, section } from './parts.js';

export async function edit(place, { me, id }) {
  place.replaceChildren(loading('the credential'));
  try {
    const [read, roles] = await Promise.all([readTagged(credentialPath(id)), allRoles()]);
    const { answer: credential } = read;
    const back = h('p', { class: 'crumb' }, h('a', { href: `#/credentials/${id}` }, `← ${credential.name}`));
    if (me.role === 'viewer' || credential.state === 'revoked') {
      put(place, back, heading(`Change “${credential.name}”`), me.role === 'viewer'
        ? empty('Your role reads only.', 'An administrator with the role admin can change credentials.')
        : empty('It is revoked, for good.', 'What it was stays in the history; a new one can be generated.'));
      return;
    }
    put(place, back, heading(`Change “${credential.name}”`, 'Less right counts at once, on tokens that are out, too. More right takes a new token.'),
      form(read, roles));
  } catch (error) {
    place.replaceChildren(heading('Change a credential'), failure(error, () => edit(place, { me, id })));
  }
}

/** Whether it ends sooner, or holds in fewer environments. */
function isNarrower(credential, { environments, expires_at: end }) {
  const holds = (environment) => environments.length === 0 || environments.includes(environment);
  const fewer = environments?.length > 0 && (credential.environments.length === 0 || !credential.environments.every(holds));
  return fewer || (end && (!credential.expires_at || new Date(end) < new Date(credential.expires_at)));
}

/**
 * The form over what was read. Where somebody else was faster it is made anew: `typed` is
 * what was typed into the one before, and `news` what has changed meanwhile.
 */
function form(read, roles, typed, news) {
  const { answer: credential } = read;
  const before = fieldsOf(credential);
  const shown = typed ?? before;
  const sum = h('div', { class: 'sum', 'aria-live': 'polite' });
  const was = amount(roles, before.roles, before.scopes);
  const name = field('name', 'Name', line({ required: true, maxlength: '100', value: shown.name }));
  const description = field('description', 'Description', h('textarea', { rows: '2', maxlength: '1000', value: shown.description }));
  const chosenEnd = isSame(shown.expires_at, before.expires_at) ? undefined : shown.expires_at;
  const grant = grantFields(roles, { ...shown, expires_at: before.expires_at, chosenEnd }, (chosen) => {
    const now = difference(was, amount(roles, chosen.roles, chosen.scopes));
    const lines = linesBetween(before, { environments: chosen.environments });
    const isNothing = now.gone.length + now.more.length + now.dozes.length + now.wakes.length + lines.length === 0;
    put(sum, isNothing ? h('p', { class: 'faint' }, `The ${was.granted.length} rights it has stay.`) : told(now, lines));
  });
  const fields = [name, description, ...grant.fields];
  const rest = h('div', {});
  const path = credentialPath(credential.client_id);
  const home = `#/credentials/${credential.client_id}`;

  const all = async () => ({ name: name.control.value.trim(), description: description.control.value.trim(), ...await grant.values() });
  /** Only what is different: what somebody else changed meanwhile stays. */
  const changes = (wanted) => Object.fromEntries(Object.entries(wanted)
    .filter(([key, value]) => value !== undefined && !isSame(before[key], value)));
  /** Lists are sent whole, so they must be based on what there is. */
  const write = async (wanted) => {
    try {
      return await patch(path, wanted, read.tag);
    } catch (error) {
      if (error.status !== 412) throw error;
      const now = await readTagged(path);
      const isOther = Object.entries(fieldsOf(now.answer)).some(([key, value]) => !isSame(before[key], value));
      if (isOther) throw Object.assign(error, { now });
      // It was armed, or given a secret: none of that is on this page.
      read.tag = now.tag;
      return write(wanted);
    }
  };
  const leave = () => {
    announce('Saved.');
    location.hash = home;
  };
  const confirm = (wanted) => {
    const change = rightsBetween(roles, before, { ...before, ...wanted });
    const isLess = change.gone.length + change.dozes.length > 0 || isNarrower(credential, wanted);
    return ask({
      title: isLess ? `Take rights away from “${credential.name}”?` : `Change what “${credential.name}” may do?`,
      body: [isLess && h('p', { class: 'strong' }, 'It counts at once, on tokens that are out, too; requests under way that need what goes are cut.'),
        h('div', { class: 'sum' }, told(change, linesBetween(before, wanted))), impactBox(credential)],
      yes: 'Yes, change it', no: 'No, keep it as it is', danger: isLess,
      // What is wrong with a field is told at the field, and what is new above them.
      act: () => write(wanted).catch((error) => { if (error.fields?.length > 0 || error.now) return error; throw error; }),
    });
  };
  /** The same over what it is now. */
  const renew = (now, wanted) => {
    const after = fieldsOf(now.answer);
    const next = form(now, roles, typedOver(before, wanted, after), toldMeanwhile(roles, before, after));
    element.replaceWith(next);
    next.querySelector('[data-news]').focus();
  };
  const submit = async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    clearFaults(fields, rest);
    go.disabled = true;
    let entered;
    try {
      entered = await all();
      const wanted = changes(entered);
      const { name: _, description: __, ...granted } = wanted;
      if (Object.keys(wanted).length === 0) return void (location.hash = home);
      const done = await (Object.keys(granted).length === 0 ? write(wanted) : confirm(wanted));
      if (done instanceof Error) throw done;
      if (done) leave();
    } catch (error) {
      if (error.now) return void renew(error.now, entered);
      grant.unfold(error);
      showFaults(error, fields, rest);
    } finally {
      go.disabled = false;
    }
  };
  const go = h('button', { type: 'submit', class: 'primary' }, 'Save…');
  const note = news && h('div', { class: 'notice warning', role: 'alert', tabindex: '-1', 'data-news': true },
    h('h2', {}, 'Somebody else has changed it meanwhile'), h('div', { class: 'sum' }, news),
    h('p', {}, 'Nothing was saved yet. What you typed stands here on top of that: look at what changes, and save again.'));

  grant.start();
  const element = h('form', { class: 'columns', novalidate: true, onsubmit: submit },
    h('div', { class: 'card stack' }, note, rest, name.element, description.element, grant.elements),
    h('aside', { class: 'beside', 'aria-label': 'Summary' },
      section('What changes', sum, h('div', { class: 'answers' }, h('a', { class: 'button', href: home }, 'Cancel'), go))));
  return element;
}
