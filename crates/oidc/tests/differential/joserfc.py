"""The second opinion of PyPI `joserfc`, asked as strictly as it can be: reads one batch, writes one verdict per token.

    python joserfc.py <batch.json >verdicts.json
"""

import json
import sys

# This file bears the package's name; its folder must not stand in for it.
sys.path.pop(0)

from joserfc import jwt  # noqa: E402
from joserfc.jwk import JWKRegistry, KeySet  # noqa: E402
from joserfc.jws import JWSRegistry  # noqa: E402

KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}


def key_set(document):
    keys = []
    for jwk in document["keys"]:
        try:
            keys.append(JWKRegistry.import_key(jwk))
        except Exception:  # A key it cannot read is one it does not have.
            continue
    return KeySet(keys)


def well_formed(text):
    """Half a surrogate pair is no text to the others."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def chosen(keys):
    """The key a token means: by its kid, or the only one that fits (RFC 7515 section 4.1.4 makes the kid optional)."""

    def choose(token):
        header = token.headers()
        if "kid" in header:
            return keys
        alg = header["alg"]
        fitting = [
            key
            for key in keys.keys
            if key.key_type == KINDS.get(alg[:2])
            and key.get("crv") == CURVES.get(alg)
            and key.get("alg", alg) == alg
            and key.get("use", "sig") == "sig"
        ]
        if len(fitting) != 1:
            raise ValueError(f"{len(fitting)} keys fit")
        return fitting[0]

    return choose


batch = json.load(sys.stdin)
sets = [chosen(key_set(document)) for document in batch["sets"]]
# RFC 7515 section 4: header parameters that are not understood must be ignored.
headers = JWSRegistry(algorithms=batch["algorithms"], strict_check_header=False)
registry = jwt.JWTClaimsRegistry(
    now=batch["now"],
    leeway=batch["skew"],
    iss={"essential": True, "value": batch["issuer"]},
    aud={"essential": True, "value": batch["audience"]},
    sub={"essential": True},
    iat={"essential": True},
    exp={"essential": True},
)
verdicts = []
for case in batch["tokens"]:
    try:
        token = jwt.decode(case["token"], sets[case["set"]], registry=headers)
        registry.validate(token.claims)
        # What it leaves to its callers: RFC 8725 section 3.11.
        typ = token.header.get("typ")
        if not isinstance(typ, str) or typ.lower().removeprefix("application/") != batch["typ"]:
            raise ValueError(f"typ {typ!r}")
        verdicts.append({"accepts": True, "subject": well_formed(token.claims["sub"])})
    except Exception as error:
        verdicts.append({"accepts": False, "why": f"{type(error).__name__}: {error}"})
print(json.dumps(verdicts))
