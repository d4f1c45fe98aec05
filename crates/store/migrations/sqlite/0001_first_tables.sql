-- Approvals. What was asked never changes; a move writes state, votes, leases and version over the version it read.
-- Rows are found by phase, until and auto_run, which say what asked and state say.
CREATE TABLE approval (
    id        TEXT PRIMARY KEY,
    run       TEXT UNIQUE,
    asked     TEXT NOT NULL,
    state     TEXT NOT NULL,
    votes     TEXT NOT NULL,
    leases    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    opened    INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    requester TEXT NOT NULL,
    auto_run  INTEGER NOT NULL,
    phase     TEXT NOT NULL,
    until     INTEGER
) STRICT;

CREATE INDEX approval_phase ON approval (phase, opened, id);
CREATE INDEX approval_requester ON approval (requester, opened, id);
CREATE INDEX approval_opened ON approval (opened, id);

-- Which id belongs to whom. An upstream id of a run has one own id per crew, any other one own id per run and kind.
CREATE TABLE own_id (
    own            TEXT PRIMARY KEY,
    kind           TEXT NOT NULL,
    crew           TEXT NOT NULL,
    owner_issuer   TEXT NOT NULL,
    owner_subject  TEXT NOT NULL,
    run            TEXT NOT NULL,
    upstream       TEXT,
    at             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX own_id_run ON own_id (crew, upstream) WHERE kind = 'run' AND upstream IS NOT NULL;
CREATE UNIQUE INDEX own_id_part ON own_id (run, kind, upstream) WHERE kind <> 'run';
CREATE INDEX own_id_upstream ON own_id (crew, upstream) WHERE upstream IS NOT NULL;
CREATE INDEX own_id_newest ON own_id (at, own) WHERE kind = 'run' AND own = run;

-- The task of a run that waits for a person; `task` is NULL when it has been answered, and the turn is remembered.
CREATE TABLE task_wait (
    run       TEXT PRIMARY KEY,
    turn      INTEGER NOT NULL,
    execution TEXT,
    task      TEXT
) STRICT, WITHOUT ROWID;

-- Calls that count against a rate, one row each, until the rate's period is over.
CREATE TABLE rate_mark (
    mark    INTEGER PRIMARY KEY,
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    rule    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    ends    INTEGER NOT NULL
) STRICT;

CREATE INDEX rate_mark_of ON rate_mark (issuer, subject, rule, at);
CREATE INDEX rate_mark_ends ON rate_mark (ends);
