-- Views of how the work goes: the account of every hour, hours on their way, the source, the disk. Read by dashboards,
-- the API, people. Small tables of `ops` answer them, so that asking costs nothing while much is being written.

-- Published hours by the batch layer's account, the others by the live generation's.
CREATE VIEW serving.accounting AS
SELECT
    h.hour,
    h.outcome,
    h.reason,
    h.records,
    'batch'::text AS layer
FROM ops.hour_outcomes AS h
WHERE EXISTS (SELECT FROM ops.published_hours AS p WHERE p.hour = h.hour)
UNION ALL
SELECT
    o.event_hour,
    o.outcome,
    o.reason,
    o.records,
    'speed'::text
FROM ops.stream_outcomes AS o
WHERE o.generation = (SELECT live.generation FROM ops.generations AS live WHERE live.state = 'live')
    AND NOT EXISTS (SELECT FROM ops.published_hours AS p WHERE p.hour = o.event_hour);

-- Whether the account of an hour closes: rows that bronze held of it, by its files, against those that were accounted for.
CREATE VIEW serving.accounting_hours AS
SELECT
    of_hour.hour,
    of_hour.layer,
    p.bronze_rows AS held,
    of_hour.accounted,
    p.bronze_rows - of_hour.accounted AS unaccounted,
    CASE
        WHEN of_hour.layer = 'speed' THEN 'open'
        WHEN p.bronze_rows IS NULL THEN 'not known'
        WHEN p.bronze_rows = of_hour.accounted THEN 'closes'
        ELSE 'does not close'
    END AS state
FROM (
    SELECT
        a.hour,
        a.layer,
        sum(a.records)::bigint AS accounted
    FROM serving.accounting AS a
    WHERE a.hour > now() - interval '31 days'
    GROUP BY
        a.hour,
        a.layer
) AS of_hour
LEFT JOIN ops.published_hours AS p ON p.hour = of_hour.hour;

CREATE VIEW serving.hour_states AS
SELECT
    known.hour,
    CASE
        WHEN EXISTS (
            SELECT FROM ops.incidents AS i
            WHERE i.kind = 'hour_blocked'
                AND i.closed_at IS NULL
                AND i.subject = to_char(known.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')
        ) THEN 'blocked'
        WHEN p.hour IS NOT NULL THEN 'published'
        WHEN known.hour + interval '1 hour' > now() THEN 'open'
        ELSE 'waiting'
    END AS state,
    p.published_at,
    date_part('epoch', p.published_at - known.hour - interval '1 hour') AS seconds,
    (SELECT sum(s.value::double precision) FROM jsonb_each_text(p.seconds) AS s) AS build_seconds,
    p.version,
    (SELECT COALESCE(sum(a.records), 0)::bigint FROM serving.accounting AS a WHERE a.hour = known.hour) AS records,
    p.run_id
FROM (
    SELECT date_trunc('hour', now(), 'UTC') AS hour
    UNION
    SELECT p.hour FROM ops.published_hours AS p
    UNION
    SELECT o.event_hour
    FROM ops.stream_outcomes AS o
    WHERE o.generation = (SELECT live.generation FROM ops.generations AS live WHERE live.state = 'live')
) AS known
LEFT JOIN ops.published_hours AS p ON p.hour = known.hour
WHERE known.hour > now() - interval '31 days';

-- One row, also before the first event. Events are counted by the accounts of their hours, so that it costs nothing.
CREATE VIEW serving.source_state AS
SELECT
    COALESCE(i.source_id, 'unset') AS source_id,
    COALESCE(i.source_id = 'live', false) AS is_live,
    CASE
        WHEN NOT EXISTS (SELECT FROM ops.published_hours) THEN (
            SELECT min(a.hour) + interval '1 hour' FROM serving.accounting AS a WHERE a.outcome = 'fact'
        )
    END AS first_hour_closes_at,
    (SELECT max(p.hour) + interval '1 hour' FROM ops.published_hours AS p) AS published_until,
    (
        SELECT count(DISTINCT a.hour)
        FROM serving.accounting AS a
        WHERE a.layer = 'speed'
            AND a.outcome = 'fact'
            AND a.hour < (SELECT max(p.hour) FROM ops.published_hours AS p)
    ) AS earlier_hours_open,
    q.newest_event_at,
    CASE WHEN q.newest_event_at < now() THEN date_part('epoch', now() - q.newest_event_at)
        WHEN q.newest_event_at >= now() THEN 0
    END AS seconds_behind,
    (
        SELECT sum(CASE a.layer WHEN 'speed' THEN a.records ELSE 0 END) / NULLIF(sum(a.records), 0)
        FROM serving.accounting AS a
        WHERE a.hour >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
            AND a.outcome = 'fact'
    )::double precision AS speed_share
FROM (VALUES (true)) AS one (only_row)
LEFT JOIN ops.instance AS i ON i.only_row
LEFT JOIN ops.stream_progress AS q ON q.query = 'speed';

-- What each table takes with its leaves and indexes, and each table of the lake when it was last measured.
CREATE VIEW serving.disk_usage AS
SELECT
    n.nspname::text AS layer,
    format('%s.%s', n.nspname, root.relname) AS relation,
    sum(pg_total_relation_size(c.oid))::bigint AS bytes,
    sum(GREATEST(c.reltuples, 0))::bigint AS rows_estimate,
    now() AS measured_at
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS root ON root.oid = COALESCE(pg_partition_root(c.oid), c.oid)
WHERE n.nspname IN ('speed', 'batch', 'ops')
    AND c.relkind = 'r'
GROUP BY
    n.nspname,
    root.relname
UNION ALL
SELECT
    split_part(newest.table_name, '/', 1),
    newest.table_name,
    newest.bytes,
    NULL,
    newest.measured_at
FROM (
    SELECT DISTINCT ON (l.table_name) l.*
    FROM ops.lake_tables AS l
    ORDER BY
        l.table_name,
        l.measured_at DESC
) AS newest;

CREATE VIEW serving.complaints AS
SELECT
    c.runbook,
    c.subject,
    c.message
FROM ops.complaints() AS c;
