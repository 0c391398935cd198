-- How many rows bronze held of an hour when it was published, by the log of its files: what became of its records
-- (ops.hour_outcomes) must add up to it. NULL where an hour was published before this was written down.
ALTER TABLE ops.published_hours ADD COLUMN bronze_rows bigint;
