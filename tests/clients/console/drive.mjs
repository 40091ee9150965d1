// Plays the web console in Chromium as an administrator would, and looks at each
// view as it goes (look.mjs).
//
//   ADMIN_URL=http://127.0.0.1:8081 ADMIN_KEY=pak1… DATA_URL=http://127.0.0.1:8080 \
//   DATA_PATH=/v1/… ROLE_A=… ROLE_B=… PICTURES=target/console node drive.mjs
//
// ROLE_A and ROLE_B are labels of roles. A opens GET on DATA_PATH; B opens PATCH of a
// status on what is below it. Prints one JSON line: {client_id, token} of the credential
// that was made and revoked. Exit code: 0 if all went well; 1 and the reason if not.

import assert from 'node:assert/strict';
import { join } from 'node:path';

import { open } from './look.mjs';

const { ADMIN_URL, ADMIN_KEY, DATA_URL, DATA_PATH, ROLE_A, ROLE_B, PICTURES, CHROMIUM = '/usr/bin/chromium' } = process.env;
const eye = await open({ origin: ADMIN_URL, pictures: PICTURES, executablePath: CHROMIUM });
const { context, page, look } = eye;

/** Asks the admin port as a program. */
async function call(method, path, body, key = ADMIN_KEY) {
  const answer = await fetch(ADMIN_URL + path, {
    method, headers: { authorization: `Bearer ${key}` }, body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

/** Asks the data plane as a partner; gives the status. */
const send = (method, path, token, body) => fetch(DATA_URL + path, {
  method, body: body && JSON.stringify(body),
  headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
}).then((answer) => answer.status);
const read = (token) => send('GET', DATA_PATH, token);
const play = (token) => send('PATCH', `${DATA_PATH}/7`, token, { status: 'play' });
const clear = (token) => send('DELETE', '/backend/accounts/acme/tag-clear', token);

/** Waits until the gateway's clock has gone on: what is made then is newer. */
async function later() {
  const { at } = await call('GET', '/v1/live');
  while ((await call('GET', '/v1/live')).at === at);
}

async function trade(clientId, secret) {
  const answer = await fetch(`${DATA_URL}/oauth2/token`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).access_token;
}

const button = (name) => page.getByRole('button', { name, exact: true });
const link = (name) => page.getByRole('link', { name, exact: true });
const heading = (name) => page.getByRole('heading', { name });
const title = (name) => page.getByRole('heading', { name, level: 1, exact: true });
const rows = () => page.locator('tbody tr');
const focused = () => page.evaluate(() => document.activeElement.textContent);
const html = () => page.content();
/** Waits until nothing is awaited any more. */
const settled = () => page.waitForFunction(() => !document.querySelector('.loading'));
/** Waits until the list holds just these, in this order. */
async function lists(...names) {
  await page.waitForFunction((wanted) => {
    const found = [...document.querySelectorAll('tbody .title')].map((each) => each.textContent);
    return JSON.stringify(found) === JSON.stringify(wanted);
  }, names);
}
/** Does what the gateway will refuse with `status`. */
async function refused(status, work) {
  eye.refusal = status;
  await work();
  eye.refusal = '';
}
async function signIn(key) {
  await page.getByLabel('Admin key').fill(key);
  await page.getByLabel('Admin key').press('Enter');
}
/** Takes the pair that is shown once; gives the secret. */
async function takeSecret(name) {
  await heading(name).waitFor();
  const secret = await page.locator('code[data-once]').textContent();
  assert.match(secret, /^[A-Za-z0-9]{64}$/);
  return secret;
}

/** A wrong key is told at the field; the right one leads to an empty history. */
async function arrive() {
  eye.refusal = '401';
  await page.goto(`${ADMIN_URL}/`);
  await page.getByLabel('Admin key').waitFor();
  await look('sign-in');
  await signIn('pak1nonsense');
  await page.getByText('This key is not known.').waitFor();
  await look('sign-in-refused');
  await signIn(ADMIN_KEY);
  await title('Credentials').waitFor();
  eye.refusal = '';
  await page.getByText('No credentials yet.').waitFor();
  await look('credentials-empty');
  const [cookie] = await context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Strict', '/']);
  return cookie;
}

/** Faults at their fields, rights in plain sight, two roles; the session ends meanwhile. */
async function generate(cookie) {
  await link('Generate the first one').click();
  await title('Generate a credential').waitFor();
  await refused('422', async () => {
    await button('Generate').click();
    await page.locator('.fault', { hasText: 'Must not be empty.' }).first().waitFor();
  });
  assert.equal(await page.evaluate(() => document.activeElement.name), 'name');
  await look('generate-refused');
  await page.getByLabel('Name').fill('Nightly report');
  await page.getByLabel('Description').fill('Reads campaigns & pauses <b>tired</b> ones');
  await page.getByLabel('Account').fill('acme');
  for (const role of [ROLE_A, ROLE_B, 'Clear the library']) await page.getByRole('checkbox', { name: role }).check();
  await button('Remove Clear the library').click();
  await page.getByLabel('Environments', { exact: true }).pressSequentially('prod,staging,');
  await button('Remove staging').click();
  await page.getByText('4 rights').waitFor();
  await look('generate');

  // Nothing of it is lost, and signing in again is enough.
  await context.clearCookies();
  await refused('401', async () => {
    await button('Generate').click();
    await heading('Your session has ended').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await page.getByLabel('Admin key').waitFor();
  });
  await look('dialog-session');
  await signIn(ADMIN_KEY);

  // The pair, once: guarded until it is copied.
  const secret = await takeSecret('“Nightly report” is ready');
  const clientId = await page.locator('.pair code').first().textContent();
  await look('once');
  await link('Audit').click();
  await heading('Leave without the secret?').waitFor();
  await look('dialog-leave');
  await button('Stay here').click();
  assert.equal(await page.locator('code[data-once]').textContent(), secret);
  const [guard] = await Promise.all([page.waitForEvent('dialog'), page.close({ runBeforeUnload: true })]);
  assert.equal(guard.type(), 'beforeunload');
  await guard.dismiss();
  await button('Copy Client secret').click();
  await page.locator('.copy.done').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
  const kept = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.title, document.cookie]));
  assert.ok(!kept.includes(secret) && !kept.includes(ADMIN_KEY) && !kept.includes(cookie.value), kept);
  await page.reload();
  await title('Generate a credential').waitFor();
  assert.ok(!(await html()).includes(secret), 'the secret is gone');
  return { clientId, secret };
}

