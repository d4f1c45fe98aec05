-- How far each export of the record has been acknowledged.
CREATE TABLE export_cursor (
    name TEXT PRIMARY KEY,
    -- The first leaf that is not.
    next INTEGER NOT NULL
) STRICT;
