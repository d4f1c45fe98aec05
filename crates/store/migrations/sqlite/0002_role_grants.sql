-- Roles given for a while. What was given never changes; a use or a revocation is written over the row, and never again
-- once it is revoked. Ends come by evaluation.
CREATE TABLE role_grant (
    id      TEXT PRIMARY KEY,
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    begins  INTEGER NOT NULL,
    ends    INTEGER NOT NULL,
    given   TEXT NOT NULL,
    used    INTEGER NOT NULL,
    revoked TEXT
) STRICT, WITHOUT ROWID;

-- The sets of people who agreed to a grant.
CREATE TABLE role_grant_set (
    grant_id TEXT NOT NULL,
    name     TEXT NOT NULL,
    PRIMARY KEY (name, grant_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX role_grant_of ON role_grant (issuer, subject, ends, id);
CREATE INDEX role_grant_ends ON role_grant (ends, id);
