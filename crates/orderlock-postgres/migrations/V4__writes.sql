-- From the layout of 0.1 to this one, in one step. It adds and renames, and rewrites no row: each table is held for a
-- moment. Whoever keeps one of them for longer, such as a dump, is not waited for while all others stand in line.
SELECT set_config('lock_timeout', '10s', true) WHERE current_setting('lock_timeout') = '0';
-- Behind a pooler a role may have limits that are meant for a node's statements.
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;

-- Nodes of 0.1 look at the layout when they start, and not again. The two new names make each statement of theirs that is
-- about an order, its lock, its entries or its keys fail: they would write past the counter below.
ALTER TABLE orders RENAME COLUMN renewals TO granted;
ALTER TABLE keys RENAME COLUMN status TO answer_status;

-- Moves with every write to the order's row: lease, mark, keys or document. What was decided on what was seen of an order, of
-- its keys and of who holds it, is written only if the counter has not moved since. It is not told apart what was moved.
-- What ends by the clock alone, an answer's retention or a tombstone, does not move it: nothing is decided on whether it
-- is still there, only on the time. No default: whoever makes an order without it does not know of it.
ALTER TABLE orders ADD COLUMN writes bigint NOT NULL DEFAULT 0;
ALTER TABLE orders ALTER COLUMN writes DROP DEFAULT;

-- The id that is derived from the key that made the order, where the order was given another one. A key makes one order.
ALTER TABLE orders ADD COLUMN derived text COLLATE "C";

-- The run before the one that the mark is of, while that one runs: what stands again if its grant is undone. All else is as
-- it is in the mark. Null if there was none.
ALTER TABLE orders
    ADD COLUMN undo_attempt bigint,
    ADD COLUMN undo_times bigint,
    ADD COLUMN undo_within bigint;

-- The time as it was seen last, and believed, kept several times an hour: a store that is opened when the clock is
-- elsewhere forgets nothing until the new time has held for an hour.
ALTER TABLE store ADD COLUMN seen timestamptz;

-- The oldest layout whose programs may work beside this one. Later steps that only add leave it as it is.
ALTER TABLE store ADD COLUMN oldest_layout integer NOT NULL DEFAULT 4;

-- Rows of the journal never change: the first vacuum that comes freezes them, so that no later one has to read them again.
-- It comes after so many rows, however many there are already.
ALTER TABLE entries SET (
    autovacuum_freeze_min_age = 0,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_analyze_scale_factor = 0.02
);
-- Each of these rows is changed once, when its answer ends, and then removed, the oldest first: what has ended is not to
-- pile up at the beginning of both indexes.
ALTER TABLE keys SET (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.02
);

-- Sessions are counted: whoever sees the same number of renewals for a session's length may end it. No clock of the
-- database's can lengthen or end one.
ALTER TABLE sessions DROP COLUMN deadline, DROP COLUMN known, DROP COLUMN named;
ALTER TABLE ended DROP COLUMN known, DROP COLUMN named;

-- Which leases a session's renewals have named, and since which renewal without a gap. A lease that was granted before the
-- last renewal but one counts only while it stands here. A renewal writes what differs from the one before, and whoever
-- looks at a lease looks one row up: neither grows with what the node holds.
CREATE TABLE known (
    session uuid NOT NULL,
    fence uuid NOT NULL,
    since bigint NOT NULL,
    -- Broken by an operator: no renewal makes it count again, and the node is told by the next one.
    broken boolean NOT NULL DEFAULT false,
    PRIMARY KEY (session, fence)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX known_by_broken ON known (session) WHERE broken;

-- For how long after its last question a node's wait counts, in microseconds. The node says so, by how long its questions
-- take: one that is far from the database asks less often, and waits all the same.
ALTER TABLE waits ADD COLUMN within bigint NOT NULL DEFAULT 500000;
