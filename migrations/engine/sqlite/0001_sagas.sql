-- What the engine writes on its way: who owns a shard, the sagas, and the journal that is the truth about them.

-- One row per shard, their number fixed at install. The epoch is the only proof of ownership: every commit compares it.
CREATE TABLE shards (
    shard          INTEGER PRIMARY KEY,
    owner          BLOB,
    address        TEXT,
    epoch          INTEGER NOT NULL DEFAULT 0,
    lease_until    INTEGER NOT NULL DEFAULT 0,
    reply_cursor   INTEGER NOT NULL DEFAULT 0,
    journal_head   INTEGER NOT NULL DEFAULT 0,
    published_head INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The table is kept in the order of arrival, and the journal names a saga by its number there instead of its id: ids
-- that clients' keys derive are random, and SQLite logs a whole page for every random place that a commit touches.
CREATE TABLE sagas (
    number        INTEGER PRIMARY KEY,
    saga_id       BLOB    NOT NULL UNIQUE,
    shard         INTEGER NOT NULL,
    saga_type     TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    key           TEXT,
    digest        BLOB    NOT NULL,
    started_at    INTEGER NOT NULL,
    status        TEXT    NOT NULL
                  CHECK (status = 'running' OR status = 'compensating' OR status = 'parked'
                         OR status = 'completed' OR status = 'compensated'),
    paused        INTEGER NOT NULL,
    overdue       INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    step          TEXT,
    attempt       INTEGER NOT NULL,
    next_at       INTEGER,
    error_code    TEXT,
    error_message TEXT
) STRICT;

-- Lists are newest first by started_at, then number, which is the end of every index here.
CREATE INDEX sagas_started ON sagas (started_at);

-- Small whatever the archive holds: recovery, and lists of what is on its way or stuck.
CREATE INDEX sagas_unfinished ON sagas (started_at, shard) WHERE status IN ('running', 'compensating', 'parked');

-- What people look for among the finished.
CREATE INDEX sagas_troubled ON sagas (started_at) WHERE status = 'compensated' OR error_code IS NOT NULL;

-- I4: terminal is absorbing.
CREATE TRIGGER sagas_terminal BEFORE UPDATE OF status ON sagas
WHEN OLD.status IN ('completed', 'compensated') AND NEW.status <> OLD.status
BEGIN
    SELECT RAISE(ABORT, 'a saga that has ended stays as it is');
END;

-- One row per transition, all shards appended at one end: kept by shard, every shard would have a half-empty page of
-- its own in the middle of the table to grow, and the log would be twice as long.
CREATE TABLE journal (
    number   INTEGER PRIMARY KEY,
    shard    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    saga     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    format   INTEGER NOT NULL,
    events   TEXT    NOT NULL,
    UNIQUE (shard, position),
    UNIQUE (saga, seq)
) STRICT;

-- I5: the journal is append-only.
CREATE TRIGGER journal_update BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_delete BEFORE DELETE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