/** The history, newest first; the search by each column; the filters. */
async function history() {
  const ada = await call('POST', '/v1/admins', { name: 'ada', role: 'admin' });
  const roles = (await call('GET', '/v1/roles')).items;
  const id = (label) => roles.find((role) => role.label === label).id;
  const builder = await call('POST', '/v1/credentials', {
    name: 'Tag builder', description: 'Rebuilds after each release', account: 'acme', scopes: ['campaign.list'],
    roles: [id('Update the library'), id('Clear the library')],
  });
  await later();
  await call('POST', '/v1/credentials', { name: 'Partner', account: 'globex', scopes: ['campaign.list'], expires_at: '2030-01-01T00:00:00Z' }, ada.key);
  const token = await trade(builder.client_id, builder.client_secret);
  assert.equal(await send('PATCH', '/backend/accounts/acme/tag-rebuild', token), 200);
  await page.goto(`${ADMIN_URL}/#/credentials`);
  const search = page.getByRole('searchbox');
  const all = ['Partner', 'Tag builder', 'Nightly report'];
  await lists(...all);
  await look('credentials');
  for (const [typed, ...names] of [
    ['ada', 'Partner'], ['NIGHT', 'Nightly report'], ['release', 'Tag builder'], [ROLE_B, 'Nightly report'], ['', ...all],
  ]) {
    await search.fill(typed);
    await lists(...names);
  }
  for (const choice of ['Never', 'Not for 90 days']) {
    await page.getByLabel('Last used').selectOption(choice);
    await lists('Partner', 'Nightly report');
  }
  await page.getByLabel('State').selectOption('revoked');
  await page.getByText('Nothing matches.').waitFor();
  await look('credentials-none');
  await button('Clear search and filters').click();
  await lists(...all);
  return { all, ada, builder, token };
}

