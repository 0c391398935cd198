-- When the first record of an hour was counted: an hour that gets its first event days later is overdue an hour after that.
ALTER TABLE ops.stream_outcomes ADD COLUMN first_at timestamptz NOT NULL DEFAULT now();
