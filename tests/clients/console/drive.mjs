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

import { arrive, edit, generate, guard, history, lost, meanwhile, revoke, rotate } from './credential.mjs';
import { call, eye, page, PICTURES, trade } from './means.mjs';
import { auditAndAdmins, explain, keys, leave, live, revocations, roles, trouble } from './views.mjs';

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
  await meanwhile();
  await lost();
  await keys();
  await auditAndAdmins();
  await live(token);
  await leave();
  const reader = await call('POST', '/v1/admins', { name: 'reader', role: 'viewer' });
  await roles(builder, ada.key, reader.key);
  await trouble(reader.key);
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