/** Another secret beside the old; the old one goes, and just its tokens. */
async function rotate({ clientId, secret }) {
  const old = await trade(clientId, secret);
  await link('Nightly report').click();
  await title('Nightly report').waitFor();
  await page.getByText('Reads campaigns & pauses <b>tired</b> ones').first().waitFor();
  await page.locator('.trail li').first().waitFor();
  await settled();
  await look('details');
  await button('Add a new secret…').click();
  await page.getByLabel('The old secret works').selectOption('Until nobody used it for a week');
  await look('dialog-rotate');
  await button('Make a new secret').click();
  const next = await takeSecret('A new secret for “Nightly report”');
  await look('once-rotated');
  // Where the clipboard is shut, as over plain HTTP, there is another way.
  await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('shut')); });
  await button('Copy Client secret').click();
  await page.locator('.copy.done').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), next);
  await button('Done').click();
  await title('Nightly report').waitFor();
  assert.ok(!(await html()).includes(next), 'the new secret is gone');

  const token = await trade(clientId, next);
  assert.deepEqual([await read(old), await read(token)], [200, 200]);
  await page.reload();
  await page.getByText('Still in use').waitFor();
  await settled();
  await look('details-rotated');
  await button('Retire generation 1').click();
  await look('dialog-retire');
  await button('Yes, retire').click();
  await page.getByText('Retired', { exact: true }).waitFor();
  assert.deepEqual([await read(old), await read(token)], [401, 200]);
  return { token, next };
}

/** Less right is shown before it is confirmed, and counts at once. */
async function edit(token) {
  assert.equal(await play(token), 200);
  await link('Edit').click();
  await title('Change “Nightly report”').waitFor();
  await button(`Remove ${ROLE_B}`).click();
  await page.getByLabel('Extra rights', { exact: true }).pressSequentially('flag.list,');
  await page.getByText('Limits of its own').click();
  await page.getByLabel('At once').fill('many');
  await page.locator('.chip.less', { hasText: 'campaign.toggle' }).waitFor();
  await page.locator('.chip.more', { hasText: 'flag.list' }).waitFor();
  await look('edit');
  await button('Save…').click();
  await heading('Take rights away from “Nightly report”?').waitFor();
  await page.getByText('What hangs on it').waitFor();
  await look('dialog-edit');
  await button('No, keep it as it is').click();
  assert.equal(await play(token), 200);
  await button('Save…').click();
  await refused('422', async () => {
    await button('Yes, change it').click();
    await page.locator('.fault', { hasText: 'whole number' }).waitFor();
  });
  await page.getByLabel('At once').fill('50');
  await button('Save…').click();
  await button('Yes, change it').click();
  await title('Nightly report').waitFor();
  assert.deepEqual([await play(token), await read(token)], [403, 200]);
  await page.getByText('50 at once').waitFor();
}

/** Suspending, arming and narrowing; the questions by the keyboard alone. */
async function guard({ client_id: id }, token) {
  await page.goto(`${ADMIN_URL}/#/credentials/${id}`);
  await title('Tag builder').waitFor();
  await settled();
  for (const [verb, next] of [['Suspend', 'Resume'], ['Resume', 'Suspend']]) {
    await button(verb).focus();
    await page.keyboard.press('Enter');
    await heading(`${verb} “Tag builder”?`).waitFor();
    for (let step = 0; step < 4; step += 1) {
      await page.keyboard.press('Tab');
      assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog')), 'the focus stays');
    }
    await page.keyboard.press('Escape');
    assert.equal(await focused(), verb);
    await page.keyboard.press('Enter');
    await button(`Yes, ${verb.toLowerCase()}`).press('Enter');
    await button(next).waitFor();
    assert.equal(await focused(), 'Tag builder');
  }
  assert.equal(await clear(token), 403);
  await button('Arm…').click();
  await button('5 minutes').click();
  await look('dialog-arm');
  await button('Yes, arm').click();
  await page.getByRole('timer').waitFor();
  assert.match(await page.getByRole('timer').textContent(), /^[45]:\d\d left$/);
  assert.equal(await clear(token), 200);
  await settled();
  await look('details-armed');
  await button('Disarm').click();
  await button('Yes, disarm').click();
  await button('Arm…').waitFor();
  assert.equal(await clear(token), 403);
  await button('Narrow to what is used…').click();
  await page.locator('dialog .chip.less', { hasText: 'campaign.list' }).waitFor();
  await look('dialog-narrow');
  await button('Yes, narrow').click();
  await page.getByText('All that was granted is used.').waitFor();
}

