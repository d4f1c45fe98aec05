-- Voices that approvers lend for a while. What was lent never changes; an end is written over the row once. Ends come by
-- evaluation.
CREATE TABLE delegation (
    id             TEXT PRIMARY KEY,
    lender_issuer  TEXT NOT NULL,
    lender_subject TEXT NOT NULL,
    to_issuer      TEXT NOT NULL,
    to_subject     TEXT NOT NULL,
    begins         INTEGER NOT NULL,
    ends           INTEGER NOT NULL,
    given          TEXT NOT NULL,
    ended          TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX delegation_to ON delegation (to_issuer, to_subject, ends, id);
CREATE INDEX delegation_by ON delegation (lender_issuer, lender_subject, ends, id);
CREATE INDEX delegation_ends ON delegation (ends, id);
