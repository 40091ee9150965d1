// Changing a credential: every field, and what a change takes away, in plain
// sight before it is confirmed. Less right takes effect at once.

import { allRoles, credentialPath, get, patch } from './api.js';
import { ask } from './dialog.js';
import { announce, h, put } from './dom.js';
import { clearFaults, field, showFaults } from './fields.js';
import { amount, grantFields, line } from './grant.js';
import { impactBox } from './impact.js';
import { beforeAfter, chips, empty, environmentsText, failure, heading, loading, section } from './parts.js';

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const moment = (text) => (text ? MOMENT.format(new Date(text)) : 'never');

export async function edit(place, { me, id }) {
  place.replaceChildren(loading('the credential'));
  try {
    const [credential, roles] = await Promise.all([get(credentialPath(id)), allRoles()]);
    const back = h('p', { class: 'crumb' }, h('a', { href: `#/credentials/${id}` }, `← ${credential.name}`));
    if (me.role === 'viewer' || credential.state === 'revoked') {
      put(place, back, heading(`Change “${credential.name}”`), me.role === 'viewer'
        ? empty('Your role reads only.', 'An administrator with the role admin can change credentials.')
        : empty('It is revoked, for good.', 'What it was stays in the history; a new one can be generated.'));
      return;
    }
    put(place, back, heading(`Change “${credential.name}”`, 'Less right counts at once, on tokens that are out, too. More right takes a new token.'),
      form(credential, roles));
  } catch (error) {
    place.replaceChildren(heading('Change a credential'), failure(error, () => edit(place, { me, id })));
  }
}

const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** What a choice takes away and gives, in rights. */
function difference(before, after) {
  const gone = before.granted.filter((scope) => !after.granted.includes(scope));
  const more = after.granted.filter((scope) => !before.granted.includes(scope));
  const both = before.granted.filter((scope) => after.granted.includes(scope));
  const dozes = both.filter((scope) => after.asleep.has(scope) && !before.asleep.has(scope));
  const wakes = both.filter((scope) => before.asleep.has(scope) && !after.asleep.has(scope));
  return { gone, more, dozes, wakes, before: before.granted.length, after: after.granted.length };
}

/** The difference as people read it; `lines` are the other fields that change. */
function told({ gone, more, dozes, wakes, before, after }, lines) {
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

/** Whether it ends sooner, or holds in fewer environments. */
function isNarrower(credential, { environments, expires_at: end }) {
  const holds = (environment) => environments.length === 0 || environments.includes(environment);
  const fewer = environments?.length > 0 && (credential.environments.length === 0 || !credential.environments.every(holds));
  return fewer || (end && (!credential.expires_at || new Date(end) < new Date(credential.expires_at)));
}

function form(credential, roles) {
  const sum = h('div', { class: 'sum', 'aria-live': 'polite' });
  const was = amount(roles, credential.roles, credential.extra_scopes);
  const name = field('name', 'Name', line({ required: true, maxlength: '100', value: credential.name }));
  const description = field('description', 'Description', h('textarea', { rows: '2', maxlength: '1000', value: credential.description }));
  const environmentLine = (environments) => (isSame([...environments].sort(), credential.environments) ? []
    : [['Environments', environmentsText(credential.environments), environmentsText(environments)]]);
  const grant = grantFields(roles, credential, (chosen) => {
    const now = difference(was, amount(roles, chosen.roles, chosen.scopes));
    const lines = environmentLine(chosen.environments);
    const isNothing = now.gone.length + now.more.length + now.dozes.length + now.wakes.length + lines.length === 0;
    put(sum, isNothing ? h('p', { class: 'faint' }, `The ${was.granted.length} rights it has stay.`) : told(now, lines));
  });
  const fields = [name, description, ...grant.fields];
  const rest = h('div', {});
  const home = `#/credentials/${credential.client_id}`;

  /** Only what is different: what somebody else changed meanwhile stays. */
  const changes = async () => {
    const wanted = { name: name.control.value.trim(), description: description.control.value.trim(), ...await grant.values() };
    const held = { ...credential, scopes: credential.extra_scopes };
    return Object.fromEntries(Object.entries(wanted).filter(([key, value]) => value !== undefined
      && (Array.isArray(value) ? !isSame([...value].sort(), [...held[key]].sort()) : value !== held[key])));
  };
  const write = (wanted) => patch(credentialPath(credential.client_id), wanted);
  const leave = () => {
    announce('Saved.');
    location.hash = home;
  };
  const confirm = (wanted) => {
    const change = difference(was, amount(roles, wanted.roles ?? credential.roles, wanted.scopes ?? credential.extra_scopes));
    const lines = [
      ...(wanted.environments ? environmentLine(wanted.environments) : []),
      ...('expires_at' in wanted ? [['Expires', moment(credential.expires_at), moment(wanted.expires_at)]] : []),
      ...('rate' in wanted ? [['Rate', credential.rate ?? 'none of its own', wanted.rate ?? 'none of its own']] : []),
      ...('concurrency' in wanted ? [['At once', String(credential.concurrency ?? 'none of its own'), String(wanted.concurrency ?? 'none of its own')]] : []),
    ];
    const isLess = change.gone.length + change.dozes.length > 0 || isNarrower(credential, wanted);
    return ask({
      title: isLess ? `Take rights away from “${credential.name}”?` : `Change what “${credential.name}” may do?`,
      body: [isLess && h('p', { class: 'strong' }, 'It counts at once, on tokens that are out, too; requests under way that need what goes are cut.'),
        h('div', { class: 'sum' }, told(change, lines)), impactBox(credential)],
      yes: 'Yes, change it', no: 'No, keep it as it is', danger: isLess,
      // What is wrong with a field is told at the field.
      act: () => write(wanted).catch((error) => { if (error.fields?.length > 0) return error; throw error; }),
    });
  };
  const submit = async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    clearFaults(fields, rest);
    go.disabled = true;
    try {
      const wanted = await changes();
      const { name: _, description: __, ...granted } = wanted;
      if (Object.keys(wanted).length === 0) return void (location.hash = home);
      const done = await (Object.keys(granted).length === 0 ? write(wanted) : confirm(wanted));
      if (done instanceof Error) throw done;
      if (done) leave();
    } catch (error) {
      grant.unfold(error);
      showFaults(error, fields, rest);
    } finally {
      go.disabled = false;
    }
  };
  const go = h('button', { type: 'submit', class: 'primary' }, 'Save…');

  grant.start();
  return h('form', { class: 'columns', novalidate: true, onsubmit: submit },
    h('div', { class: 'card stack' }, rest, name.element, description.element, grant.elements),
    h('aside', { class: 'beside', 'aria-label': 'Summary' },
      section('What changes', sum, h('div', { class: 'answers' }, h('a', { class: 'button', href: home }, 'Cancel'), go))));
}
