-- Speed layer and batch layer of each published hour, held against each other metric by metric. The row `records` is the
-- accounting of both: records of the hour that the speed layer had taken in, and rows of it that bronze held.
CREATE TABLE ops.reconciliation (
    hour            timestamptz NOT NULL,
    rollup          text NOT NULL,
    metric          text NOT NULL,
    speed           numeric NOT NULL,
    batch           numeric NOT NULL,
    difference      numeric GENERATED ALWAYS AS (batch - speed) STORED,
    keys_differing  bigint NOT NULL,
    verdict         text NOT NULL CHECK (verdict IN ('equal', 'pending', 'explained', 'differ')),
    ledger_offsets  jsonb NOT NULL,
    run_id          text NOT NULL,
    judged_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (hour, rollup, metric)
);
