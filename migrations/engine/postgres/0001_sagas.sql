-- What the engine writes on its way: who owns a shard, the sagas, and the journal that is the truth about them.

-- One row per shard, their number fixed at install. The epoch is the only proof of ownership: every commit locks and
-- compares it. The pages are kept half empty so that the marks, moved by every commit, are updated in place.
CREATE TABLE shards (
    shard          INTEGER PRIMARY KEY,
    owner          UUID,
    address        TEXT,
    epoch          BIGINT NOT NULL DEFAULT 0,
    lease_until    BIGINT NOT NULL DEFAULT 0,
    reply_cursor   BIGINT NOT NULL DEFAULT 0,
    journal_head   BIGINT NOT NULL DEFAULT 0,
    published_head BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The journal names a saga by its number instead of its id: ids that clients' keys derive are random, and after each
-- checkpoint Postgres logs a whole page for every random place of an index that a commit touches.
CREATE TABLE sagas (
    number        BIGINT  GENERATED ALWAYS AS IDENTITY (CACHE 1000) PRIMARY KEY,
    saga_id       UUID    NOT NULL UNIQUE,
    shard         INTEGER NOT NULL,
    saga_type     TEXT    NOT NULL,
    version       BIGINT  NOT NULL,
    key           TEXT,
    digest        UUID    NOT NULL,
    started_at    BIGINT  NOT NULL,
    status        TEXT    NOT NULL
                  CHECK (status IN ('running', 'compensating', 'parked', 'completed', 'compensated')),
    paused        BOOLEAN NOT NULL,
    overdue       BOOLEAN NOT NULL,
    updated_at    BIGINT  NOT NULL,
    step          TEXT,
    attempt       BIGINT  NOT NULL,
    next_at       BIGINT,
    error_code    TEXT,
    error_message TEXT
) WITH (fillfactor = 80);

-- Lists are newest first by started_at, then number.
CREATE INDEX sagas_started ON sagas (started_at, number);

-- Small whatever the archive holds: recovery, and lists of what is on its way or stuck.
CREATE INDEX sagas_unfinished ON sagas (started_at, number, shard)
    WHERE status IN ('running', 'compensating', 'parked');

-- What people look for among the finished.
CREATE INDEX sagas_troubled ON sagas (started_at, number) WHERE status = 'compensated' OR error_code IS NOT NULL;

-- I4: terminal is absorbing.
CREATE FUNCTION sagas_terminal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a saga that has ended stays as it is' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER sagas_terminal BEFORE UPDATE OF status ON sagas FOR EACH ROW
WHEN (OLD.status IN ('completed', 'compensated') AND NEW.status <> OLD.status)
EXECUTE FUNCTION sagas_terminal();

-- One row per transition, appended. No foreign key to sagas: it would lock and check a row per append, and the
-- append finds the number there anyway.
CREATE TABLE journal (
    shard    INTEGER  NOT NULL,
    position BIGINT   NOT NULL,
    saga     BIGINT   NOT NULL,
    seq      BIGINT   NOT NULL,
    at       BIGINT   NOT NULL,
    format   SMALLINT NOT NULL,
    events   TEXT     NOT NULL,
    PRIMARY KEY (shard, position),
    UNIQUE (saga, seq)
);

-- I5: the journal is append-only. Per statement, so that an append pays nothing.
CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER journal_update BEFORE UPDATE ON journal
FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only();

CREATE TRIGGER journal_delete BEFORE DELETE OR TRUNCATE ON journal
FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only();
