-- Orders.
CREATE TABLE orders (
    order_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    saga_id     TEXT   NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    currency    TEXT   NOT NULL,
    total       BIGINT NOT NULL CHECK (total >= 0),
    items       TEXT   NOT NULL,
    status      TEXT   NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    reason_code TEXT,
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    CHECK ((status = 'cancelled') = (reason_code IS NOT NULL))
);

CREATE INDEX orders_by_user ON orders (user_id, created_at);
