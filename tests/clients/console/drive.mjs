// Plays the web console in Chromium as an administrator would, and looks at each
// view as it goes: axe-core for what shuts people out, the console for errors
// and violations of the content policy, pictures for human eyes.
//
//   ADMIN_URL=http://127.0.0.1:8081 ADMIN_KEY=pak1… DATA_URL=http://127.0.0.1:8080 \
//   DATA_PATH=/v1/… ROLE_A=… ROLE_B=… PICTURES=target/console node drive.mjs
//
// ROLE_A and ROLE_B are labels of roles; together they open DATA_PATH. Prints one
// JSON line: {client_id, token} of the credential that was made and revoked.
// Exit code: 0 if all went well; 1 and the reason if not.

import assert from 'node:assert/strict';
import { readFile, mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');

const { ADMIN_URL, ADMIN_KEY, DATA_URL, DATA_PATH, ROLE_A, ROLE_B, PICTURES, CHROMIUM = '/usr/bin/chromium' } = process.env;
const WAIT_MS = 15_000;
const WIDE = { width: 1280, height: 860 };
const PHONE = { width: 360, height: 740 };

/** Asks the admin port as a program. */
async function call(method, path, body, key = ADMIN_KEY) {
  const answer = await fetch(ADMIN_URL + path, {
    method, headers: { authorization: `Bearer ${key}` }, body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

const ask = (token) => fetch(DATA_URL + DATA_PATH, { headers: { authorization: `Bearer ${token}` } }).then((answer) => answer.status);

await mkdir(PICTURES, { recursive: true });
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext({ viewport: WIDE, locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce' });
await context.grantPermissions(['clipboard-read', 'clipboard-write']);
await context.addInitScript(() => {
  document.addEventListener('securitypolicyviolation', (event) =>
    console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`));
});
const page = await context.newPage();
page.setDefaultTimeout(WAIT_MS);

/** What went wrong in the page. A refusal that is being tried is none. */
const errors = [];
let refusal = '';
page.on('pageerror', (error) => errors.push(String(error)));
page.on('console', (message) => {
  const isTried = refusal && message.text().includes(`status of ${refusal}`);
  if (['error', 'warning'].includes(message.type()) && !isTried) errors.push(message.text());
});
page.on('request', (request) => {
  if (!request.url().startsWith(`${ADMIN_URL}/`)) errors.push(`asked for ${request.url()}`);
});

/** Looks at the view as it is now: light, dark, and on a phone. */
async function look(name) {
  for (const [kind, colorScheme, viewport] of [['light', 'light', WIDE], ['dark', 'dark', WIDE], ['phone', 'light', PHONE]]) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize(viewport);
    const { width, left } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, left: innerWidth }));
    assert.ok(width <= left, `${name}, ${kind}: ${width} px wide, more than ${left}`);
    const text = await page.evaluate(() => document.body.innerText);
    assert.ok(!/\b(false|undefined|null|NaN|Invalid Date)\b|\[object/.test(text), `${name}, ${kind}: ${text}`);
    // Not as a script of the page: its policy forbids that, and rightly.
    const found = await page.evaluate(`(async () => {
      if (!window.axe) { ${axe} }
      return (await window.axe.run(document, { resultTypes: ['violations'] })).violations;
    })()`);
    const bad = found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(bad.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], `${name}, ${kind}: shuts people out`);
    for (const { id } of found) console.error(`${name}, ${kind}: axe: ${id}`);
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.screenshot({ path: join(PICTURES, `${name}-${kind}.png`), fullPage: !name.startsWith('dialog') });
  }
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  await page.setViewportSize(WIDE);
}

const button = (name) => page.getByRole('button', { name, exact: true });
const link = (name) => page.getByRole('link', { name, exact: true });
const heading = (name) => page.getByRole('heading', { name });
const rows = () => page.locator('tbody tr');
/** Waits until the list holds just these, in this order. */
async function lists(...names) {
  await page.waitForFunction((wanted) => {
    const found = [...document.querySelectorAll('tbody .title')].map((each) => each.textContent);
    return JSON.stringify(found) === JSON.stringify(wanted);
  }, names);
}

async function play() {
  // Signing in: a wrong key is told at the field.
  refusal = '401';
  await page.goto(`${ADMIN_URL}/`);
  const key = page.getByLabel('Admin key');
  await key.waitFor();
  await look('sign-in');
  await key.fill('pak1nonsense');
  await button('Sign in').click();
  await page.getByText('This key is not known.').waitFor();
  await look('sign-in-refused');
  await key.fill(ADMIN_KEY);
  await key.press('Enter');
  await heading('Credentials').waitFor();
  refusal = '';
  await page.getByText('No credentials yet.').waitFor();
  await look('credentials-empty');
  const [cookie] = await context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Strict', '/']);

  // Generating: faults at their fields, rights in plain sight, two roles.
  await link('Generate the first one').click();
  await heading('Generate a credential').waitFor();
  refusal = '422';
  await button('Generate').click();
  await page.locator('.fault', { hasText: 'Must not be empty.' }).first().waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.name), 'name');
  await look('generate-refused');
  refusal = '';
  await page.getByLabel('Name').fill('Nightly report');
  await page.getByLabel('Description').fill('Reads campaigns & pauses <b>tired</b> ones');
  await page.getByLabel('Account').fill('acme');
  for (const role of [ROLE_A, ROLE_B, 'Clear the library']) await page.getByRole('checkbox', { name: role }).check();
  await button('Remove Clear the library').click();
  await page.getByLabel('Environments', { exact: true }).pressSequentially('prod,staging,');
  await button('Remove staging').click();
  await page.getByText('4 rights').waitFor();
  await look('generate');
  await button('Generate').click();

  // The pair, once: guarded until it is copied.
  await heading('“Nightly report” is ready').waitFor();
  const secret = await page.locator('code[data-once]').textContent();
  const clientId = await page.locator('.pair code').first().textContent();
  assert.match(secret, /^[A-Za-z0-9]{64}$/);
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
  await heading('Generate a credential').waitFor();
  assert.ok(!(await page.content()).includes(secret), 'the secret is gone');

  // It works.
  const traded = await fetch(`${DATA_URL}/oauth2/token`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret }),
  });
  const { access_token: token } = await traded.json();
  assert.equal(await ask(token), 200);

  // The history, newest first, and the search by each column.
  const ada = await call('POST', '/v1/admins', { name: 'ada', role: 'admin' });
  const roles = (await call('GET', '/v1/roles')).items;
  const library = roles.find(({ label }) => label === 'Update the library').id;
  const emergency = roles.find(({ label }) => label === 'Clear the library').id;
  await call('POST', '/v1/credentials', { name: 'Tag builder', description: 'Rebuilds after each release', account: 'acme', roles: [library, emergency] });
  await call('POST', '/v1/credentials', { name: 'Partner', account: 'globex', scopes: ['campaign.list'], expires_at: '2030-01-01T00:00:00Z' }, ada.key);
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
  await page.getByLabel('Account').fill('globex');
  await lists('Partner');
  await page.getByLabel('State').selectOption('revoked');
  await page.getByText('Nothing matches.').waitFor();
  await look('credentials-none');
  await button('Clear search and filters').click();
  await lists(...all);

  // Details; revoking: No, Escape, then Yes.
  await link('Nightly report').click();
  await heading('Nightly report').waitFor();
  await page.getByText('Reads campaigns & pauses <b>tired</b> ones').first().waitFor();
  await page.locator('.trail li').first().waitFor();
  await look('details');
  await button('Revoke').click();
  await page.getByText('Every integration linked to that access will stop working.').waitFor();
  await look('dialog-revoke');
  await button('No, keep it').click();
  await button('Revoke').click();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('dialog').count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Revoke');
  assert.equal(await ask(token), 200);
  await button('Revoke').click();
  refusal = '422';
  await button('Yes, revoke').click();
  await page.locator('dialog .fault', { hasText: /./ }).waitFor();
  refusal = '';
  await page.getByLabel('Reason').fill('leaked in a log');
  await button('Yes, revoke').click();
  await page.getByText('leaked in a log').first().waitFor();
  assert.equal(await ask(token), 401);
  assert.equal(await button('Revoke').count(), 0);
  await look('details-revoked');
  await link('← Credentials').click();
  await lists(...all);
  await rows().filter({ hasText: 'Nightly report' }).getByText('Revoked', { exact: true }).waitFor();

  // To sleep, and awake again.
  await link('Tag builder').click();
  await button('Suspend').click();
  await button('Yes, suspend').click();
  await button('Resume').click();
  await button('Yes, resume').click();
  await button('Suspend').waitFor();
  await look('details-asleep');

  // The other views, by the keyboard where that is quick.
  await page.evaluate(() => document.activeElement.blur());
  await link('Audit').press('Enter');
  await heading('Audit trail').waitFor();
  await page.getByRole('searchbox').fill('leaked');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await page.getByRole('searchbox').fill('');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length > 4);
  await look('audit');
  await link('Administrators').click();
  await page.locator('tbody .title', { hasText: /^ada$/ }).waitFor();
  await look('admins');
  await button('Add an administrator').click();
  await page.getByLabel('Name').fill('vera');
  await look('dialog-admin');
  await button('Add').click();
  await heading('The key of “vera”').waitFor();
  await button('Copy Admin key').click();
  await button('Done').click();
  await page.locator('tbody .title', { hasText: /^vera$/ }).waitFor();

  await link('Live').click();
  await page.locator('.tile').first().waitFor();
  for (let round = 0; round < 3; round += 1) {
    await Promise.all([ask(token), ask('nonsense'), page.waitForResponse((answer) => answer.url().endsWith('/v1/live'))]);
  }
  await page.locator('td', { hasText: 'revoked' }).waitFor();
  await button('Pause').click();
  await look('live');

  // Out: the cookie is worth nothing any more.
  await button('Sign out').click();
  await page.getByText('You are signed out.').waitFor();
  const dead = await fetch(`${ADMIN_URL}/v1/me`, { headers: { cookie: `${cookie.name}=${cookie.value}` } });
  assert.equal(dead.status, 401);

  // A viewer sees no button that the gateway would refuse.
  const viewer = await call('POST', '/v1/admins', { name: 'reader', role: 'viewer' });
  await page.getByLabel('Admin key').fill(viewer.key);
  await button('Sign in').click();
  await heading('Live').waitFor();
  await link('Credentials').click();
  await lists(...all);
  assert.equal(await link('Generate').count() + await link('Administrators').count(), 0);
  assert.deepEqual(errors, []);
  return { client_id: clientId, token };
}

try {
  console.log(JSON.stringify(await play()));
} catch (error) {
  await page.screenshot({ path: join(PICTURES, 'failed.png') }).catch(() => {});
  console.error(error.stack, '\nerrors in the page:', errors);
  process.exitCode = 1;
} finally {
  await browser.close();
}
