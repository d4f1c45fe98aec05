// The second opinion of npm `jose`, asked as strictly as it can be: reads one batch, writes one verdict per token.
//
//   CREWGATE_REAL_JOSE=<folder with node_modules> node jose.mjs <batch.json >verdicts.json
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.env.CREWGATE_REAL_JOSE, 'package.json'));
const { createLocalJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve('jose')));

const batch = JSON.parse(readFileSync(0, 'utf8'));
const sets = batch.sets.map((set) => createLocalJWKSet(set));
const options = {
  issuer: batch.issuer,
  audience: batch.audience,
  algorithms: batch.algorithms,
  typ: batch.typ,
  clockTolerance: batch.skew,
  maxTokenAge: batch.max_lifetime,
  requiredClaims: ['iss', 'sub', 'aud', 'iat', 'exp'],
  currentDate: new Date(batch.now * 1000),
};
const verdicts = [];
for (const { set, token } of batch.tokens) {
  try {
    const { payload } = await jwtVerify(token, sets[set], options);
    verdicts.push({ accepts: true, subject: String(payload.sub).toWellFormed() });
  } catch (error) {
    verdicts.push({ accepts: false, why: `${error.code ?? error.name}: ${error.message}` });
  }
}
console.log(JSON.stringify(verdicts));
