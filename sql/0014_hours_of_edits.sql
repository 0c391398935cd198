-- Hours of the batch layer by what an edit is: read alone by the charts of a month of hours, which ask for nothing else.
-- Their rows are 6 in 10 (the others are log entries and categorisations) and half as wide.
CREATE INDEX activity_hourly_edits ON batch.activity_hourly (window_start)
    INCLUDE (wiki, namespace, user_class, edits, new_pages, bytes_added, bytes_removed)
    WHERE edits > 0;

-- An index is read alone only where its rows have been vacuumed: from next month's leaf on by the day, not by the week.
UPDATE ops.partition_rules
SET storage = storage || ', autovacuum_vacuum_insert_scale_factor = 0.02'
WHERE schema_name = 'batch' AND table_name = 'activity_hourly';
