-- What this participant has done, and answered, for each step of each saga. Written in the transaction of the effect.
CREATE TABLE barrier (
    saga_id        UUID    NOT NULL,
    step           TEXT COLLATE "C" NOT NULL,
    operation      TEXT COLLATE "C" NOT NULL CHECK (operation IN ('execute', 'compensate')),
    revision       BIGINT  NOT NULL,
    -- 'compensation': a tombstone on the execute key. It came before the command, which from then on is too late.
    origin         TEXT    NOT NULL CHECK (origin IN ('own', 'compensation')),
    payload_digest UUID,
    outcome        TEXT    CHECK (outcome IN ('done', 'refused')),
    -- JSON as text, digit for digit: the output of a step that is done, code and message of one that is refused.
    reply          TEXT,
    stored_at_ms   BIGINT  NOT NULL,
    PRIMARY KEY (saga_id, step, operation, revision),
    CHECK ((origin = 'own') = (payload_digest IS NOT NULL AND outcome IS NOT NULL AND reply IS NOT NULL)),
    CHECK (origin = 'own' OR operation = 'execute')
);
