-- What is written now and then: definitions, dead letters, what operators did.

-- A definition never changes under one version.
CREATE TABLE definitions (
    saga_type TEXT   NOT NULL,
    version   INTEGER NOT NULL,
    checksum  UUID   NOT NULL,
    source    TEXT   NOT NULL,
    PRIMARY KEY (saga_type, version)
);

CREATE TABLE dead_letters (
    number        BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            UUID    NOT NULL UNIQUE,
    saga_id       UUID    NOT NULL,
    shard         INTEGER NOT NULL,
    step          TEXT    NOT NULL,
    operation     TEXT    NOT NULL CHECK (operation IN ('execute', 'compensate')),
    attempts      INTEGER NOT NULL,
    error_code    TEXT    NOT NULL,
    error_message TEXT    NOT NULL,
    at            BIGINT  NOT NULL,
    record        TEXT    NOT NULL
);

CREATE INDEX dead_letters_at ON dead_letters (at, number);

-- I36: an operator's action is one journal row, and has one entry.
CREATE TABLE audit (
    saga_id UUID   NOT NULL,
    seq     BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    who     TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    PRIMARY KEY (saga_id, seq)
);
