-- How far each export of the record has been acknowledged.
CREATE TABLE export_cursor (
    name TEXT PRIMARY KEY,
    -- The first leaf that is not.
    next INTEGER NOT NULL
) STRICT;

-- Which of several gateways hands on, and until when.
CREATE TABLE export_turn (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) STRICT;
