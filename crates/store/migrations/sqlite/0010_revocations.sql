-- Tokens that are refused although they have not expired. A second revocation of the same tokens is joined with the
-- first; what has ended is swept by the next change.
CREATE TABLE revocation (
    tokens TEXT PRIMARY KEY,
    stands TEXT NOT NULL,
    ends   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revocation_ends ON revocation (ends);

-- Counts changes: what replicas look at several times a second.
CREATE TABLE revocation_version (
    version INTEGER NOT NULL
) STRICT;

INSERT INTO revocation_version (version) VALUES (0);
