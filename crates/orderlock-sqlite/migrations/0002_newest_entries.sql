-- An order's own row tells its newest entries, so that a settle touches one page of its order and
-- the ends of two tables. What the row has no room for any more moves, many entries at once, into
-- tables where the entries of one order lie together.
--
-- Such a list is a row of entries, the oldest first, each the first 32 bits of its key's id and its
-- position in 64 bits, both with the highest byte first.

-- A list of a fixed size, so that the row keeps its size and is written over in place. Places that
-- are not used yet are zeros. Both stand before the document, which may be on pages of its own.
CREATE TABLE orders_with_newest (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT,
    customer TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    -- The number of the last entry.
    number INTEGER NOT NULL,
    newest BLOB NOT NULL,
    document BLOB NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
INSERT INTO orders_with_newest
    SELECT row, tenant, id, version, status, customer, created, updated,
        (SELECT coalesce(max(e.number), 0) FROM entries e WHERE e.order_row = o.row),
        zeroblob(192), document
    FROM orders o ORDER BY row;
DROP TABLE orders;
ALTER TABLE orders_with_newest RENAME TO orders;
CREATE INDEX orders_by_tenant ON orders (tenant);
CREATE INDEX orders_by_status ON orders (tenant, status) WHERE status IS NOT NULL;
CREATE INDEX orders_by_customer ON orders (tenant, customer) WHERE customer IS NOT NULL;

-- Lists that have moved out of their orders' rows, by the number of their last entry.
CREATE TABLE older_entries (
    order_row INTEGER NOT NULL REFERENCES orders (row),
    last INTEGER NOT NULL,
    list BLOB NOT NULL,
    PRIMARY KEY (order_row, last)
) STRICT, WITHOUT ROWID;
INSERT INTO older_entries
    SELECT order_row, number, unhex(hex(substr(key_id, 1, 4)) || printf('%016x', position))
    FROM entries ORDER BY order_row, number;

-- The same entries by the first 32 bits of their keys' ids. Whether a key is still remembered
-- stands in `keys`.
CREATE TABLE older_keys (
    order_row INTEGER NOT NULL REFERENCES orders (row),
    key_hash INTEGER NOT NULL,
    position INTEGER NOT NULL REFERENCES entries (position),
    PRIMARY KEY (order_row, key_hash, position)
) STRICT, WITHOUT ROWID;
INSERT INTO older_keys
    SELECT e.order_row, k.key_hash >> 32, k.position
    FROM keys k JOIN entries e ON e.position = k.position ORDER BY 1, 2, 3;

-- The journal without an index of its own.
CREATE TABLE entries_by_position (
    position INTEGER PRIMARY KEY,
    order_row INTEGER NOT NULL REFERENCES orders (row),
    number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    key_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    fence BLOB,
    step INTEGER NOT NULL,
    change BLOB
) STRICT;
INSERT INTO entries_by_position
    SELECT position, order_row, number, version, operation, outcome, actor, reason, at, attempt,
        key_id, fingerprint, fence, step, change
    FROM entries ORDER BY position;
DROP TABLE entries;
ALTER TABLE entries_by_position RENAME TO entries;

DROP INDEX keys_by_hash;
ALTER TABLE keys DROP COLUMN key_hash;
