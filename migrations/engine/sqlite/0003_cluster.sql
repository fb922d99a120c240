-- Several engines on one database, and what they agree on. A file has one engine at a time; the tables are the same.

-- One row per engine that lives. Its name is made anew at every start (I30).
CREATE TABLE engines (
    incarnation BLOB    NOT NULL PRIMARY KEY,
    address     TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Why a shard stands still, if it does; for people.
ALTER TABLE shards ADD COLUMN halted TEXT;

-- The broker's topics as they were when they were first seen: one that was made anew has another id.
CREATE TABLE topics (
    name       TEXT    NOT NULL PRIMARY KEY,
    topic_id   BLOB    NOT NULL,
    partitions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A record that is no reply to anything belongs to no saga. SQLite takes no NOT NULL back: the table is made anew.
CREATE TABLE dead_letters_anew (
    number        INTEGER PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE,
    saga_id       BLOB,
    shard         INTEGER NOT NULL,
    step          TEXT,
    operation     TEXT    CHECK (operation IN ('execute', 'compensate')),
    attempts      INTEGER NOT NULL,
    error_code    TEXT    NOT NULL,
    error_message TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    record        TEXT    NOT NULL
) STRICT;

INSERT INTO dead_letters_anew
    (number, id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record)
SELECT number, id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record FROM dead_letters;

DROP TABLE dead_letters;
ALTER TABLE dead_letters_anew RENAME TO dead_letters;
CREATE INDEX dead_letters_at ON dead_letters (at);

-- I22, I27: epochs and marks only go up. The one exception is a topic of replies that was made anew: its offsets begin
-- at 0 again, and every owner is fenced by a new epoch in the same statement.
CREATE TRIGGER shards_only_up BEFORE UPDATE ON shards
WHEN NEW.epoch < OLD.epoch OR NEW.journal_head < OLD.journal_head OR NEW.published_head < OLD.published_head
     OR (NEW.reply_cursor < OLD.reply_cursor AND NOT (NEW.reply_cursor = 0 AND NEW.epoch > OLD.epoch))
BEGIN
    SELECT RAISE(ABORT, 'the epoch and the marks of a shard only go up');
END;
