-- What callers' own names for their calls stand for, until they no longer do.
CREATE TABLE call_key (
    key         TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    request     TEXT NOT NULL,
    approval    TEXT,
    ends        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX call_key_request ON call_key (request);
CREATE INDEX call_key_ends ON call_key (ends);
