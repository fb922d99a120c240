-- What this participant has done, and answered, for each step of each saga. Written in the transaction of the effect.
-- Rows of one saga lie side by side, and the key is the table: one page to read and one to write per command.
-- No function in a CHECK: SQLite would copy every page before it changes it, in case the function fails half-way.
-- Here and in the other tables no IN of three or more values: SQLite would build a table of them for every row.
CREATE TABLE barrier (
    saga_id        BLOB    NOT NULL,
    step           TEXT    NOT NULL,
    operation      TEXT    NOT NULL CHECK (operation IN ('execute', 'compensate')),
    revision       INTEGER NOT NULL,
    -- 'compensation': a tombstone on the execute key. It came before the command, which from then on is too late.
    origin         TEXT    NOT NULL CHECK (origin IN ('own', 'compensation')),
    payload_digest BLOB,
    outcome        TEXT    CHECK (outcome IN ('done', 'refused')),
    -- JSON: the output of a step that is done, code and message of one that is refused.
    reply          TEXT,
    stored_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (saga_id, step, operation, revision),
    CHECK ((origin = 'own') = (payload_digest IS NOT NULL AND outcome IS NOT NULL AND reply IS NOT NULL)),
    CHECK (origin = 'own' OR operation = 'execute')
) WITHOUT ROWID, STRICT;
