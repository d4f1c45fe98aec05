-- What a requester let go without those who were asked: by whom, why, and what somebody else found. `review_due` is when
-- somebody must have looked at it, and NULL once somebody has.
ALTER TABLE approval ADD COLUMN broken TEXT COLLATE "C";
ALTER TABLE approval ADD COLUMN review_due BIGINT;

CREATE INDEX approval_review ON approval (review_due, id) WHERE review_due IS NOT NULL;

-- Voices that approvers lend for a while. What was lent never changes; an end is written over the row once. Ends come by
-- evaluation.
CREATE TABLE delegation (
    id             TEXT COLLATE "C" PRIMARY KEY,
    lender_issuer  TEXT COLLATE "C" NOT NULL,
    lender_subject TEXT COLLATE "C" NOT NULL,
    to_issuer      TEXT COLLATE "C" NOT NULL,
    to_subject     TEXT COLLATE "C" NOT NULL,
    begins         BIGINT NOT NULL,
    ends           BIGINT NOT NULL,
    given          TEXT COLLATE "C" NOT NULL,
    ended          TEXT COLLATE "C"
);

CREATE INDEX delegation_to ON delegation (to_issuer, to_subject, ends, id);
CREATE INDEX delegation_by ON delegation (lender_issuer, lender_subject, ends, id);
CREATE INDEX delegation_ends ON delegation (ends, id);
