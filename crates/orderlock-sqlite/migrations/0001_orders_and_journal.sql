-- What the file knows of itself: one row.
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Named by every cursor of the journal: a restored file begins a new epoch.
    epoch BLOB NOT NULL,
    -- Raised by each process that opens the file; a write by an older owner is refused.
    owner INTEGER NOT NULL,
    -- The installation's secret; none until the first node has joined.
    secret BLOB
) STRICT;

-- Row numbers grow with each creation, so that they order lists too.
CREATE TABLE orders (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT,
    customer TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    document BLOB NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX orders_by_tenant ON orders (tenant);
CREATE INDEX orders_by_status ON orders (tenant, status) WHERE status IS NOT NULL;
CREATE INDEX orders_by_customer ON orders (tenant, customer) WHERE customer IS NOT NULL;

-- The journal: appended to, and never changed again.
CREATE TABLE entries (
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
    change BLOB,
    UNIQUE (order_row, number)
) STRICT;

-- What is remembered of a key, beside the entry that settled it: the answer for the retention,
-- then a tombstone. Both end here, in small rows, and no entry is written again. The hash is the
-- first 64 bits of the key's id; the whole id stands in the entry and decides.
CREATE TABLE keys (
    position INTEGER PRIMARY KEY REFERENCES entries (position),
    key_hash INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    -- None for the creation of an order: the order itself is the tombstone.
    forgotten INTEGER,
    -- None once the answer has ended, and for a checkpoint, which never had one.
    status INTEGER,
    content_type TEXT,
    location TEXT,
    version INTEGER,
    body BLOB
) STRICT;
CREATE INDEX keys_by_hash ON keys (key_hash);
CREATE INDEX keys_by_expires ON keys (expires) WHERE status IS NOT NULL;
CREATE INDEX keys_by_forgotten ON keys (forgotten) WHERE status IS NULL AND forgotten IS NOT NULL;

-- External operations that have begun. A policy without `times` waits for a resolution.
CREATE TABLE marks (
    order_row INTEGER PRIMARY KEY REFERENCES orders (row),
    principal TEXT NOT NULL,
    key_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    operation TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    times INTEGER,
    within INTEGER,
    since INTEGER NOT NULL
) STRICT;
