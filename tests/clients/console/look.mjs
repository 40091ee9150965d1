// A browser that notices what goes wrong in a page, and looks at it: axe-core for
// what shuts people out, in both colour schemes; pictures for human eyes.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');

const WAIT_MS = 30_000;
const WIDE = { width: 1280, height: 860 };
const PHONE = { width: 360, height: 740 };

/** Opens a page that may talk to `origin` only. */
export async function open({ origin, pictures, executablePath }) {
  await mkdir(pictures, { recursive: true });
  const browser = await chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const context = await browser.newContext({ viewport: WIDE, locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce' });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) =>
      console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`));
  });
  // Not as a script of the page: its policy forbids that, and rightly.
  await context.addInitScript(axe);
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);

  const eye = { browser, context, page, errors: [], refusal: '', look };
  // A refusal that is being tried is no error.
  const isTried = (text) => eye.refusal && text.startsWith('Failed to load resource:') && text.includes(eye.refusal);
  page.on('pageerror', (error) => eye.errors.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !isTried(message.text())) eye.errors.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`)) eye.errors.push(`asked for ${request.url()}`);
  });

  /** Looks at the view as it is now: light, dark, and on a phone. */
  async function look(name) {
    for (const [kind, colorScheme, viewport] of [['light', 'light', WIDE], ['dark', 'dark', WIDE], ['phone', 'light', PHONE]]) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize(viewport);
      const { width, left, text, bad, mild } = await page.evaluate(async ([onlyColours, isPhone]) => {
        const found = isPhone ? [] : (await window.axe.run(document, {
          resultTypes: ['violations'],
          // Nothing but colours is different in the dark.
          ...(onlyColours && { runOnly: ['color-contrast', 'link-in-text-block'] }),
        })).violations;
        window.scrollTo(0, 0);
        const isBad = ({ impact }) => ['serious', 'critical'].includes(impact);
        return {
          width: document.documentElement.scrollWidth,
          left: window.innerWidth,
          text: document.body.innerText,
          bad: found.filter(isBad).map(({ id, nodes }) => [id, nodes.map((node) => node.html)]),
          mild: found.filter((each) => !isBad(each)).map(({ id }) => id),
        };
      }, [colorScheme === 'dark', kind === 'phone']);
      assert.ok(width <= left, `${name}, ${kind}: ${width} px wide, more than ${left}`);
      assert.ok(!/\b(false|undefined|null|NaN|Invalid Date)\b|\[object/.test(text), `${name}, ${kind}: ${text}`);
      assert.deepEqual(bad, [], `${name}, ${kind}: shuts people out`);
      for (const id of mild) console.error(`${name}, ${kind}: axe: ${id}`);
      await page.screenshot({ path: join(pictures, `${name}-${kind}.png`), fullPage: !name.startsWith('dialog') });
    }
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
    await page.setViewportSize(WIDE);
  }

  return eye;
}
