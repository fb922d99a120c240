-- Stock. `stocked` is all that ever came in; the last check is I17.
-- Its rows are updated by every order, so pages keep room for the new versions.
CREATE TABLE inventory (
    product_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    product_name TEXT   NOT NULL,
    on_hand      BIGINT NOT NULL CHECK (on_hand >= 0),
    reserved     BIGINT NOT NULL CHECK (reserved >= 0),
    sold         BIGINT NOT NULL CHECK (sold >= 0),
    stocked      BIGINT NOT NULL,
    CHECK (on_hand + reserved + sold = stocked)
) WITH (fillfactor = 20);

-- What each order holds, or held.
CREATE TABLE reservations (
    order_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    reservation_id TEXT   NOT NULL,
    saga_id        TEXT   NOT NULL,
    items          TEXT   NOT NULL,
    state          TEXT   NOT NULL CHECK (state IN ('reserved', 'released', 'sold')),
    created_at     BIGINT NOT NULL
);
