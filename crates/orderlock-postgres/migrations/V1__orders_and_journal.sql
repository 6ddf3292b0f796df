-- Tables, columns and indexes of one installation. They stand in the schema that the connection's search path names
-- first. Times are the database's own, in whole microseconds. Names are compared byte by byte (COLLATE "C"), so that
-- no update of the operating system's collations can change what an index says.

-- What the database knows of itself: one row.
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Named by every cursor of the journal: a restored database begins a new epoch.
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Added to a transaction's number where an entry gets its position. Raised with each new epoch, so that positions
    -- go up although a restored server counts its transactions from another number.
    base bigint NOT NULL DEFAULT 0,
    -- The installation's secret; none until the first node has joined.
    secret bytea
);
INSERT INTO store DEFAULT VALUES;

-- A node's sign of life: one row a node. While the row stands the session is alive; its end is the end of the row, and
-- whoever settles keeps the row from ending until the settle is committed (FOR KEY SHARE). A renewal changes no key
-- column, and so waits for nobody.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    node text COLLATE "C" NOT NULL,
    -- How long it lasts after each renewal, in microseconds.
    length bigint NOT NULL,
    deadline timestamptz NOT NULL,
    renewals bigint NOT NULL DEFAULT 0,
    -- What the renewals say of the session's leases: one that was granted before so many renewals counts only if it is
    -- among the known, and has been at every renewal since that was asked of it. Nobody has to look for the others:
    -- they count as free from then on, as those of an ended session.
    heard bigint NOT NULL DEFAULT 0,
    known uuid[] NOT NULL DEFAULT '{}',
    -- At which renewal each of the known was named first, without a gap since.
    named bigint[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Sessions that have ended while leases of theirs may still stand in `orders`. Such a lease counts as free from the
-- end of its session on; sweeps clear it away, a piece of the table at a time, and then the row here.
CREATE TABLE ended (
    session uuid PRIMARY KEY,
    -- As they stood when it ended: of the leases that still counted then, it is told that they were voided.
    heard bigint NOT NULL,
    known uuid[] NOT NULL,
    named bigint[] NOT NULL,
    -- The last order that was looked at.
    tenant text COLLATE "C" NOT NULL DEFAULT '',
    row bigint NOT NULL DEFAULT 0
);

-- An order, its lock and its mark: one row, so that fence, version, holder and mark are taken together, by one update.
-- No index names a column that an acquire or a settle moves, but for the status: an update that leaves the status as
-- it is finds room on its page, and touches no index (HOT).
CREATE TABLE orders (
    -- Grows with each creation, so that it orders lists too.
    row bigint GENERATED ALWAYS AS IDENTITY,
    version bigint NOT NULL,
    -- The number of the order's last entry, and that entry's place in the whole journal.
    entries bigint NOT NULL,
    position bigint NOT NULL,
    created timestamptz NOT NULL,
    updated timestamptz NOT NULL,

    -- The lease; all null when nobody holds the order. It counts only while its session stands in `sessions` and its
    -- node has not failed to name it there.
    fence uuid,
    session uuid,
    since timestamptz,
    attempt bigint,
    -- How many settles this grant has made.
    steps bigint,
    -- How many renewals its session had at the grant.
    renewals bigint,
    principal text COLLATE "C",
    operation text COLLATE "C",
    key_id bytea,
    fingerprint bytea,

    -- The mark of an external operation that has begun; all null without one.
    mark_attempt bigint,
    mark_since timestamptz,
    -- A policy without `times` waits for a resolution. The span is in microseconds.
    mark_times bigint,
    mark_within bigint,
    mark_principal text COLLATE "C",
    mark_operation text COLLATE "C",
    mark_key_id bytea,
    mark_fingerprint bytea,

    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    status text COLLATE "C",
    customer text COLLATE "C",
    -- JSON text as it was written.
    document bytea NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05
);
ALTER TABLE orders ALTER COLUMN document SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX orders_by_row ON orders (tenant, row);
CREATE INDEX orders_by_status ON orders (tenant, status, row) WHERE status IS NOT NULL;
CREATE INDEX orders_by_customer ON orders (tenant, customer, row) WHERE customer IS NOT NULL;

-- The journal: appended to, and never changed again.
--
-- The position of an entry is its place in the whole journal. It is the number of the writing transaction (and
-- `store.base`), moved up by 20 bits, with the entry's place in the transaction below; or one more than the position of
-- the order's last entry, if that is higher. So along one order positions go up, and a transaction writes no position
-- below its own number. A reader takes what lies below the oldest open transaction that may still write entries: behind
-- that, nothing can appear any more.
CREATE TABLE entries (
    order_row bigint NOT NULL,
    -- Its place in the order's history: 1, 2, 3, without gap.
    number bigint NOT NULL,
    position bigint NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL,
    attempt bigint NOT NULL,
    -- The grant that settled, if one did, and which settle of it this was.
    fence uuid,
    step bigint NOT NULL,
    -- The first 64 bits of the key's id, by which `keys` is found.
    key_hash bigint NOT NULL,
    key_id bytea NOT NULL,
    fingerprint bytea NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    reason text COLLATE "C",
    -- The order after the change, if there was one.
    change bytea,
    PRIMARY KEY (order_row, number)
);
CREATE UNIQUE INDEX entries_by_position ON entries (tenant, position);

-- What is remembered of a key, beside the entry that settled it: the answer for the retention, then a tombstone. Both
-- end here, in small rows, and no entry is written again. The whole id of the key stands in the entry and decides.
CREATE TABLE keys (
    key_hash bigint NOT NULL,
    order_row bigint NOT NULL,
    number bigint NOT NULL,
    expires timestamptz NOT NULL,
    -- None for the creation of an order: the order itself is the tombstone.
    forgotten timestamptz,
    version bigint,
    -- None once the answer has ended, and for a checkpoint, which never had one.
    status integer,
    content_type text COLLATE "C",
    location text COLLATE "C",
    body bytea,
    PRIMARY KEY (key_hash, order_row, number)
);
CREATE INDEX keys_by_expires ON keys (expires) WHERE status IS NOT NULL;
CREATE INDEX keys_by_forgotten ON keys (forgotten) WHERE status IS NULL AND forgotten IS NOT NULL;
