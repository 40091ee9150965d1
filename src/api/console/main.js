// Who is signed in, and which view the address asks for.

import { get, remove, whenSignedOut } from './api.js';
import { h } from './dom.js';
import { isGuarded, mayLeave, release } from './once.js';
import { failure } from './parts.js';
import { signIn } from './sign-in.js';
import { admins } from './admins.js';
import { audit } from './audit.js';
import { credentials } from './credentials.js';
import { details } from './details.js';
import { generate } from './generate.js';
import { live } from './live.js';

const main = document.getElementById('main');
const top = document.getElementById('top');
const MENU = [['credentials', 'Credentials'], ['live', 'Live'], ['audit', 'Audit'], ['admins', 'Administrators']];

let me = null;
/** The address of what is shown. */
let shown = '';
let leave = () => {};

/** The view of an address, its title, and where it belongs in the menu. */
function find(hash) {
  const [name, id] = hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  if (name === 'credentials' && id) return { view: details, title: 'Credential', menu: 'credentials', id };
  const views = {
    generate: { view: generate, title: 'Generate', menu: 'credentials' },
    live: { view: live, title: 'Live', menu: 'live' },
    audit: { view: audit, title: 'Audit trail', menu: 'audit' },
    admins: { view: admins, title: 'Administrators', menu: 'admins' },
  };
  return views[name] ?? { view: credentials, title: 'Credentials', menu: 'credentials' };
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
    h('nav', { 'aria-label': 'Views' }, MENU.filter(([name]) => name !== 'admins' || me.role === 'super-admin')
      .map(([name, text]) => h('a', { href: `#/${name}` }, text))),
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
  signIn(main, (who) => { me = who; frame(); open(); }, note);
}

whenSignedOut(() => { if (me) start('Your session has ended. Sign in to go on.'); });

try {
  me = await get('/v1/me');
  frame();
  open();
} catch (error) {
  if (error.status === 401) start();
  else main.replaceChildren(failure(error, () => location.reload()));
}
