// One credential from its making to its end, and the list that it stands in.

import assert from 'node:assert/strict';

import {
  ADMIN_KEY, ADMIN_URL, button, call, clear, context, eye, focused, heading, html, link,
  lists, look, page, play, read, refused, ROLE_A, ROLE_B, rows, said, send, settled, signIn, takeSecret,
  title, trade,
} from './means.mjs';

/** A wrong key is told at the field; the right one leads to an empty history. */
export async function arrive() {
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
export async function generate(cookie) {
  await link('Generate the first one').click();
  await title('Generate a credential').waitFor();
  await refused('422', async () => {
    await button('Generate').click();
    await page.locator('.fault', { hasText: 'Must not be empty.' }).first().waitFor();
  });
  assert.equal(await page.evaluate(() => document.activeElement.name), 'name');
  await look('generate-refused');
  // By the keyboard, as the fields follow each other.
  for (const text of ['Nightly report', 'Reads campaigns & pauses <b>tired</b> ones', 'acme']) {
    await page.keyboard.type(text);
    await page.keyboard.press('Tab');
  }
  assert.equal(await focused(), 'Select all');
  for (const key of ['Tab', 'Space', 'Tab', 'Space', 'Tab', 'Tab', 'Space']) await page.keyboard.press(key);
  for (const role of [ROLE_A, ROLE_B]) assert.ok(await page.getByRole('checkbox', { name: role }).isChecked(), role);
  await button('Remove Clear the library').press('Enter');
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
export async function history() {
  const ada = await call('POST', '/v1/admins', { name: 'ada', role: 'admin' });
  const roles = (await call('GET', '/v1/roles')).items;
  const id = (label) => roles.find((role) => role.label === label).id;
  const builder = await call('POST', '/v1/credentials', {
    name: 'Tag builder', description: 'Rebuilds after each release', account: 'acme', scopes: ['campaign.list'],
    roles: [id('Update the library'), id('Clear the library')],
  });
  await call('POST', '/v1/credentials', { name: 'Partner', account: 'globex', scopes: ['campaign.list'], expires_at: '2030-01-01T00:00:00Z' }, ada.key);
  const token = await trade(builder.client_id, builder.client_secret);
  assert.equal(await send('PATCH', '/backend/accounts/acme/tag-rebuild', token), 200);
  await page.goto(`${ADMIN_URL}/#/credentials`);
  const search = page.getByRole('searchbox');
  const all = ['Partner', 'Tag builder', 'Nightly report'];
  await lists(...all);
  await look('credentials');
  for (const [typed, ...names] of [
    ['ada', 'Partner'], ['NIGHT', 'Nightly report'], ['release', 'Tag builder'], [` ${builder.client_id.toUpperCase()} `, 'Tag builder'], [ROLE_B, 'Nightly report'], ['', ...all],
  ]) {
    await search.fill(typed);
    await lists(...names);
  }
  await search.fill('ada');
  await said('1 credential');
  await search.fill('');
  await said('3 credentials');
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
export async function rotate({ clientId, secret }) {
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
export async function edit(token) {
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

/** Two administrators on one credential: what one takes away, the other does not give back. */
export async function meanwhile() {
  const roles = (await call('GET', '/v1/roles')).items;
  const id = (label) => roles.find((role) => role.label === label).id;
  const [reads, plays, updates] = [ROLE_A, ROLE_B, 'Update the library'];
  const made = await call('POST', '/v1/credentials', { name: 'Two hands', account: 'acme', roles: [id(reads), id(plays)] });
  const path = `/v1/credentials/${made.client_id}`;
  await page.goto(`${ADMIN_URL}/#/credentials/${made.client_id}/edit`);
  await title('Change “Two hands”').waitFor();
  await page.getByRole('checkbox', { name: updates }).check();
  await page.getByLabel('Description', { exact: true }).fill('typed for long');
  await call('PATCH', path, { roles: [id(reads)], rate: '5/s' });
  await button('Save…').click();
  await refused('412', async () => {
    await button('Yes, change it').click();
    await heading('Somebody else has changed it meanwhile').waitFor();
  });
  assert.deepEqual((await call('GET', path)).roles, [id(reads)], 'nothing was given back');
  await page.locator('[data-news] .chip.less', { hasText: 'campaign.toggle' }).waitFor();
  await page.locator('[data-news]', { hasText: 'none of its own → 5/s' }).waitFor();
  for (const [role, is] of [[reads, true], [plays, false], [updates, true]]) {
    assert.equal(await page.getByRole('checkbox', { name: role }).isChecked(), is, role);
  }
  assert.equal(await page.getByLabel('Description', { exact: true }).inputValue(), 'typed for long');
  assert.equal(await page.evaluate(() => document.activeElement.hasAttribute('data-news')), true);
  await look('edit-meanwhile');
  await button('Save…').click();
  await button('Yes, change it').click();
  await title('Two hands').waitFor();
  const after = await call('GET', path);
  assert.deepEqual([after.roles, after.description, after.rate], [[id(reads), id(updates)].sort(), 'typed for long', '5/s']);

  // What is not on the page asks no question.
  await page.goto(`${ADMIN_URL}/#/credentials/${made.client_id}/edit`);
  await page.getByLabel('Name', { exact: true }).fill('Three hands');
  await call('POST', `${path}/secrets`, {});
  await refused('412', async () => {
    await button('Save…').click();
    await title('Three hands').waitFor();
  });
}

/** An answer that is lost: it may have been made, and nobody is told that it was not. */
export async function lost() {
  await page.goto(`${ADMIN_URL}/#/generate`);
  await title('Generate a credential').waitFor();
  await refused('422', async () => {
    await button('Generate').click();
    await said('Some fields are not valid; see fields.');
  });
  await page.getByLabel('Name', { exact: true }).fill('Lost answer');
  await page.getByLabel('Account', { exact: true }).fill('acme');
  await page.getByRole('checkbox', { name: ROLE_A }).check();
  const calls = '**/v1/credentials';
  await page.route(calls, async (route) => {
    await route.fetch();
    await route.abort('connectionreset');
  });
  await refused('ERR_CONNECTION_RESET', async () => {
    await button('Generate').click();
    await page.getByText('“Lost answer” may have been made, or not.').waitFor();
  });
  await page.unroute(calls);
  assert.equal((await call('GET', '/v1/credentials?q=lost+answer')).items.length, 1, 'it was');
  assert.equal(await focused(), 'Look at the newest credentials');
  await look('generate-lost');
  const [other] = await Promise.all([context.waitForEvent('page'), link('Look at the newest credentials').click()]);
  await other.getByRole('link', { name: 'Lost answer' }).waitFor();
  await other.close();
  await page.getByLabel('Name', { exact: true }).fill('Found answer');
  await refused('422', async () => {
    await page.getByLabel('Account', { exact: true }).fill('a/b');
    await button('Generate').click();
    await said('Some fields are not valid; see fields.');
  });
  await page.getByLabel('Account', { exact: true }).fill('acme');
  await button('Generate').click();
  await takeSecret('“Found answer” is ready');
  await said('');
  await button('Copy Client secret').click();
  await button('Done').click();
  await title('Found answer').waitFor();
}

/** Suspending, arming and narrowing; the questions by the keyboard alone. */
export async function guard({ client_id: id }, token) {
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
export async function revoke({ clientId }, token, all) {
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
