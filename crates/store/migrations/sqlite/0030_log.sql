-- The log. A record is stored as it is hashed; the columns by which leaves are found are computed from it, so that
-- there is no second copy of anything that could be changed without changing the record. What it commits to lies
-- beside it, sealed with a key of its own, which is wrapped with the key of the person it tells of.
CREATE TABLE leaf (
    idx      INTEGER PRIMARY KEY,
    record   TEXT NOT NULL,
    subject  BLOB,
    key      BLOB,
    sealed   BLOB,
    phase    TEXT GENERATED ALWAYS AS (record ->> '$.phase') VIRTUAL,
    request  TEXT GENERATED ALWAYS AS (record ->> '$.request') VIRTUAL,
    run      TEXT GENERATED ALWAYS AS (record ->> '$.run') VIRTUAL,
    approval TEXT GENERATED ALWAYS AS (record ->> '$.approval') VIRTUAL
) STRICT;

CREATE INDEX leaf_request ON leaf (request);
CREATE INDEX leaf_run ON leaf (run) WHERE run IS NOT NULL;
CREATE INDEX leaf_approval ON leaf (approval) WHERE approval IS NOT NULL;
CREATE INDEX leaf_subject ON leaf (subject) WHERE subject IS NOT NULL;

-- The tree over the records, in tiles of 256 hashes; the last of each level is partial.
CREATE TABLE tile (
    level  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, n)
) STRICT, WITHOUT ROWID;

-- What was signed, once per commit that added leaves. The largest is the log. Witnesses' lines are added to the note.
CREATE TABLE checkpoint (
    size     INTEGER PRIMARY KEY,
    note     TEXT NOT NULL,
    cosigned INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX checkpoint_cosigned ON checkpoint (size) WHERE cosigned > 0;

-- The key of each person, wrapped with the house's. Without its row nobody reads what their leaves commit to.
CREATE TABLE subject_key (
    subject BLOB PRIMARY KEY,
    wrapped BLOB NOT NULL,
    held    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Intents without an outcome. A hint for people; the leaves are the truth.
CREATE TABLE open_intent (
    request TEXT PRIMARY KEY,
    leaf    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
