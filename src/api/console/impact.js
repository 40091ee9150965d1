// What hangs on a credential: to be seen before it is touched.

import { credentialPath, get } from './api.js';
import { h, put } from './dom.js';
import { facts, loading, show, time } from './parts.js';

const count = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** Requests of the last hour, by route. */
function routes(all) {
  if (all.length === 0) return h('span', { class: 'faint' }, 'No requests');
  return h('ul', { class: 'tally' }, all.map((each) =>
    h('li', {}, h('code', {}, each.route), h('span', {}, each.requests_last_hour.toLocaleString()))));
}

function told(what) {
  return facts([
    ['Last used', time(what.last_used_at, 'Never')],
    ['Last hour', routes(what.routes)],
    ['Live tokens', what.live_tokens.toLocaleString()],
    ['Under way', count(what.open_streams, 'request or stream', 'requests and streams')],
  ]);
}

const ask = ({ client_id: id }) => get(credentialPath(id, '/impact'));

/** For a card: filled as soon as it is known. */
export function impactFacts(credential) {
  const place = h('div', {});
  show(place, 'what hangs on it', async () => told(await ask(credential)));
  return place;
}

/** For a question: it stands while the answer is awaited. */
export function impactBox(credential) {
  const place = h('div', { class: 'impact', 'aria-live': 'polite' }, loading('what hangs on it'));
  ask(credential).then(
    (what) => put(place, h('h3', {}, 'What hangs on it'), told(what)),
    (error) => put(place, h('p', {}, 'What hangs on it could not be read: ', error.message)));
  return place;
}
