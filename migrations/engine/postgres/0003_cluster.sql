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
