-- Who waits for an order that another node holds: one row for each order and waiting node, written from its second try
-- on. A grant looks at it, so that between nodes too nobody waits for ever. Nothing here has to survive anything: who
-- still waits writes it anew, and what is not written anew counts for nothing after half a second.
CREATE UNLOGGED TABLE waits (
    order_row bigint NOT NULL,
    session uuid NOT NULL,
    -- Since when the node has waited, and when it asked last.
    since timestamptz NOT NULL,
    asked timestamptz NOT NULL,
    PRIMARY KEY (order_row, session)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
