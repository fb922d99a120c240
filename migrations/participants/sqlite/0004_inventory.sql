-- Stock. `stocked` is all that ever came in; the last check is I17.
CREATE TABLE inventory (
    product_id   TEXT    NOT NULL PRIMARY KEY,
    product_name TEXT    NOT NULL,
    on_hand      INTEGER NOT NULL CHECK (on_hand >= 0),
    reserved     INTEGER NOT NULL CHECK (reserved >= 0),
    sold         INTEGER NOT NULL CHECK (sold >= 0),
    stocked      INTEGER NOT NULL,
    CHECK (on_hand + reserved + sold = stocked)
) STRICT, WITHOUT ROWID;

-- What each order holds, or held.
CREATE TABLE reservations (
    order_id       TEXT    NOT NULL PRIMARY KEY,
    reservation_id TEXT    NOT NULL,
    saga_id        TEXT    NOT NULL,
    items          TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state = 'reserved' OR state = 'released' OR state = 'sold'),
    created_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
