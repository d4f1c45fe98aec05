-- Approvals. What was asked never changes; a move writes state, votes, leases and version over the version it read.
-- Rows are found by phase, until and auto_run, which say what asked and state say.
CREATE TABLE approval (
    id        TEXT COLLATE "C" PRIMARY KEY,
    run       TEXT COLLATE "C" UNIQUE,
    asked     TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL,
    votes     TEXT COLLATE "C" NOT NULL,
    leases    BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    opened    BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    requester TEXT COLLATE "C" NOT NULL,
    auto_run  BIGINT NOT NULL,
    phase     TEXT COLLATE "C" NOT NULL,
    until     BIGINT
);

CREATE INDEX approval_phase ON approval (phase, opened, id);
CREATE INDEX approval_requester ON approval (requester, opened, id);
CREATE INDEX approval_opened ON approval (opened, id);

-- Which id belongs to whom. An upstream id of a run has one own id per crew, any other one own id per run and kind.
CREATE TABLE own_id (
    own            TEXT COLLATE "C" PRIMARY KEY,
    kind           TEXT COLLATE "C" NOT NULL,
    crew           TEXT COLLATE "C" NOT NULL,
    owner_issuer   TEXT COLLATE "C" NOT NULL,
    owner_subject  TEXT COLLATE "C" NOT NULL,
    run            TEXT COLLATE "C" NOT NULL,
    upstream       TEXT COLLATE "C",
    at             BIGINT NOT NULL
);

CREATE UNIQUE INDEX own_id_run ON own_id (crew, upstream) WHERE kind = 'run' AND upstream IS NOT NULL;
CREATE UNIQUE INDEX own_id_part ON own_id (run, kind, upstream) WHERE kind <> 'run';
CREATE INDEX own_id_upstream ON own_id (crew, upstream) WHERE upstream IS NOT NULL;
CREATE INDEX own_id_newest ON own_id (at, own) WHERE kind = 'run' AND own = run;

-- The task of a run that waits for a person; `task` is NULL when it has been answered, and the turn is remembered.
CREATE TABLE task_wait (
    run       TEXT COLLATE "C" PRIMARY KEY,
    turn      BIGINT NOT NULL,
    execution TEXT COLLATE "C",
    task      TEXT COLLATE "C"
);

-- Calls that count against a rate, one row each, until the rate's period is over.
CREATE TABLE rate_mark (
    mark    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    rule    TEXT COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    ends    BIGINT NOT NULL
);

CREATE INDEX rate_mark_of ON rate_mark (issuer, subject, rule, at);
CREATE INDEX rate_mark_ends ON rate_mark (ends);

-- Roles given for a while. What was given never changes; a use or a revocation is written over the row, and never again
-- once it is revoked. Ends come by evaluation.
CREATE TABLE role_grant (
    id      TEXT COLLATE "C" PRIMARY KEY,
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    begins  BIGINT NOT NULL,
    ends    BIGINT NOT NULL,
    given   TEXT COLLATE "C" NOT NULL,
    used    BIGINT NOT NULL,
    revoked TEXT COLLATE "C"
);

-- The sets of people who agreed to a grant.
CREATE TABLE role_grant_set (
    grant_id TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, grant_id)
);

CREATE INDEX role_grant_of ON role_grant (issuer, subject, ends, id);
CREATE INDEX role_grant_ends ON role_grant (ends, id);

-- What stands behind the numbers and tokens masks gave out. `sealed` is a ciphertext: this file shows no value.
CREATE TABLE mask_token (
    scope   TEXT COLLATE "C" NOT NULL,
    token   TEXT COLLATE "C" NOT NULL,
    entity  TEXT COLLATE "C" NOT NULL,
    key     TEXT COLLATE "C" NOT NULL,
    sealed  BYTEA NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (scope, token)
);

CREATE INDEX mask_token_expires ON mask_token (expires);

-- Tokens that are refused although they have not expired. A second revocation of the same tokens is joined with the
-- first; what has ended is swept by the next change.
CREATE TABLE revocation (
    tokens TEXT COLLATE "C" PRIMARY KEY,
    stands TEXT COLLATE "C" NOT NULL,
    ends   BIGINT NOT NULL
);

CREATE INDEX revocation_ends ON revocation (ends);

-- Counts changes: what replicas look at several times a second.
CREATE TABLE revocation_version (
    version BIGINT NOT NULL
);

INSERT INTO revocation_version (version) VALUES (0);

-- Ids that count once, until they can no longer count.
CREATE TABLE used_id (
    owner TEXT COLLATE "C" NOT NULL,
    id    TEXT COLLATE "C" NOT NULL,
    ends  BIGINT NOT NULL,
    UNIQUE (owner, id)
);

