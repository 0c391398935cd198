-- What each user class did in each minute, over all wikis: a key figure asks for no more while nothing is chosen, twice, and
-- would read 50,000 rows of three hours for it. Written with the hour (batch.total_hour), read through serving.minute_totals.
CREATE TABLE batch.minute_totals (
    window_start       timestamptz NOT NULL,
    user_class         text NOT NULL,
    events             bigint NOT NULL,
    edits              bigint NOT NULL,
    new_pages          bigint NOT NULL,
    minor_edits        bigint NOT NULL,
    bytes_added        bigint NOT NULL,
    bytes_removed      bigint NOT NULL,
    unpatrolled_edits  bigint NOT NULL,
    reverts            bigint NOT NULL,
    PRIMARY KEY (window_start, user_class)
) PARTITION BY RANGE (window_start);

INSERT INTO ops.partition_rules (schema_name, table_name, instants, width, storage)
VALUES ('batch', 'minute_totals', 'windows', 'day', 'fillfactor = 100');

-- What is published already. (An empty database has no functions yet, and nothing to add up.)
DO $$
DECLARE
    hours timestamptz[];
BEGIN
    SELECT array_agg(p.hour) INTO hours FROM ops.published_hours AS p;
    IF hours IS NULL THEN
        RETURN;
    END IF;
    PERFORM batch.ensure_partitions(hours);
    INSERT INTO batch.minute_totals
    SELECT
        a.window_start,
        a.user_class,
        sum(a.events),
        sum(a.edits),
        sum(a.new_pages),
        sum(a.minor_edits),
        sum(a.bytes_added),
        sum(a.bytes_removed),
        sum(a.unpatrolled_edits),
        sum(a.reverts)
    FROM batch.activity AS a
    GROUP BY a.window_start, a.user_class;
END
$$;
