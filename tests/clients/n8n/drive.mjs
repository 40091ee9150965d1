// Drives every operation of n8n-nodes-abtasty, a client that nobody here wrote,
// through the gateway, as n8n would: with what a user filled in, and an HTTP
// helper that does what its options say.
//
// The client has its hosts built in. As in a deployment where those names lead
// to the gateway, requests go to GATEWAY_URL and keep their Host.
//
//   GATEWAY_URL=http://127.0.0.1:8080 CLIENT_ID=… CLIENT_SECRET=… ACCOUNT=… node drive.mjs
//
// Prints one JSON line an operation: {operation, method, path, status}, and
// "error" if it failed. Exit code: 0 if all got a 2xx, 1 if one did not, 2 if
// nothing could be tried.

import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';

const TIMEOUT_MS = 10_000;
// What the package has, so that a new release can't quietly have less.
const OPERATIONS = 23;

function giveUp(why) {
  console.error(why);
  process.exit(2);
}

const settings = {};
for (const name of ['GATEWAY_URL', 'CLIENT_ID', 'CLIENT_SECRET', 'ACCOUNT']) {
  settings[name] = process.env[name] || giveUp(`${name} is not set; see the head of drive.mjs`);
}
const gateway = new URL(settings.GATEWAY_URL);

let AbTasty;
try {
  ({ AbTasty } = createRequire(import.meta.url)('n8n-nodes-abtasty/dist/nodes/AbTasty/AbTasty.node.js'));
} catch (error) {
  giveUp(`the client can't be loaded (${error.message}); install it: npm ci --prefix tests/clients/n8n`);
}

// What a user fills in. The client puts all of it into paths, queries and bodies.
const FILLED_IN = {
  accountId: settings.ACCOUNT,
  accountIdentifier: settings.ACCOUNT,
  testId: 1001,
  variationId: 2002,
  modificationId: 3003,
  thirdPartyToolLinkId: 4004,
  userId: 5005,
  partnerName: 'best3rdparty',
  csvBynariesData: 'data',
  queryFlagship: true,
  visitorId: 'visitor-6006',
  filters: { 'filter%5Btype%5D%5B%5D': 'ab', _page: 1, _max_per_page: 10 },
  requestBody: '{"comment":"sent by n8n-nodes-abtasty","values":[1,2,3]}',
};
const CSV = Buffer.from('visitor_id,segment\nvisitor-6006,gold\n');

// Every operation that the node's own form offers.
function operations(properties) {
  return properties
    .filter((property) => property.name === 'operation')
    .flatMap((property) =>
      property.displayOptions.show.resource.flatMap((resource) =>
        property.options.map((option) => ({ resource, operation: option.value }))));
}

// n8n gives a node only what its form shows for the chosen operation.
function isShown(properties, name, operation) {
  return properties
    .filter((property) => property.name === name)
    .some(({ displayOptions: { show, hide } = {} }) =>
      (!show?.operation || show.operation.includes(operation)) && !hide?.operation?.includes(operation));
}

// n8n's helpers.request: options in, the body out (parsed with json: true), an
// error on anything but a 2xx.
function request(options, seen) {
  const url = new URL(options.url);
  const headers = { ...options.headers, Host: url.host };
  let body = options.body;
  if (body !== undefined && !Buffer.isBuffer(body) && typeof body !== 'string') {
    body = JSON.stringify(body);
  }
  if (body !== undefined) headers['Content-Length'] = Buffer.byteLength(body);
  const path = url.pathname + url.search;
  Object.assign(seen, { method: options.method, path, status: 0 });
  return new Promise((resolve, reject) => {
    const { request: send } = gateway.protocol === 'https:' ? https : http;
    const target = { hostname: gateway.hostname.replace(/^\[|\]$/g, ''), port: gateway.port };
    const sent = send({ ...target, method: options.method, path, headers, timeout: TIMEOUT_MS }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        seen.status = answer.statusCode;
        const text = Buffer.concat(parts).toString('utf8');
        if (answer.statusCode < 200 || answer.statusCode > 299) {
          reject(new Error(`${answer.statusCode} - ${text}`));
        } else {
          try {
            resolve(options.json ? JSON.parse(text) : text);
          } catch (error) {
            reject(error);
          }
        }
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    sent.on('error', reject);
    sent.end(body);
  });
}

// The `this` that n8n would run the node with.
function stage({ resource, operation }, properties, seen) {
  return {
    getInputData: () => [{ json: {} }],
    getNode: () => ({ name: 'AB Tasty' }),
    getCredentials: async () => ({ clientId: settings.CLIENT_ID, clientSecret: settings.CLIENT_SECRET }),
    getNodeParameter: (name, _item, fallback) => {
      if (name === 'operation') return operation;
      if (name === 'resource') return resource;
      return isShown(properties, name, operation) && name in FILLED_IN ? FILLED_IN[name] : fallback;
    },
    helpers: {
      request: (options) => request(options, seen),
      httpRequest: (options) => request({ ...options, json: options.json ?? true }, seen),
      assertBinaryData: () => ({ mimeType: 'text/csv' }),
      getBinaryDataBuffer: async () => CSV,
      returnJsonArray: (data) => data,
    },
  };
}

const node = new AbTasty();
const { properties } = node.description;
const all = operations(properties);
if (all.length !== OPERATIONS) {
  giveUp(`the client has ${all.length} operations, not ${OPERATIONS}: has its version changed?`);
}

// The client logs every request to the console, its bearer token included.
const print = console.log;
console.log = () => {};

const failed = [];
for (const choice of all) {
  const seen = { operation: choice.operation, method: null, path: null, status: 0 };
  try {
    await node.execute.call(stage(choice, properties, seen));
  } catch (error) {
    seen.error = error.message;
  }
  const cameThrough = !seen.error && seen.status >= 200 && seen.status <= 299;
  if (!cameThrough) failed.push(`${seen.operation}: ${seen.method} ${seen.path}: ${seen.error ?? seen.status}`);
  print(JSON.stringify(seen));
}
if (failed.length > 0) {
  console.error(`${failed.length} of ${all.length} operations failed:\n  ${failed.join('\n  ')}`);
  process.exit(1);
}
