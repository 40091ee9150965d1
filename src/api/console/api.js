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

  /** True if the gateway, or this version of it, doesn't have it. */
  get isMissing() {
    return this.status === 404 || this.status === 405;
  }
}

/** Called when the session has ended under our hands. */
let onSignedOut = () => {};
export function whenSignedOut(work) {
  onSignedOut = work;
}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path.slice(1), {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, { error_description: 'The gateway can’t be reached. Is it running, and are you online?' });
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { error_description: `The gateway answered ${response.status}, and not in JSON.` };
  }
  if (response.ok) return answer;
  const error = new ApiError(response.status, answer);
  if (error.status === 401 && path !== '/v1/session' && path !== '/v1/me') onSignedOut();
  throw error;
}

export const get = (path) => call('GET', path);
export const post = (path, body = {}) => call('POST', path, body);
export const patch = (path, body) => call('PATCH', path, body);
export const remove = (path) => call('DELETE', path);

/** A path with a query; empty parameters are left out. */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** The path of a credential. */
export const credentialPath = (id, rest = '') => `/v1/credentials/${encodeURIComponent(id)}${rest}`;

let served;

/**
 * Whether this gateway serves a call, as its own description says. Names in
 * braces don't matter.
 */
export async function serves(method, path) {
  served ??= get('/openapi.json').then(
    ({ paths }) => new Set(Object.entries(paths).flatMap(([template, item]) =>
      Object.keys(item).map((name) => `${name.toUpperCase()} ${template.replace(/\{[^}]*\}/g, '{}')}`))),
    () => { served = undefined; return new Set(); });
  return (await served).has(`${method} ${path.replace(/\{[^}]*\}/g, '{}')}`);
}

/** All roles of the configuration; they are few. */
export async function allRoles() {
  const roles = [];
  let cursor = null;
  do {
    const page = await get(withQuery('/v1/roles', { limit: '200', cursor }));
    roles.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return roles;
}
