-- What each user class did in each hour, over all wikis: charts of a month of hours ask for no more while nothing is chosen,
-- and would read 1.4 million rows for it. Written with the hour (batch.total_hour), read through serving.hour_totals.
CREATE TABLE batch.hour_totals (
    window_start   timestamptz NOT NULL,
    user_class     text NOT NULL,
    edits          bigint NOT NULL,
    new_pages      bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    PRIMARY KEY (window_start, user_class)
) PARTITION BY RANGE (window_start);

INSERT INTO ops.partition_rules (schema_name, table_name, instants, width, storage)
VALUES ('batch', 'hour_totals', 'windows', 'month', 'fillfactor = 100');

-- What is published already. (An empty database has no functions yet, and nothing to add up.)
DO $$
DECLARE
    hours timestamptz[];
BEGIN
    SELECT array_agg(DISTINCT a.window_start) INTO hours FROM batch.activity_hourly AS a;
    IF hours IS NULL THEN
        RETURN;
    END IF;
    PERFORM batch.ensure_partitions(hours);
    INSERT INTO batch.hour_totals
    SELECT a.window_start, a.user_class, sum(a.edits), sum(a.new_pages), sum(a.bytes_added), sum(a.bytes_removed)
    FROM batch.activity_hourly AS a
    WHERE a.edits > 0
    GROUP BY a.window_start, a.user_class;
END
$$;
