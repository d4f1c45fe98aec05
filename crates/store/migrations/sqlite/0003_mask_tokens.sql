-- What stands behind the numbers and tokens masks gave out. `sealed` is a ciphertext: this file shows no value.
CREATE TABLE mask_token (
    scope   TEXT NOT NULL,
    token   TEXT NOT NULL,
    entity  TEXT NOT NULL,
    key     TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (scope, token)
) STRICT, WITHOUT ROWID;

CREATE INDEX mask_token_expires ON mask_token (expires);
