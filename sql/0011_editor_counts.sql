-- How many different people and bots edited in each hour, day, week and month: of each wiki and of all together, of each
-- user class and of all together. No such number is the sum of others. Written with the tops (batch.rank_tops), read
-- through serving.editors_by_period.
CREATE TABLE batch.editor_counts (
    grain         text NOT NULL CHECK (grain IN ('hour', 'day', 'week', 'month')),
    window_start  timestamptz NOT NULL,
    scope         text NOT NULL,
    user_class    text NOT NULL,
    editors       bigint NOT NULL,
    as_of         timestamptz NOT NULL,
    PRIMARY KEY (window_start, grain, scope, user_class)
) PARTITION BY RANGE (window_start);

INSERT INTO ops.partition_rules (schema_name, table_name, instants, width, storage)
VALUES ('batch', 'editor_counts', 'windows', 'month', 'fillfactor = 100');

-- What is published already is counted here, weeks and months by the next run of rank_tops. (An empty database has no
-- functions yet, and nothing to count.)
DO $$
DECLARE
    windows timestamptz[];
BEGIN
    SELECT array_agg(h.hour) || array_agg(DISTINCT date_trunc('day', h.hour, 'UTC')) INTO windows
    FROM ops.published_hours AS h;
    IF windows IS NULL THEN
        RETURN;
    END IF;
    PERFORM batch.ensure_partitions(windows);
    INSERT INTO batch.editor_counts
    SELECT
        'hour', u.window_start, COALESCE(u.wiki, ''), COALESCE(u.user_class, ''), count(DISTINCT u.user_key),
        u.window_start + interval '1 hour'
    FROM batch.user_activity_hourly AS u
    WHERE u.user_class <> 'hidden'
    GROUP BY u.window_start, GROUPING SETS ((u.wiki, u.user_class), (u.wiki), (u.user_class), ())
    HAVING GROUPING(u.wiki) = 1 OR u.wiki <> '';
    INSERT INTO batch.editor_counts
    SELECT
        'day', d.day, COALESCE(u.wiki, ''), COALESCE(u.user_class, ''), count(DISTINCT u.user_key), d.as_of
    FROM ops.published_days AS d
    JOIN batch.user_activity_daily AS u ON u.window_start = d.day
    WHERE u.user_class <> 'hidden'
    GROUP BY d.day, d.as_of, GROUPING SETS ((u.wiki, u.user_class), (u.wiki), (u.user_class), ())
    HAVING GROUPING(u.wiki) = 1 OR u.wiki <> '';
    UPDATE ops.ranked_periods SET day_versions = -1;
END
$$;
