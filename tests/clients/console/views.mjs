// The other views, one after the other, and who sees what.

import assert from 'node:assert/strict';

import {
  ADMIN_URL, button, context, DATA_PATH, heading, html, link, look, page, read, refused, rows,
  settled, signIn, takeSecret, title,
} from './means.mjs';

/** A single token, and an account's. */
export async function revocations(token) {
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

export async function explain({ clientId }) {
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

export async function keys() {
  await link('Keys').click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await button('Rotate…').click();
  await look('dialog-keys');
  await button('Yes, make it').click();
  await rows().filter({ hasText: 'Next' }).waitFor();
  await look('keys');
  await rows().filter({ hasText: 'Next' }).getByRole('button', { name: /^Revoke key/ }).click();
  await page.getByLabel('Reason').fill('never used');
  await look('dialog-key-revoke');
  await button('Yes, revoke').click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
}

export async function auditAndAdmins() {
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
  // A browser that keeps the page for the way back keeps no key with it.
  await page.evaluate(() => window.dispatchEvent(new Event('pagehide')));
  assert.ok(!(await html()).includes(key), 'the key is gone');
  await button('Done').click();
  await page.locator('tbody .title', { hasText: /^vera$/ }).waitFor();
}

export async function live(token) {
  await link('Live').click();
  await page.locator('.tile').first().waitFor();
  for (let round = 0; round < 2; round += 1) {
    await Promise.all([read(token), read('nonsense'), page.waitForResponse((answer) => answer.url().endsWith('/v1/live'))]);
  }
  await page.locator('td', { hasText: 'revoked' }).waitFor();
  await button('Pause').click();
  await look('live');
}

/** Out: the cookie is worth nothing any more. */
export async function leave() {
  const [cookie] = await context.cookies();
  await button('Sign out').click();
  await page.getByText('You are signed out.').waitFor();
  const dead = await fetch(`${ADMIN_URL}/v1/me`, { headers: { cookie: `${cookie.name}=${cookie.value}` } });
  assert.equal(dead.status, 401);
}

const ADMIN_ONLY = ['Generate', 'Edit', 'Suspend', 'Revoke', 'Arm…', 'Add a new secret…', 'End all its tokens…', 'Revoke tokens…'];
const SUPER_ONLY = ['Rotate…', 'Revoke…', 'Add an administrator', 'Remove…'];

/** An admin and a viewer see what they may do, and no button that would be refused. */
export async function roles({ client_id: id }, admin, viewer) {
  const views = [
    ['credentials', 'Credentials'], [`credentials/${id}`, 'Tag builder'], ['revocations', 'Revocations'],
    ['keys', 'Signing keys'], ['admins', 'Administrators'], ['audit', 'Audit trail'],
  ];
  for (const [name, key, may] of [['admin', admin, ADMIN_ONLY], ['viewer', viewer, []]]) {
    await signIn(key);
    await page.getByRole('navigation').waitFor();
    const seen = new Set();
    for (const [hash, heads] of views) {
      await page.goto(`${ADMIN_URL}/#/${hash}`);
      await title(heads).waitFor();
      await settled();
      const words = await page.evaluate(() => [...document.querySelectorAll('main button, main a.button')].map((each) => each.textContent));
      for (const word of words) seen.add(word);
      if (heads === 'Tag builder') await look(`details-${name}`);
    }
    const special = [...ADMIN_ONLY, ...SUPER_ONLY].filter((word) => seen.has(word));
    assert.deepEqual(special, may, name);
    await leave();
  }
}

/** What is not there, a gateway that is not, and somebody who is not. */
export async function trouble(key) {
  await page.clock.install();
  await refused('401', async () => {
    await page.reload();
    await page.getByLabel('Admin key').waitFor();
  });
  await signIn(key);
  await page.getByRole('navigation').waitFor();
  await refused('404', async () => {
    await page.goto(`${ADMIN_URL}/#/credentials/00000000-0000-4000-8000-000000000000`);
    await title('There is no such credential').waitFor();
  });
  await look('details-none');
  await refused('ERR_INTERNET_DISCONNECTED', async () => {
    await context.setOffline(true);
    await link('Revocations').click();
    await page.getByText('The gateway can’t be reached.').waitFor();
  });
  await look('failed-to-read');
  await context.setOffline(false);
  await button('Try again').click();
  await rows().first().waitFor();
  await page.clock.fastForward('31:00');
  await heading('Your session has ended').waitFor();
  await button('Start over').click();
  await heading('Portcullis').waitFor();
  assert.equal(await page.getByRole('navigation').count(), 0);
}
