-- The outbox of messages: a row is a message sent. Its key allows one message of a kind per order (I18).
CREATE TABLE notifications (
    order_id        TEXT COLLATE "C" NOT NULL,
    template        TEXT COLLATE "C" NOT NULL,
    notification_id TEXT   NOT NULL,
    saga_id         TEXT   NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    channel         TEXT   NOT NULL,
    subject         TEXT   NOT NULL,
    body            TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (order_id, template)
);

CREATE INDEX notifications_by_user ON notifications (user_id, created_at);