CREATE INDEX used_id_ends ON used_id (ends);

-- Whose tokens are in use, and what they are like: one row for each identity and client, the newest sighting.
CREATE TABLE seen_token (
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    client  TEXT COLLATE "C" NOT NULL,
    first   BIGINT NOT NULL,
    last    BIGINT NOT NULL,
    seen    TEXT COLLATE "C" NOT NULL,
    UNIQUE (issuer, subject, client)
);

CREATE INDEX seen_token_last ON seen_token (last);

-- People in browsers. What a browser shows is kept as its SHA-256 alone.
CREATE TABLE session (
    key     BYTEA PRIMARY KEY,
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    sid     TEXT COLLATE "C",
    begun   BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    stands  TEXT COLLATE "C" NOT NULL
);

CREATE INDEX session_subject ON session (issuer, subject, begun);

-- The log. A record is stored as it is hashed; the columns by which leaves are found are computed from it, so that
-- there is no second copy of anything that could be changed without changing the record. What it commits to lies
-- beside it, sealed with a key of its own, which is wrapped with the key of the person it tells of.
CREATE TABLE leaf (
    idx      BIGINT PRIMARY KEY,
    record   TEXT COLLATE "C" NOT NULL,
    subject  BYTEA,
    key      BYTEA,
    sealed   BYTEA,
    phase    TEXT COLLATE "C" GENERATED ALWAYS AS (record::jsonb ->> 'phase') STORED,
    request  TEXT COLLATE "C" GENERATED ALWAYS AS (record::jsonb ->> 'request') STORED,
    run      TEXT COLLATE "C" GENERATED ALWAYS AS (record::jsonb ->> 'run') STORED,
    approval TEXT COLLATE "C" GENERATED ALWAYS AS (record::jsonb ->> 'approval') STORED,
    time     BIGINT GENERATED ALWAYS AS ((record::jsonb ->> 'time')::bigint) STORED
);

CREATE INDEX leaf_request ON leaf (request);
CREATE INDEX leaf_run ON leaf (run) WHERE run IS NOT NULL;
CREATE INDEX leaf_approval ON leaf (approval) WHERE approval IS NOT NULL;
-- A person's leaves of a day stand side by side.
CREATE INDEX leaf_subject ON leaf (subject, time) WHERE subject IS NOT NULL;
CREATE INDEX leaf_time ON leaf (time);

-- The tree over the records, in tiles of 256 hashes; the last of each level is partial.
CREATE TABLE tile (
    level  BIGINT NOT NULL,
    n      BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (level, n)
);

-- What was signed, once per commit that added leaves. The largest is the log. Witnesses' lines are added to the note.
CREATE TABLE checkpoint (
    size     BIGINT PRIMARY KEY,
    note     TEXT COLLATE "C" NOT NULL,
    cosigned BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX checkpoint_cosigned ON checkpoint (size) WHERE cosigned > 0;

-- The key of each person, wrapped with the house's. Without its row nobody reads what their leaves commit to.
CREATE TABLE subject_key (
    subject BYTEA PRIMARY KEY,
    wrapped BYTEA NOT NULL,
    held    BIGINT NOT NULL DEFAULT 0
);

-- Intents without an outcome. A hint for people; the leaves are the truth.
CREATE TABLE open_intent (
    request TEXT COLLATE "C" PRIMARY KEY,
    leaf    BIGINT NOT NULL
);

-- What callers' own names for their calls stand for, until they no longer do.
CREATE TABLE call_key (
    key         TEXT COLLATE "C" PRIMARY KEY,
    fingerprint TEXT COLLATE "C" NOT NULL,
    request     TEXT COLLATE "C" NOT NULL,
    approval    TEXT COLLATE "C",
    ends        BIGINT NOT NULL
);

CREATE INDEX call_key_request ON call_key (request);
CREATE INDEX call_key_ends ON call_key (ends);

-- How far each export of the record has been acknowledged.
CREATE TABLE export_cursor (
    name TEXT COLLATE "C" PRIMARY KEY,
    -- The first leaf that is not.
    next BIGINT NOT NULL
);

-- Which of several gateways hands on, and until when.
CREATE TABLE export_turn (
    name   TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    until  BIGINT NOT NULL
);

-- By what leaves are found. Words follow from the records and are never verified: `leaf` is the truth, and this can be
-- made again from it.
CREATE TABLE leaf_word (
    word TEXT COLLATE "C" NOT NULL,
    idx  BIGINT NOT NULL,
    PRIMARY KEY (word, idx)
);

