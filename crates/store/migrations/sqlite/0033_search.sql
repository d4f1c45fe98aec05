-- By what leaves are found. Words follow from the records and are never verified: `leaf` is the truth, and this can be
-- made again from it.
CREATE TABLE leaf_word (
    word TEXT NOT NULL,
    idx  INTEGER NOT NULL,
    PRIMARY KEY (word, idx)
) STRICT, WITHOUT ROWID;

ALTER TABLE leaf ADD COLUMN time INTEGER GENERATED ALWAYS AS (record ->> '$.time') VIRTUAL;

-- A person's leaves of a day stand side by side.
DROP INDEX leaf_subject;
CREATE INDEX leaf_subject ON leaf (subject, time) WHERE subject IS NOT NULL;
CREATE INDEX leaf_time ON leaf (time);
