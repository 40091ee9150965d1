// A browser at a page behind the gateway, over TLS and HTTP/2: fetch, EventSource,
// WebSocket. The page cannot set a header on the last two, so their routes are public.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { finish, secure, test, token } from "./lib.mjs";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--headless"],
});
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();

await test("a page", async () => {
  const answer = await page.goto(secure + "/public/page");
  assert.equal(answer.status(), 200);
  assert.equal(await page.title(), "page");
});

await test("it came by HTTP/2", async () => {
  const used = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
  assert.equal(used, "h2");
});

await test("fetch with a token, 30 at once", async () => {
  const answers = await page.evaluate(async (token) => {
    const headers = { Authorization: `Bearer ${token}` };
    const asked = Array.from({ length: 30 }, (_, n) => fetch(`/any/acme/${n}`, { headers }));
    return Promise.all((await Promise.all(asked)).map(async (it) => [it.status, (await it.json()).target]));
  }, token);
  assert.deepEqual(answers, Array.from({ length: 30 }, (_, n) => [200, `/any/acme/${n}`]));
});

await test("fetch without a token", async () => {
  const said = await page.evaluate(async () => {
    const answer = await fetch("/any/acme/x");
    return [answer.status, answer.headers.get("www-authenticate"), (await answer.json()).error];
  });
  assert.equal(said[0], 401);
  assert.match(said[1], /^Bearer/);
  assert.equal(said[2], "unauthorized");
});

await test("an upload and a download", async () => {
  const [same, size] = await page.evaluate(async (token) => {
    const headers = { Authorization: `Bearer ${token}` };
    const body = "x".repeat(1_000_000);
    const echo = await fetch("/any/acme/echo", { method: "POST", headers, body });
    const large = await fetch("/any/acme/large", { headers });
    return [(await echo.text()) === body, (await large.arrayBuffer()).byteLength];
  }, token);
  assert.equal(same, true);
  assert.equal(size, 4 << 20);
});

await test("cookies", async () => {
  const cookies = await context.cookies(secure + "/public/page");
  assert.deepEqual(cookies.map(({ name, value }) => `${name}=${value}`).sort(), ["a=1", "b=2"]);
});

await test("EventSource", async () => {
  const events = await page.evaluate(() => new Promise((resolve, reject) => {
    const source = new EventSource("/public/events");
    const seen = [];
    source.onmessage = ({ data, lastEventId }) => {
      seen.push([data, lastEventId]);
      if (seen.length === 3) { source.close(); resolve(seen); }
    };
    source.onerror = () => reject(new Error("the events ended"));
  }));
  assert.deepEqual(events, [0, 1, 2].map((n) => [`event ${n}`, `${n}`]));
});

await test("WebSocket, over HTTP/2", async () => {
  const tools = await context.newCDPSession(page);
  await tools.send("Network.enable");
  const answered = new Promise((resolve) =>
    tools.on("Network.webSocketHandshakeResponseReceived", ({ response }) => resolve(response)));
  const [said, size] = await page.evaluate(() => new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/open-sockets/echo`);
    const seen = [];
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { socket.send("hello"); socket.send(new Uint8Array(100_000)); };
    socket.onmessage = ({ data }) => {
      seen.push(data);
      if (seen.length === 2) { socket.close(); resolve([seen[0], seen[1].byteLength]); }
    };
    socket.onerror = () => reject(new Error("the socket failed"));
  }));
  assert.equal(said, "hello");
  assert.equal(size, 100_000);
  // Over HTTP/1.1 it would be 101 (RFC 8441 section 5).
  assert.equal((await answered).status, 200);
  await tools.detach();
});

await test("a WebSocket that is not allowed", async () => {
  const opened = await page.evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket(`wss://${location.host}/sockets/echo`);
    socket.onopen = () => resolve(true);
    socket.onerror = () => resolve(false);
  }));
  assert.equal(opened, false);
});

await browser.close();
finish();
