// The two strictest OAuth clients that npm has, against the gateway: they throw on a
// wrong content type, a missing field or another issuer. Prints a line for each case.
//
//   node drive.mjs ISSUER CLIENT_ID CLIENT_SECRET

import assert from "node:assert/strict";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const [issuer, id, secret] = process.argv.slice(2);
const insecure = { [oauth.allowInsecureRequests]: true };
let failed = false;

async function test(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAILED ${name}: ${error.name} ${error.message} ${error.cause ? JSON.stringify(error.cause) : ""}`);
  }
}

const client = { client_id: id };
const ways = {
  basic: oauth.ClientSecretBasic(secret),
  post: oauth.ClientSecretPost(secret),
};
let server;

await test("oauth4webapi: discovery (RFC 8414)", async () => {
  const url = new URL(issuer);
  const answer = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...insecure });
  server = await oauth.processDiscoveryResponse(url, answer);
  assert.equal(server.issuer, issuer);
  for (const name of ["token", "introspection", "revocation"]) {
    assert.ok(server[`${name}_endpoint`], `${name}_endpoint`);
  }
});

await test("oauth4webapi: protected resource metadata (RFC 9728)", async () => {
  const url = new URL(issuer);
  const answer = await oauth.resourceDiscoveryRequest(url, insecure);
  const resource = await oauth.processResourceDiscoveryResponse(url, answer);
  assert.deepEqual(resource.authorization_servers, [issuer]);
});

for (const [name, way] of Object.entries(ways)) {
  const grant = async (parameters, secretWay = way) =>
    oauth.processClientCredentialsResponse(
      server,
      client,
      await oauth.clientCredentialsGrantRequest(server, client, secretWay, parameters, insecure),
    );
  const introspect = async (token) =>
    oauth.processIntrospectionResponse(
      server,
      client,
      await oauth.introspectionRequest(server, client, way, token, insecure),
    );

  await test(`oauth4webapi, ${name}: grant, introspect, revoke, introspect`, async () => {
    const granted = await grant({});
    assert.equal(granted.token_type, "bearer");
    assert.ok(granted.expires_in > 0 && granted.scope.includes("campaign.list"));
    const alive = await introspect(granted.access_token);
    assert.equal(alive.active, true);
    assert.equal(alive.client_id, id);
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(server, client, way, granted.access_token, insecure),
    );
    assert.deepEqual(await introspect(granted.access_token), { active: false });
  });

  await test(`oauth4webapi, ${name}: a narrower scope`, async () => {
    const granted = await grant({ scope: "campaign.list" });
    assert.ok(granted.scope.split(" ").includes("campaign.list"), granted.scope);
  });

  await test(`oauth4webapi, ${name}: a scope that is not held`, async () => {
    await assert.rejects(grant({ scope: "library.clear" }), { error: "invalid_scope" });
  });

  await test(`oauth4webapi, ${name}: a wrong secret`, async () => {
    const wrong = { basic: oauth.ClientSecretBasic, post: oauth.ClientSecretPost }[name]("wrong");
    // With Basic it is a 401 and its challenge, which this library tells first.
    await assert.rejects(grant({}, wrong), (error) =>
      name === "basic"
        ? error instanceof oauth.WWWAuthenticateChallengeError && error.cause[0].scheme === "basic"
        : error.error === "invalid_client" && error.status === 400,
    );
  });

  await test(`oauth4webapi, ${name}: revoking what there never was`, async () => {
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(server, client, way, "nothing", insecure),
    );
    assert.deepEqual(await introspect("nothing"), { active: false });
  });
}

await test("oauth4webapi: the protected resource takes the token, and says why it does not", async () => {
  const granted = await oauth.processClientCredentialsResponse(
    server,
    client,
    await oauth.clientCredentialsGrantRequest(server, client, ways.post, {}, insecure),
  );
  const url = new URL("/any/acme/x", issuer);
  const answer = await oauth.protectedResourceRequest(granted.access_token, "GET", url, undefined, null, insecure);
  assert.equal(answer.status, 200);
  await assert.rejects(
    oauth.protectedResourceRequest("nonsense", "GET", url, undefined, null, insecure),
    (error) =>
      error instanceof oauth.WWWAuthenticateChallengeError &&
      error.cause[0].scheme === "bearer" &&
      error.cause[0].parameters.error === "invalid_token",
  );
});

for (const [name, way] of [
  ["basic", openid.ClientSecretBasic(secret)],
  ["post", openid.ClientSecretPost(secret)],
]) {
  await test(`openid-client, ${name}: discovery, grant, introspect, revoke, introspect`, async () => {
    const config = await openid.discovery(new URL(issuer), id, undefined, way, {
      algorithm: "oauth2",
      execute: [openid.allowInsecureRequests],
    });
    const granted = await openid.clientCredentialsGrant(config, {});
    const token = granted.access_token;
    assert.equal((await openid.tokenIntrospection(config, token)).active, true);
    const answer = await openid.fetchProtectedResource(config, token, new URL("/any/acme/x", issuer), "GET");
    assert.equal(answer.status, 200);
    await openid.tokenRevocation(config, token);
    assert.deepEqual({ ...(await openid.tokenIntrospection(config, token)) }, { active: false });
    await assert.rejects(openid.clientCredentialsGrant(config, { scope: "library.clear" }), {
      error: "invalid_scope",
    });
  });
}

process.exit(failed ? 1 : 0);
