-- Approvals, sealed: `asked` never changes, `moved` is where it stands, what people said and why. Both are sealed with the
-- requester's key, and empty once that is erased. By what rows are found stands beside it, and what is long comes last.
-- `ends` is when what the phase says ends by itself, or would have. Rows of before are sealed at the next start.
ALTER TABLE approval RENAME TO approval_clear;

DROP INDEX approval_phase;
DROP INDEX approval_requester;
DROP INDEX approval_opened;
DROP INDEX approval_review;

CREATE TABLE approval (
    id         TEXT COLLATE "C" PRIMARY KEY,
    run        TEXT COLLATE "C" UNIQUE,
    phase      TEXT COLLATE "C" NOT NULL,
    ends       BIGINT NOT NULL,
    opened     BIGINT NOT NULL,
    requester  TEXT COLLATE "C" NOT NULL,
    auto_run   BIGINT NOT NULL,
    review_due BIGINT,
    leases     BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    subject    BYTEA,
    moved      BYTEA NOT NULL,
    asked      BYTEA NOT NULL
);

-- What nobody decided on in time stays where it was: nobody who looks for what waits walks over it.
CREATE INDEX approval_phase ON approval (phase, ends, opened, id);
CREATE INDEX approval_requester ON approval (requester, opened, id);
CREATE INDEX approval_opened ON approval (opened, id);
CREATE INDEX approval_review ON approval (review_due, id) WHERE review_due IS NOT NULL;
CREATE INDEX approval_subject ON approval (subject) WHERE subject IS NOT NULL;
