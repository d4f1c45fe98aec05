-- Whose tokens are in use, and what they are like: one row for each identity and client, the newest sighting.
CREATE TABLE seen_token (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    client  TEXT NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    seen    TEXT NOT NULL,
    UNIQUE (issuer, subject, client)
) STRICT;

CREATE INDEX seen_token_last ON seen_token (last);
