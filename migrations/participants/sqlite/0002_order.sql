-- Orders. Keyed by their ids alone, without a rowid: ids are time-ordered, so that one tree suffices.
CREATE TABLE orders (
    order_id    TEXT    NOT NULL PRIMARY KEY,
    saga_id     TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    currency    TEXT    NOT NULL,
    total       INTEGER NOT NULL CHECK (total >= 0),
    items       TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status = 'pending' OR status = 'confirmed' OR status = 'cancelled'),
    reason_code TEXT,
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    CHECK ((status = 'cancelled') = (reason_code IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_by_user ON orders (user_id, created_at);
