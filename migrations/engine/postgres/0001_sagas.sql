-- What the engine writes on its way: who owns a shard, the sagas, and the journal that is the truth about them.

-- Ends a statement that contradicts what is stored. SQL has no other way to stop in the middle.
CREATE FUNCTION refuse(state TEXT, why TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = why;
END
$$;

CREATE FUNCTION refuse_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = TG_ARGV[0];
END
$$;

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

-- Tells sagas apart that were accepted within one millisecond.
CREATE SEQUENCE saga_numbers AS INTEGER MINVALUE 0 MAXVALUE 1048575 CYCLE CACHE 256;

-- A saga's number is the millisecond of its start, shifted by 20 bits, and 20 bits of the sequence: one index serves
-- as the primary key and as the order of every list, newest first. The journal names a saga by its number instead of its
-- id, since ids that clients' keys derive are random, and after each checkpoint Postgres logs a whole page for every
-- random place of an index that a commit touches. Wide columns come first, so that nothing is lost to alignment.
CREATE TABLE sagas (
    number        BIGINT  PRIMARY KEY,
    started_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL,
    next_at       BIGINT,
    saga_id       UUID    NOT NULL UNIQUE,
    digest        UUID    NOT NULL,
    shard         INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    paused        BOOLEAN NOT NULL,
    overdue       BOOLEAN NOT NULL,
    saga_type     TEXT    NOT NULL,
    key           TEXT,
    status        TEXT    NOT NULL
                  CHECK (status IN ('running', 'compensating', 'parked', 'completed', 'compensated')),
    step          TEXT,
    error_code    TEXT,
    error_message TEXT
) WITH (fillfactor = 90);

-- Small whatever the archive holds: recovery, and lists of what is on its way or stuck. That it is ordered by the time
-- first makes it the only index that can give these lists in their order, so the planner has no worse choice.
CREATE INDEX sagas_unfinished ON sagas (started_at, number, shard)
    WHERE status IN ('running', 'compensating', 'parked');

-- What people look for among the finished.
CREATE INDEX sagas_troubled ON sagas (started_at, number) WHERE status = 'compensated' OR error_code IS NOT NULL;

-- I4: terminal is absorbing. AFTER, here and wherever rows are looked at: a trigger BEFORE locks its row, and the log
-- keeps every lock.
CREATE TRIGGER sagas_terminal AFTER UPDATE OF status ON sagas FOR EACH ROW
WHEN (OLD.status IN ('completed', 'compensated') AND NEW.status <> OLD.status)
EXECUTE FUNCTION refuse_statement('a saga that has ended stays as it is');

-- One row per transition, appended. No foreign key to sagas: it would lock and check a row per append, and the
-- append finds the number there anyway.
CREATE TABLE journal (
    saga     BIGINT   NOT NULL,
    position BIGINT   NOT NULL,
    at       BIGINT   NOT NULL,
    shard    INTEGER  NOT NULL,
    seq      INTEGER  NOT NULL,
    format   SMALLINT NOT NULL,
    events   TEXT     NOT NULL,
    PRIMARY KEY (shard, position),
    UNIQUE (saga, seq)
);

-- I5: the journal is append-only. Per statement, so that an append pays nothing.
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
FOR EACH STATEMENT EXECUTE FUNCTION refuse_statement('the journal is append-only');

-- The step that the last event of a transition about a step is about, and its sends if the event counts them. An event
-- is an object with one member, named after its kind. What cannot be read is passed over: one broken journal must not
-- break every list. A text in JSON may hold \u0000, which Postgres refuses to read.
CREATE FUNCTION last_step(events TEXT, OUT step TEXT, OUT attempt BIGINT) LANGUAGE plpgsql AS $$
BEGIN
    SELECT fact.value ->> 'step', (fact.value ->> 'attempt')::BIGINT INTO step, attempt
    FROM json_array_elements(replace(events, '\u0000', '\ufffd')::JSON) WITH ORDINALITY AS event (value, place),
         json_each(CASE json_typeof(event.value) WHEN 'object' THEN event.value ELSE '{}' END) AS fact
    WHERE json_typeof(fact.value) = 'object' AND fact.value ->> 'step' IS NOT NULL
    ORDER BY event.place DESC LIMIT 1;
EXCEPTION WHEN data_exception OR syntax_error_or_access_rule_violation THEN
    step := NULL;
END
$$;
