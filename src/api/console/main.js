// Who is signed in, and which view the address asks for.

import { get, idleFor, remove, whenSignedOut } from './api.js';
import { announce, h } from './dom.js';
import { isGuarded, mayLeave, release } from './once.js';
import { failure } from './parts.js';
import { IDLE_MS, signIn, signInAgain } from './sign-in.js';
import { admins } from './admins.js';
import { audit } from './audit.js';
import { credentials } from './credentials.js';
import { details } from './details.js';
import { edit } from './edit.js';
import { explain } from './explain.js';
import { generate } from './generate.js';
import { keys } from './keys.js';
import { live } from './live.js';
import { revocations } from './revocations.js';

const main = document.getElementById('main');
const top = document.getElementById('top');

/** The views of the menu, in its order. */
const MENU = [
  ['credentials', 'Credentials', credentials],
  ['revocations', 'Revocations', revocations],
  ['explain', 'Explain', explain],
  ['live', 'Live', live],
  ['audit', 'Audit', audit],
  ['keys', 'Keys', keys],
  ['admins', 'Administrators', admins],
];

let me = null;
/** The address of what is shown. */
let shown = '';
let leave = () => {};

/** The view of an address, its title, and where it belongs in the menu. */
function find(hash) {
  const [name, id, verb] = hash.replace(/^#\/?/, '').split('/').map(decoded);
  if (name === 'credentials' && id) {
    return verb === 'edit'
      ? { view: edit, title: 'Change a credential', menu: 'credentials', id }
      : { view: details, title: 'Credential', menu: 'credentials', id };
  }
  if (name === 'generate') return { view: generate, title: 'Generate', menu: 'credentials' };
  const [menu, title, view] = MENU.find(([each]) => each === name) ?? MENU[0];
  return { view, title, menu, id };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

async function open() {
  const { view, title, menu, id } = find(location.hash);
  shown = location.hash;
  leave();
  leave = () => {};
  release();
  document.title = `${title} · Portcullis`;
  for (const link of top.querySelectorAll('nav a')) {
    if (link.hash === `#/${menu}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  // A page of its own each time: an answer that comes late writes where nobody looks.
  const page = h('div', { class: 'view' });
  main.replaceChildren(page);
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
  try {
    const end = await view(page, { me, id });
    if (document.activeElement === main) page.querySelector('h1')?.focus({ preventScroll: true });
    if (typeof end !== 'function') return;
    if (page.isConnected) leave = end;
    else end();
  } catch (error) {
    page.replaceChildren(failure(error, open));
  }
}

window.addEventListener('hashchange', async () => {
  if (!me || location.hash === shown) return;
  if (isGuarded()) {
    const wanted = location.hash;
    // The address stays that of the page until the question is answered.
    history.replaceState(null, '', shown || '#/');
    if (!(await mayLeave())) return;
    history.pushState(null, '', wanted);
  }
  open();
});

function frame() {
  top.hidden = false;
  top.replaceChildren(
    h('a', { class: 'brand', href: '#/credentials' },
      h('img', { src: 'console/icon.svg', alt: '', width: '28', height: '28' }), h('span', {}, 'Portcullis')),
    h('nav', { 'aria-label': 'Views' }, MENU.map(([name, text]) => h('a', { href: `#/${name}` }, text))),
    h('div', { class: 'who' },
      h('span', {}, h('strong', {}, me.name), h('span', { class: 'faint block small' }, me.role)),
      h('button', { type: 'button', onclick: signOut }, 'Sign out')));
}

async function signOut() {
  if (!(await mayLeave())) return;
  try {
    await remove('/v1/session');
  } catch (error) {
    if (error.status !== 401) {
      main.prepend(failure(error));
      return;
    }
  }
  start('You are signed out.');
}

function start(note) {
  me = null;
  leave();
  leave = () => {};
  release();
  for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
  top.hidden = true;
  top.replaceChildren();
  document.title = 'Sign in · Portcullis';
  signIn(main, enter, note);
}

function enter(who) {
  me = who;
  frame();
  open();
}

/** The question for the key that stands now; several calls may wait for it. */
let gate = null;

/** True if the same administrator signed in again, so that the page can go on. */
function regain() {
  if (!me) return false;
  gate ??= signInAgain().then((who) => {
    gate = null;
    if (who?.name === me?.name && who?.role === me?.role) {
      announce('Signed in again.');
      return true;
    }
    // Nobody gets to see what somebody else had typed.
    for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
    if (who) enter(who);
    else start();
    return false;
  });
  return gate;
}

whenSignedOut(regain);
// The page of somebody who went away is not left open for others. It asks the
// gateway nothing: that would count as use.
setInterval(() => { if (me && !gate && idleFor() > IDLE_MS) regain(); }, 10_000);

try {
  enter(await get('/v1/me'));
} catch (error) {
  if (error.status === 401) start();
  else main.replaceChildren(failure(error, () => location.reload()));
}
