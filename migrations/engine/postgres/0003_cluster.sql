-- Several engines on one database, and what they agree on.

-- One row per engine that lives. Its name is made anew at every start (I30).
CREATE TABLE engines (
    incarnation UUID   PRIMARY KEY,
    address     TEXT   NOT NULL,
    since       BIGINT NOT NULL,
    lease_until BIGINT NOT NULL
);

-- Why a shard stands still, if it does; for people.
ALTER TABLE shards ADD COLUMN halted TEXT;

-- The broker's topics as they were when they were first seen: one that was made anew has another id.
CREATE TABLE topics (
    name       TEXT    PRIMARY KEY,
    topic_id   UUID    NOT NULL,
    partitions INTEGER NOT NULL
);

-- A record that is no reply to anything belongs to no saga.
ALTER TABLE dead_letters ALTER COLUMN saga_id DROP NOT NULL;
ALTER TABLE dead_letters ALTER COLUMN step DROP NOT NULL;
ALTER TABLE dead_letters ALTER COLUMN operation DROP NOT NULL;

-- I22, I27: epochs and marks only go up. The one exception is a topic of replies that was made anew: its offsets begin
-- at 0 again, and every owner is fenced by a new epoch in the same statement.
CREATE TRIGGER shards_only_up AFTER UPDATE ON shards FOR EACH ROW
WHEN (NEW.epoch < OLD.epoch OR NEW.journal_head < OLD.journal_head OR NEW.published_head < OLD.published_head
      OR (NEW.reply_cursor < OLD.reply_cursor AND NOT (NEW.reply_cursor = 0 AND NEW.epoch > OLD.epoch)))
EXECUTE FUNCTION refuse_statement('the epoch and the marks of a shard only go up');

-- I28: a row is written only by a transaction that has updated, and so locked, the row of its shard. Per statement: one
-- look at the shards for all rows of a commit.
CREATE FUNCTION written_under_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM (SELECT DISTINCT shard FROM written) AS found
    WHERE NOT EXISTS (
        SELECT 1 FROM shards WHERE shards.shard = found.shard AND shards.xmin = pg_current_xact_id()::XID
    );
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'a row of a shard is written only together with the marks of the shard';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER sagas_started_under_lock AFTER INSERT ON sagas REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION written_under_lock();

CREATE TRIGGER sagas_changed_under_lock AFTER UPDATE ON sagas REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION written_under_lock();

CREATE TRIGGER journal_under_lock AFTER INSERT ON journal REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION written_under_lock();