/** Revoking: No, Escape, without a reason, then Yes. */
async function revoke({ clientId }, token, all) {
  await page.goto(`${ADMIN_URL}/#/credentials/${clientId}`);
  await title('Nightly report').waitFor();
  await button('Revoke').click();
  await page.getByText('Every integration linked to that access will stop working.').waitFor();
  await page.getByText('What hangs on it').waitFor();
  await look('dialog-revoke');
  await button('No, keep it').click();
  await button('Revoke').click();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('dialog').count(), 0);
  assert.equal(await focused(), 'Revoke');
  assert.equal(await read(token), 200);
  await button('Revoke').click();
  await refused('422', async () => {
    await button('Yes, revoke').click();
    await page.locator('dialog .fault', { hasText: /./ }).waitFor();
  });
  await page.getByLabel('Reason').fill('leaked in a log');
  await button('Yes, revoke').click();
  await page.getByText('leaked in a log').first().waitFor();
  assert.equal(await read(token), 401);
  assert.equal(await button('Revoke').count() + await link('Edit').count(), 0);
  await settled();
  await look('details-revoked');
  await link('← Credentials').click();
  await lists(...all);
  await rows().filter({ hasText: 'Nightly report' }).getByText('Revoked', { exact: true }).waitFor();
}

/** A single token, and an account's. */
async function revocations(token) {
  await link('Revocations').click();
  await page.getByText('No tokens were revoked.').waitFor();
  await look('revocations-empty');
  await button('Revoke tokens…').click();
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByLabel('Reason').fill('in a screenshot');
  await button('Yes, revoke').click();
  await rows().filter({ hasText: 'in a screenshot' }).waitFor();
  assert.equal(await read(token), 401);
  assert.ok(!(await html()).includes(token), 'the token is gone');
  await button('Revoke tokens…').click();
  await page.getByLabel('What', { exact: true }).selectOption('All tokens of an account');
  await page.getByLabel('Account').fill('globex');
  await look('dialog-revocation');
  await button('Yes, revoke').click();
  await rows().filter({ hasText: 'globex' }).waitFor();
  await look('revocations');
}

async function explain({ clientId }) {
  await page.goto(`${ADMIN_URL}/#/explain/${clientId}`);
  await title('Explain').waitFor();
  await settled();
  await look('explain-empty');
  await page.getByLabel('URL or path').fill(DATA_PATH);
  await button('Explain').click();
  await heading('Allowed').waitFor();
  await look('explain');
  await page.getByLabel('Method').selectOption('POST');
  await button('Explain').click();
  await heading('Denied: 403 insufficient_scope').waitFor();
  await look('explain-denied');
  await page.getByLabel('Who asks').selectOption('A token');
  await page.getByLabel('Token', { exact: true }).fill('nonsense');
  await button('Explain').click();
  await heading('Denied: 401').waitFor();
  await button('Ask for GET projects').click();
  assert.match(await page.getByLabel('URL or path').inputValue(), /^\/v1\/accounts\/.+\/projects$/);
}

async function keys() {
  await link('Keys').click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await button('Rotate…').click();
  await look('dialog-keys');
  await button('Yes, make it').click();
  await rows().filter({ hasText: 'Next' }).waitFor();
  await look('keys');
}

