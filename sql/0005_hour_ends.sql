-- When an hour had been read to its end, and what Kafka held by then: with both queries past these offsets, everything of
-- the hour that came in time is in. Written by the stream's reporter, read by whoever waits for an hour to be ready.
CREATE TABLE ops.hour_ends (
    hour         timestamptz PRIMARY KEY,
    cursor_at    timestamptz NOT NULL,
    end_offsets  jsonb NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
