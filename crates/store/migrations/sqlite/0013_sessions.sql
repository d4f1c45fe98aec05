-- People in browsers. What a browser shows is kept as its SHA-256 alone.
CREATE TABLE session (
    key     BLOB PRIMARY KEY,
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    sid     TEXT,
    begun   INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    stands  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_subject ON session (issuer, subject, begun);
