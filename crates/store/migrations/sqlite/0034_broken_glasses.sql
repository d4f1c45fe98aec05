-- What a requester let go without those who were asked: by whom, why, and what somebody else found. `review_due` is when
-- somebody must have looked at it, and NULL once somebody has.
ALTER TABLE approval ADD COLUMN broken TEXT;
ALTER TABLE approval ADD COLUMN review_due INTEGER;

CREATE INDEX approval_review ON approval (review_due, id) WHERE review_due IS NOT NULL;
