// The means of the play: the gateway's two ports, asked as programs ask, and what is
// looked for in the page.

import assert from 'node:assert/strict';

import { open } from './look.mjs';

const { ADMIN_URL, ADMIN_KEY, DATA_URL, DATA_PATH, ROLE_A, ROLE_B, PICTURES, CHROMIUM = '/usr/bin/chromium' } = process.env;
export { ADMIN_URL, ADMIN_KEY, DATA_PATH, PICTURES, ROLE_A, ROLE_B };
export const eye = await open({ origin: ADMIN_URL, pictures: PICTURES, executablePath: CHROMIUM });
export const { context, page, look } = eye;

/** Asks the admin port as a program. */
export async function call(method, path, body, key = ADMIN_KEY) {
  const answer = await fetch(ADMIN_URL + path, {
    method, headers: { authorization: `Bearer ${key}` }, body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

/** Asks the data plane as a partner; gives the status. */
export const send = (method, path, token, body) => fetch(DATA_URL + path, {
  method, body: body && JSON.stringify(body),
  headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
}).then((answer) => answer.status);
export const read = (token) => send('GET', DATA_PATH, token);
export const play = (token) => send('PATCH', `${DATA_PATH}/7`, token, { status: 'play' });
export const clear = (token) => send('DELETE', '/backend/accounts/acme/tag-clear', token);

export async function trade(clientId, secret) {
  const answer = await fetch(`${DATA_URL}/oauth2/token`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).access_token;
}

export const button = (name) => page.getByRole('button', { name, exact: true });
export const link = (name) => page.getByRole('link', { name, exact: true });
export const heading = (name) => page.getByRole('heading', { name });
export const title = (name) => page.getByRole('heading', { name, level: 1, exact: true });
export const rows = () => page.locator('tbody tr');
export const focused = () => page.evaluate(() => document.activeElement.textContent);
export const html = () => page.content();
/** What those are told who listen instead of looking. */
export const said = (words) => page.waitForFunction((wanted) => document.getElementById('status').textContent === wanted, words);
/** Waits until nothing is awaited any more. */
export const settled = () => page.waitForFunction(() => !document.querySelector('.loading'));
/** Waits until the list holds just these, in this order. */
export async function lists(...names) {
  await page.waitForFunction((wanted) => {
    const found = [...document.querySelectorAll('tbody .title')].map((each) => each.textContent);
    return JSON.stringify(found) === JSON.stringify(wanted);
  }, names);
}
/** Does what will be refused with that status, or fail so. */
export async function refused(how, work) {
  eye.refusal = how;
  await work();
  eye.refusal = '';
}
export async function signIn(key) {
  await page.getByLabel('Admin key').fill(key);
  await page.getByLabel('Admin key').press('Enter');
}
/** Takes the pair that is shown once; gives the secret. */
export async function takeSecret(name) {
  await heading(name).waitFor();
  const secret = await page.locator('code[data-once]').textContent();
  assert.match(secret, /^[A-Za-z0-9]{64}$/);
  return secret;
}
