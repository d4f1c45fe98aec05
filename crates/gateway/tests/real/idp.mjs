// A real OpenID provider (npm `oidc-provider` 9) on loopback, for the tests of the whole path.
//
//   CREWGATE_REAL_IDP=<folder with node_modules> node idp.mjs [port]
//
// Prints one JSON line when it listens. It ends when its standard input ends, so that it never outlives the test.
//
// - `ci-job`, `other-job`: client credentials, RS256 access tokens, `groups` from the client.
// - `desk`: a public client for people, authorization code with PKCE, ES256 access tokens, `groups` from the account.
//   Any password signs in; who is in which group stands below.
// - `bound-job` must prove its key (DPoP), `sealed-job` present its certificate (which whoever ends TLS would put into
//   `x-client-certificate`); `opaque-job` gets tokens only the provider can read.
// - `gate` may ask about any token (introspection, answered with a signed JWT when that is asked for).
// - `console`: the console at `CREWGATE_CONSOLE`, for people in browsers; its ID tokens have the groups, and it is told
//   when somebody logs out.
// - `cli`: a public client for people without a browser of its own, device authorization and rotating refresh tokens.
// - `signer`: client credentials with `private_key_jwt`, held to RFC 10070: `aud` is the issuer alone, and `typ` says
//   what it is. Its private key is in the line that is printed.
// - `CREWGATE_TOKEN_TTL`: seconds an access token lives, 600 where it is not set.
// - `POST /rotate?keep=1`: new keys sign from now on; the old public keys stay published only with `keep=1`.
// - `GET /asked`: how often each path was asked for.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

// Standard output holds the one line; nobody reads it afterwards.
console.info = console.error;

const folder = process.env.CREWGATE_REAL_IDP;
if (!folder) throw new Error('CREWGATE_REAL_IDP names no folder with node_modules');
const require = createRequire(join(folder, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { Provider, errors } = await load('oidc-provider');
const { exportJWK, exportPKCS8, generateKeyPair } = await load('jose');

const AUDIENCE = 'crewgate';
const RESOURCE = 'urn:crewgate';
const people = {
  alice: ['analysts', 'payroll'],
  bob: ['analysts'],
  hanna: ['hr-data-owners'],
  carl: ['contractors'],
  dora: ['payroll'],
};
const jobs = { 'ci-job': ['ci'], 'other-job': ['ci'], 'bound-job': ['ci'], 'sealed-job': ['ci'], 'opaque-job': ['ci'] };
const special = {
  'bound-job': { dpop_bound_access_tokens: true },
  'sealed-job': { tls_client_certificate_bound_access_tokens: true },
};
const lifetime = Number(process.env.CREWGATE_TOKEN_TTL ?? 600);
const signer = await generateKeyPair('ES256', { extractable: true });

let generation = 0;
async function signingKeys() {
  generation += 1;
  const one = async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg.toLowerCase()}-${generation}` };
  };
  return Promise.all([one('RS256'), one('ES256')]);
}

const signerKey = { ...(await exportJWK(signer.publicKey)), alg: 'ES256', use: 'sig', kid: 'signer' };

const configuration = (issuer, keys) => ({
  jwks: { keys },
  cookies: { keys: ['a key for the cookies of a test'] },
  scopes: ['openid', 'offline_access', 'crews', 'groups'],
  claims: { openid: ['sub'], groups: ['groups'] },
  conformIdTokenClaims: false,
  clients: [
    ...Object.keys(jobs).map((client_id) => ({
      client_id,
      client_secret: `${client_id}-secret-of-a-test`,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'client_secret_post',
      ...special[client_id],
    })),
    {
      client_id: 'gate',
      client_secret: 'gate-secret-of-a-test',
      grant_types: [],
      response_types: [],
      redirect_uris: [],
      introspection_signed_response_alg: 'RS256',
    },
    {
      client_id: 'desk',
      application_type: 'native',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/signed-in'],
      token_endpoint_auth_method: 'none',
    },
    {
      client_id: 'console',
      client_secret: 'console-secret-of-a-test',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: [`${process.env.CREWGATE_CONSOLE}/callback`],
      post_logout_redirect_uris: [`${process.env.CREWGATE_CONSOLE}/`],
      backchannel_logout_uri: `${process.env.CREWGATE_CONSOLE}/backchannel-logout`,
      backchannel_logout_session_required: true,
    },
    {
      client_id: 'cli',
      application_type: 'native',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'none',
    },
    {
      client_id: 'signer',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [signerKey] },
    },
  ],
  assertJwtClientAuthClaimsAndHeader: (_ctx, claims, header) => {
    if (claims.aud !== issuer || header.typ !== 'client-authentication+jwt') {
      throw new errors.InvalidClientAuth(`aud ${claims.aud}, typ ${header.typ}`);
    }
  },
  findAccount: (_ctx, sub) =>
    Object.hasOwn(people, sub) ? { accountId: sub, claims: () => ({ sub, groups: people[sub] }) } : undefined,
  extraTokenClaims: (_ctx, token) => ({
    groups: token.accountId ? people[token.accountId] : jobs[token.clientId],
  }),
  // It would not speak to this machine, where the console is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.get('x-client-certificate') || undefined,
    },
    introspection: { enabled: true, allowedPolicy: (_ctx, client) => client.clientId === 'gate' },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource, client) => {
        if (resource !== RESOURCE) throw new Error(`no such resource: ${resource}`);
        return {
          scope: 'crews',
          audience: AUDIENCE,
          accessTokenTTL: lifetime,
          accessTokenFormat: client.clientId === 'opaque-job' ? 'opaque' : 'jwt',
          jwt: { sign: { alg: ['desk', 'cli'].includes(client.clientId) ? 'ES256' : 'RS256' } },
        };
      },
    },
  },
});

let keys = await signingKeys();
let provider;
const asked = {};
const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  if (url.pathname === '/asked') return response.end(JSON.stringify(asked));
  asked[url.pathname] = (asked[url.pathname] ?? 0) + 1;
  if (request.method !== 'POST' || url.pathname !== '/rotate') return provider.callback()(request, response);
  const fresh = await signingKeys();
  // The first key of an algorithm signs; the rest is only published.
  keys = url.searchParams.has('keep') ? [...fresh, ...keys] : fresh;
  provider = new Provider(issuer, configuration(issuer, keys));
  response.setHeader('content-type', 'application/json');
  return response.end(JSON.stringify({ kids: keys.map((key) => key.kid) }));
});
await new Promise((done) => server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
provider = new Provider(issuer, configuration(issuer, keys));
console.log(JSON.stringify({
  issuer,
  resource: RESOURCE,
  redirect: 'http://127.0.0.1/signed-in',
  signer: await exportPKCS8(signer.privateKey),
}));

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
