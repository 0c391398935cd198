-- The accounting of a published hour: what became of every row that bronze holds for it. Written with the hour, in its
-- transaction, by the batch layer; read by people and dashboards.
CREATE TABLE ops.hour_outcomes (
    hour     timestamptz NOT NULL,
    outcome  text NOT NULL CHECK (outcome IN ('fact', 'canary', 'duplicate', 'rejected', 'rewritten')),
    reason   text NOT NULL DEFAULT '',
    records  bigint NOT NULL,
    PRIMARY KEY (hour, outcome, reason)
);
