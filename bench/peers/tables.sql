-- What both rivals keep. A document is bytes, as in Orderlock: `jsonb` would be taken apart and put together again.
CREATE TABLE orders (
    id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    created timestamptz NOT NULL,
    updated timestamptz NOT NULL,
    -- The key that holds the order, where a transaction does not.
    locked text COLLATE "C",
    document bytea NOT NULL
) WITH (fillfactor = 80);

-- A key that was used on an order, and its answer once there is one. Pages keep room for the answers, so that storing
-- one touches no index.
CREATE TABLE keys (
    order_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    status smallint,
    version bigint,
    answer bytea,
    PRIMARY KEY (order_id, key)
) WITH (fillfactor = 85);
