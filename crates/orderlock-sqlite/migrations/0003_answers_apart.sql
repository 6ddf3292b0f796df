-- What is remembered of a key stands in its entry, and ends there by the clock: nothing has to be
-- removed for it, and nothing can be removed too soon. Answers lie by themselves, in the order in
-- which most of them end, so that their pages come free as a whole and are used again.
CREATE TABLE entries_with_ends (
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
    -- Until when the key's answer is retained; none if nothing is remembered of the key.
    expires INTEGER,
    -- Until when the key is known; none for the creation of an order, which is the tombstone itself.
    forgotten INTEGER,
    change BLOB
) STRICT;
INSERT INTO entries_with_ends
    SELECT e.position, e.order_row, e.number, e.version, e.operation, e.outcome, e.actor, e.reason,
        e.at, e.attempt, e.key_id, e.fingerprint, e.fence, e.step, k.expires, k.forgotten, e.change
    FROM entries e LEFT JOIN keys k ON k.position = e.position ORDER BY e.position;

CREATE TABLE answers (
    position INTEGER PRIMARY KEY REFERENCES entries (position),
    expires INTEGER NOT NULL,
    status INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    location TEXT,
    version INTEGER,
    body BLOB NOT NULL
) STRICT;
INSERT INTO answers
    SELECT position, expires, status, content_type, location, version, body
    FROM keys WHERE status IS NOT NULL ORDER BY position;
CREATE INDEX answers_by_expires ON answers (expires);

DROP TABLE keys;
DROP TABLE entries;
ALTER TABLE entries_with_ends RENAME TO entries;

-- Lists are by the time of creation, then by id, whichever filter finds the orders.
DROP INDEX orders_by_tenant;
DROP INDEX orders_by_status;
DROP INDEX orders_by_customer;
CREATE INDEX orders_by_created ON orders (tenant, created, id);
CREATE INDEX orders_by_status ON orders (tenant, status, created, id) WHERE status IS NOT NULL;
CREATE INDEX orders_by_customer ON orders (tenant, customer, created, id)
    WHERE customer IS NOT NULL;

-- Which order a key has made under a chosen id, by the id that is derived from the key: so that it
-- makes none under another.
CREATE TABLE reservations (
    tenant TEXT NOT NULL,
    derived TEXT NOT NULL,
    order_row INTEGER NOT NULL REFERENCES orders (row),
    PRIMARY KEY (tenant, derived)
) STRICT, WITHOUT ROWID;

-- The time that was seen last and is believed. The file of an earlier layout has none; its newest
-- entry is the best word there is.
ALTER TABLE store ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
UPDATE store SET seen = (SELECT coalesce(max(at), 0) FROM entries);
-- Whether a process has the file open, and the log beside it may have more: what a copy of the file
-- alone tells of itself.
ALTER TABLE store ADD COLUMN in_use INTEGER NOT NULL DEFAULT 0;
