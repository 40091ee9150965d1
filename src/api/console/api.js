// The admin port. The cookie is the browser's business: no key and no secret
// is kept here, nor anywhere else that outlives the page.

/** A call that failed: what the gateway said, and about which fields. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body.error_description || 'The gateway gave no reason.');
    this.status = status;
    this.fields = body.fields || [];
    this.requestId = body.request_id;
  }
}

/** Called when the session has ended under our hands; true once it goes on. */
let renew = async () => false;
export function whenSignedOut(work) {
  renew = work;
}

/** When the gateway was last asked for something. */
let lastAsked = Date.now();
export const idleFor = () => Date.now() - lastAsked;

/** The answer, and its entity tag: what `If-Match` names in a change of the same thing. */
async function call(method, path, body, tag) {
  lastAsked = Date.now();
  let response;
  let text;
  try {
    response = await fetch(path.slice(1), {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...(tag && { 'If-Match': tag }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await response.text();
  } catch {
    // What was read has changed nothing. Of all else nobody knows here how far it got.
    throw Object.assign(new ApiError(0, { error_description: method === 'GET'
      ? 'The gateway can’t be reached. Is it running, and are you online?'
      : 'No answer came from the gateway: what you asked for may have been done. Look before you ask again.' }), { isLost: method !== 'GET' });
  }
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { error_description: `The gateway answered ${response.status}, and not in JSON.` };
  }
  if (response.ok) return { answer, tag: response.headers.get('ETag') };
  const error = new ApiError(response.status, answer);
  // A call that was refused for its session has done nothing: it can be made again.
  const isKnown = path !== '/v1/session' && path !== '/v1/me';
  if (error.status === 401 && isKnown && await renew()) return call(method, path, body, tag);
  throw error;
}

const answerOf = async (called) => (await called).answer;
export const get = (path) => answerOf(call('GET', path));
export const post = (path, body = {}) => answerOf(call('POST', path, body));
export const remove = (path) => answerOf(call('DELETE', path));
/** Reads a thing that is to be changed: `{answer, tag}`. */
export const readTagged = (path) => call('GET', path);
/** Changes it, unless it is something else by now (412). */
export const patch = (path, body, tag) => answerOf(call('PATCH', path, body, tag));

/** A path with a query; empty parameters are left out. */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** The path of a credential. */
export const credentialPath = (id, rest = '') => `/v1/credentials/${encodeURIComponent(id)}${rest}`;

/** All of a list that is known to be short, such as the roles. */
export async function everything(path) {
  const all = [];
  let cursor = null;
  do {
    const page = await get(withQuery(path, { limit: '200', cursor }));
    all.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return all;
}

/** All roles of the configuration. */
export const allRoles = () => everything('/v1/roles');

/** The gateway's own clock: this machine's may be wrong. */
export const gatewayTime = async () => new Date((await get('/v1/live')).at);
