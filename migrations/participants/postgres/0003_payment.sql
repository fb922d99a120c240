-- The ledger: one row per capture and one per refund. Its key allows one of each per order (I14, I15).
CREATE TABLE payments (
    order_id   TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('capture', 'refund')),
    payment_id TEXT   NOT NULL,
    saga_id    TEXT   NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    amount     BIGINT NOT NULL CHECK (amount >= 0),
    currency   TEXT   NOT NULL,
    method     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (order_id, kind)
);
