-- What is written now and then: definitions, dead letters, what operators did.

-- A definition never changes under one version.
CREATE TABLE definitions (
    saga_type TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    checksum  BLOB    NOT NULL,
    source    TEXT    NOT NULL,
    PRIMARY KEY (saga_type, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    number        INTEGER PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE,
    saga_id       BLOB    NOT NULL,
    shard         INTEGER NOT NULL,
    step          TEXT    NOT NULL,
    operation     TEXT    NOT NULL CHECK (operation IN ('execute', 'compensate')),
    attempts      INTEGER NOT NULL,
    error_code    TEXT    NOT NULL,
    error_message TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    record        TEXT    NOT NULL
) STRICT;

CREATE INDEX dead_letters_at ON dead_letters (at);

-- I36: an operator's action is one journal row, and has one entry.
CREATE TABLE audit (
    saga_id BLOB    NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    PRIMARY KEY (saga_id, seq)
) STRICT, WITHOUT ROWID;
