// The decision on a request that nobody sent, step by step.

import { credentialPath, everything, get, post, withQuery } from './api.js';
import { announce, debounced, h, put } from './dom.js';
import { clearFaults, field, showFaults } from './fields.js';
import { line } from './grant.js';
import { chips, facts, heading, row, show, table } from './parts.js';
import { meaning } from './reasons.js';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const BEARERS = { client_id: 'A credential, with all its rights', token: 'A token', nobody: 'Nobody: no token' };
const ROUTE_COLUMNS = ['Route', 'Address', 'Takes', 'Upstream'];

export async function explain(place, { id }) {
  const method = field('method', 'Method', h('select', {}, METHODS.map((name) => h('option', { value: name }, name))));
  const url = field('url', 'URL or path', line({ placeholder: '/v1/accounts/1234/campaigns', inputmode: 'url', required: true }),
    'As a client would send it, with its query.');
  const bearer = field('bearer', 'Who asks', h('select', {}, Object.entries(BEARERS).map(([value, text]) => h('option', { value }, text))));
  const list = h('datalist', { id: 'credentials-found' });
  const client = field('client_id', 'Client ID', line({ list: 'credentials-found', value: id ?? '' }), 'Type a part of its name to find it.');
  const token = field('token', 'Token', h('textarea', { rows: '3', class: 'mono', spellcheck: 'false', autocomplete: 'off' }), 'It is judged and not kept.');
  const fields = [method, url, bearer, client, token];
  const rest = h('div', {});
  const verdict = h('div', { class: 'stack' }, hint());
  const go = h('button', { type: 'submit', class: 'primary' }, 'Explain');

  const choose = () => {
    client.element.hidden = bearer.control.value !== 'client_id';
    token.element.hidden = bearer.control.value !== 'token';
  };
  bearer.control.addEventListener('change', choose);
  choose();
  const find = debounced(async () => {
    const q = client.control.value.trim();
    const { items } = await get(withQuery('/v1/credentials', { q: /^[0-9a-f-]{36}$/.test(q) ? '' : q, limit: '10' })).catch(() => ({ items: [] }));
    list.replaceChildren(...items.map((each) => h('option', { value: each.client_id }, `${each.name} (${each.account}, ${each.state})`)));
  }, 180);
  client.control.addEventListener('input', find);

  const submit = async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    clearFaults(fields, rest);
    const asked = { method: method.control.value, url: url.control.value.trim() };
    const who = { client_id: client, token }[bearer.control.value];
    if (who) asked[who.name] = who.control.value.trim();
    go.disabled = true;
    try {
      const found = await post('/v1/explain', asked);
      put(verdict, told(found));
      announce(found.decision === 'allow' ? 'Allowed' : `Denied: ${meaning(found.reason)}`);
    } catch (error) {
      put(verdict, hint());
      showFaults(error, fields, rest);
    } finally {
      go.disabled = false;
    }
  };
  const routes = h('div', {});
  put(place,
    heading('Explain', 'What the gateway would do with a request at this moment, and why. Nothing is sent.'),
    h('div', { class: 'columns even' },
      h('form', { class: 'card stack', novalidate: true, onsubmit: submit },
        rest, h('div', { class: 'ask-for' }, method.element, url.element), bearer.element, client.element, list, token.element,
        h('div', { class: 'answers' }, go)),
      verdict),
    h('section', { class: 'after', 'aria-labelledby': 'routes-title' }, h('h2', { id: 'routes-title' }, 'Routes of this gateway'), routes));
  find();
  const account = async () => (client.control.value && bearer.control.value === 'client_id'
    ? (await get(credentialPath(client.control.value.trim())).catch(() => null))?.account : null);
  const use = async (route, name) => {
    method.control.value = METHODS.includes(name) ? name : 'GET';
    const tenant = await account();
    url.control.value = (route.host ? `https://${route.host}` : '')
      + route.path.replace('{account}', tenant ?? '1234').replace(/\{\*?([^}]*)\}/g, '$1');
    url.control.focus();
  };
  await show(routes, 'the routes', async () => {
    const all = await everything('/v1/routes');
    return h('div', { class: 'scroll' }, table('Routes, as configured', ROUTE_COLUMNS, all.map((route) => row(ROUTE_COLUMNS, [
      h('span', { class: 'title' }, route.name),
      h('code', {}, route.host, route.path),
      h('ul', { class: 'takes' }, Object.entries(route.allow).map(([name, takes]) => h('li', {},
        h('button', { type: 'button', class: 'link mono', 'aria-label': `Ask for ${name} ${route.name}`, onclick: () => use(route, name) }, name),
        h('span', {}, rightsOf(takes))))),
      route.upstream,
    ]))));
  });
}

/** What a method takes, as the configuration says it. */
function rightsOf(takes) {
  if (takes === '@public') return 'nothing: public';
  if (takes === '@authenticated') return 'any token';
  if (typeof takes === 'string') return takes;
  return Array.isArray(takes) ? takes.join(' or ') : takes.all.join(' and ');
}

const hint = () => h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, 'Ask, and the answer stands here.'),
  h('p', {}, 'Each step that was passed, and the one that was not.'));

function told(found) {
  const isAllowed = found.decision === 'allow';
  const end = isAllowed
    ? h('li', { class: 'passed' }, h('strong', {}, 'Forwarded'), ' to ', h('code', {}, found.upstream))
    : h('li', { class: 'failed' }, h('strong', {}, found.reason ?? 'denied'), h('p', {}, found.reason && meaning(found.reason)));
  return h('section', { class: 'card stack', 'aria-labelledby': 'verdict-title' },
    h('div', { class: `notice ${isAllowed ? 'good' : 'danger'}` },
      h('h2', { id: 'verdict-title' }, isAllowed ? 'Allowed' : `Denied: ${found.status} ${found.error}`),
      h('p', {}, isAllowed ? 'It would be forwarded as it is.' : found.detail ?? meaning(found.reason))),
    h('ol', { class: 'steps' }, found.steps.map((step) => h('li', { class: 'passed' },
      h('strong', {}, step.step.replaceAll('_', ' ')), h('p', { class: 'faint' }, step.found))), end),
    facts([
      found.needed.length > 0 && ['It takes', chips(found.needed)],
      found.allow.length > 0 && ['Methods here', chips(found.allow)],
      found.route && ['Route', h('code', {}, found.route)],
      found.client_id && ['Credential', h('a', { href: `#/credentials/${found.client_id}`, class: 'mono' }, found.client_id)],
      found.account && ['Account', h('span', { class: 'mono' }, found.account)],
      found.scope && ['Rights', chips(found.scope.split(' '))],
    ]));
}
