-- Ids that count once, until they can no longer count.
CREATE TABLE used_id (
    owner TEXT NOT NULL,
    id    TEXT NOT NULL,
    ends  INTEGER NOT NULL,
    UNIQUE (owner, id)
) STRICT;

CREATE INDEX used_id_ends ON used_id (ends);
