// Node: its own fetch, undici with and without HTTP/2, its http, https and http2.
// The authority comes from NODE_EXTRA_CA_CERTS.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { Agent, WebSocket, fetch as undiciFetch, request } from "undici";
import { base, finish, secure, test, token } from "./lib.mjs";

const headers = { Authorization: `Bearer ${token}` };
const ca = readFileSync(process.env.NODE_EXTRA_CA_CERTS);
const h2 = new Agent({ allowH2: true, connect: { ca } });

for (const [name, call, url, more] of [
  ["fetch", fetch, base, {}],
  ["fetch over TLS", fetch, secure, {}],
  ["undici fetch over h2", undiciFetch, secure, { dispatcher: h2 }],
]) {
  await test(`${name}: GET, twice`, async () => {
    for (const path of ["/any/acme/x?a=b", "/any/acme/y"]) {
      const answer = await call(url + path, { headers, ...more });
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).target, path);
      assert.equal(answer.headers.getSetCookie().length, 2);
    }
  });
  await test(`${name}: POST and a download`, async () => {
    const body = "x".repeat(200_000);
    const echo = await call(url + "/any/acme/echo", { method: "POST", headers, body, ...more });
    assert.equal(await echo.text(), body);
    const large = await call(url + "/any/acme/large", { headers, ...more });
    assert.equal((await large.arrayBuffer()).byteLength, 4 << 20);
  });
  await test(`${name}: refused`, async () => {
    const answer = await call(url + "/any/acme/x", more);
    assert.equal(answer.status, 401);
    assert.match(answer.headers.get("www-authenticate"), /^Bearer/);
    assert.equal((await answer.json()).error, "unauthorized");
  });
  await test(`${name}: an upload without a length`, async () => {
    const parts = new ReadableStream({
      async pull(controller) {
        this.count = (this.count ?? 0) + 1;
        if (this.count > 5) controller.close();
        else controller.enqueue(new TextEncoder().encode(`part ${this.count};`));
      },
    });
    const answer = await call(url + "/any/acme/echo", {
      method: "POST", headers, body: parts, duplex: "half", ...more,
    });
    assert.equal(await answer.text(), "part 1;part 2;part 3;part 4;part 5;");
  });
}

await test("undici request", async () => {
  const answer = await request(base + "/any/acme/x", { method: "DELETE", headers });
  assert.equal((await answer.body.json()).method, "DELETE");
});

for (const [name, module, url] of [["http", http, base], ["https", https, secure]]) {
  await test(`${name}: kept alive over 20 requests`, async () => {
    const agent = new module.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set();
    for (let n = 0; n < 20; n++) {
      const refused = n % 2 === 1;
      await new Promise((resolve, reject) => {
        const options = { agent, headers: refused ? {} : headers };
        module.get(url + "/any/acme/x", options, (answer) => {
          assert.equal(answer.statusCode, refused ? 401 : 200);
          ports.add(answer.socket.localPort);
          answer.resume().on("end", resolve);
        }).on("error", reject);
      });
    }
    agent.destroy();
    assert.equal(ports.size, 1, "a refusal does not end the connection");
  });
}

for (const [name, url] of [["h2c", base], ["TLS", secure]]) {
  await test(`http2 over ${name}: 50 requests at once`, async () => {
    const session = http2.connect(url, { ca });
    const ask = (fields) =>
      new Promise((resolve, reject) => {
        const stream = session.request(fields);
        let status, body = "";
        stream.on("response", (answer) => { status = answer[":status"]; });
        stream.on("data", (piece) => { body += piece; });
        stream.on("end", () => resolve({ status, body }));
        stream.on("error", reject);
      });
    const asked = Array.from({ length: 50 }, (_, n) =>
      ask({ ":path": `/any/acme/${n}`, ...(n % 5 ? { authorization: headers.Authorization } : {}) }),
    );
    for (const [n, { status, body }] of (await Promise.all(asked)).entries()) {
      assert.equal(status, n % 5 ? 200 : 401);
      if (n % 5) assert.equal(JSON.parse(body).target, `/any/acme/${n}`);
    }
    session.close();
  });
}

const behind = { "X-Digest": "a1", "X-Portcullis-Scope": "all", Authorization: "Bearer x" };

for (const [name, module, url] of [["http", http, base], ["https", https, secure]]) {
  await test(`${name}: trailers in both directions`, async () => {
    const { body, trailers } = await new Promise((resolve, reject) => {
      const asked = module.request(url + "/any/acme/trailers", {
        method: "POST", headers: { ...headers, TE: "trailers", Trailer: "X-Digest" },
      }, (answer) => {
        let body = "";
        answer.on("data", (piece) => { body += piece; });
        answer.on("end", () => resolve({ body, trailers: answer.trailers }));
      });
      asked.on("error", reject);
      asked.write("some");
      asked.addTrailers(behind);
      asked.end("thing");
    });
    assert.equal(body, "X-Digest: a1\r\n");
    assert.deepEqual({ ...trailers }, { "x-sum": "42" });
  });
}

await test("http2: trailers in both directions", async () => {
  const session = http2.connect(secure, { ca });
  const stream = session.request({
    ":method": "POST", ":path": "/any/acme/trailers", te: "trailers", authorization: headers.Authorization,
  }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(behind));
  stream.end("something");
  let body = "";
  stream.on("data", (piece) => { body += piece; });
  const trailers = await new Promise((resolve, reject) => {
    stream.on("trailers", resolve);
    stream.on("end", () => reject(new Error("no trailers")));
    stream.on("error", reject);
  });
  assert.equal(body, "x-digest: a1\r\n");
  assert.equal(trailers["x-sum"], "42");
  session.close();
});

await test("a WebSocket with a token", async () => {
  const socket = new WebSocket(base.replace("http", "ws") + "/sockets/echo", { headers });
  const said = await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => resolve(event.data);
    socket.onerror = () => reject(new Error("the socket failed"));
  });
  assert.equal(said, "hello");
  socket.close();
});

// undici's own wants Sec-WebSocket-Accept over HTTP/2 too, which has none (RFC 8441 section 5).
await test("http2: a WebSocket with a token", async () => {
  const session = http2.connect(secure, { ca });
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const stream = session.request({
    ":method": "CONNECT", ":protocol": "websocket", ":path": "/sockets/echo",
    "sec-websocket-version": "13", authorization: headers.Authorization,
  });
  const status = await new Promise((resolve, reject) =>
    stream.on("response", (head) => resolve(head[":status"])).on("error", reject));
  assert.equal(status, 200);
  // "hello", masked with zeros, and as it comes back.
  stream.write(Buffer.from("\x81\x85\0\0\0\0hello", "latin1"));
  const said = await new Promise((resolve) => stream.once("data", resolve));
  assert.equal(said.toString("latin1"), "\x81\x05hello");
  stream.close(http2.constants.NGHTTP2_CANCEL);
  session.close();
});

await test("a WebSocket without a token", async () => {
  const socket = new WebSocket(base.replace("http", "ws") + "/sockets/echo");
  await new Promise((resolve, reject) => {
    socket.onopen = () => reject(new Error("it was opened"));
    socket.onerror = resolve;
  });
});

finish();