async function auditAndAdmins() {
  await page.evaluate(() => document.activeElement.blur());
  await link('Audit').press('Enter');
  await title('Audit trail').waitFor();
  await page.getByRole('searchbox').fill('screenshot');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await page.getByRole('searchbox').fill('');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length > 4);
  await button('Verify the chain').click();
  await page.getByText(/^The chain of \d+ entries is whole/).first().waitFor();
  await look('audit');
  await link('Administrators').click();
  await page.locator('tbody .title', { hasText: /^ada$/ }).waitFor();
  await look('admins');
  await button('Add an administrator').click();
  await page.getByLabel('Name').fill('vera');
  await look('dialog-admin');
  await button('Add').click();
  const key = await takeSecret('The key of “vera”');
  await button('Copy Admin key').click();
  await button('Done').click();
  await page.locator('tbody .title', { hasText: /^vera$/ }).waitFor();
  return key;
}

async function live(token) {
  await link('Live').click();
  await page.locator('.tile').first().waitFor();
  for (let round = 0; round < 2; round += 1) {
    await Promise.all([read(token), read('nonsense'), page.waitForResponse((answer) => answer.url().endsWith('/v1/live'))]);
  }
  await page.locator('td', { hasText: 'revoked' }).waitFor();
  await button('Pause').click();
  await look('live');
}

/** Signs out, and shows what another role sees: no button that would be refused. */
async function as(key, gone, there, { clientId }) {
  await button('Sign out').click();
  await page.getByText('You are signed out.').waitFor();
  await signIn(key);
  await page.getByRole('navigation').waitFor();
  for (const [hash, name] of [
    ['credentials', 'Credentials'], [`credentials/${clientId}`, 'Tag builder'], ['revocations', 'Revocations'],
    ['keys', 'Signing keys'], ['admins', 'Administrators'], ['audit', 'Audit trail'],
  ]) {
    await page.evaluate((to) => { location.hash = to; }, `#/${hash}`);
    await title(name).waitFor();
    await settled();
    const seen = await page.evaluate(() => [...document.querySelectorAll('main button, main .heading a')].map((each) => each.textContent));
    for (const word of gone) assert.ok(!seen.includes(word), `${name}: ${word}`);
    for (const word of there[hash.split('/').length > 1 ? 'details' : hash] ?? []) assert.ok(seen.includes(word), `${name}: no ${word}: ${seen}`);
    if (hash === `credentials/${clientId}`) await look(`details-${gone.length > 5 ? 'viewer' : 'admin'}`);
  }
}

async function story() {
  const cookie = await arrive();
  const made = await generate(cookie);
  const { all, ada, builder, token: tag } = await history();
  const { token, next } = await rotate(made);
  await edit(token);
  await guard(builder, tag);
  await revocations(await trade(made.clientId, next));
  await explain(made);
  await revoke(made, token, all);
  await keys();
  await auditAndAdmins();
  await live(token);

  // Out: the cookie is worth nothing any more.
  const [last] = await context.cookies();
  const onlySuper = ['Rotate…', 'Add an administrator', 'Remove…'];
  const other = { clientId: builder.client_id };
  await as(ada.key, onlySuper, { credentials: ['Generate'], details: ['Edit', 'Suspend', 'Revoke', 'Add a new secret…'], revocations: ['Revoke tokens…'] }, other);
  const dead = await fetch(`${ADMIN_URL}/v1/me`, { headers: { cookie: `${last.name}=${last.value}` } });
  assert.equal(dead.status, 401);
  const viewer = await call('POST', '/v1/admins', { name: 'reader', role: 'viewer' });
  const all403 = ['Generate', 'Edit', 'Suspend', 'Revoke', 'Arm…', 'Retire…', 'Add a new secret…', 'End all its tokens…', 'Revoke tokens…'];
  await as(viewer.key, [...onlySuper, ...all403], { audit: ['Verify the chain'] }, other);
  await page.evaluate((to) => { location.hash = to; }, `#/credentials/${builder.client_id}/edit`);
  await page.getByText('Your role reads only.').waitFor();
  assert.deepEqual(eye.errors, []);
  return { client_id: made.clientId, token };
}

try {
  console.log(JSON.stringify(await story()));
} catch (error) {
  await page.screenshot({ path: join(PICTURES, 'failed.png') }).catch(() => {});
  console.error(error.stack, '\nerrors in the page:', eye.errors);
  process.exitCode = 1;
} finally {
  await eye.browser.close();
}
