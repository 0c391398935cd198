-- What the writers may have done for them by the owner: leaves, retention, generations. Re-applied when changed.
-- Called by wikiweir_stream (speed.*, ops.bind_instance) and wikiweir_batch (batch.*, speed.expire_minutes,
-- ops.expire_findings). The helpers in `ops` are for these functions only. Every function that anyone else may call is SECURITY DEFINER with a fixed search_path.
-- Numbers of generations are `integer` here, so that a plain literal 1 finds the function.

-- Name of a leaf: activity_g1_20261123, seen_g1_2026112309, batch: activity_20261123, activity_daily_202611.
CREATE OR REPLACE FUNCTION ops.leaf_name(table_name text, wanted integer, width text, starts timestamptz)
RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT table_name || COALESCE('_g' || wanted, '') || '_'
        || to_char(
            starts AT TIME ZONE 'UTC',
            CASE width WHEN 'month' THEN 'YYYYMM' WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMMDDHH24' END
        )
$$;

-- Leaves that the instants need and that are not there yet. (`wanted` is NULL for tables without generations.)
CREATE OR REPLACE FUNCTION ops.missing_leaves(
    wanted_schema text,
    wanted integer,
    windows timestamptz[],
    key_hours timestamptz[],
    received timestamptz[]
)
RETURNS TABLE (table_name text, leaf text, starts timestamptz, ends timestamptz, storage text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        rule.table_name,
        name.leaf,
        needed.starts,
        needed.starts + ('1 ' || rule.width)::interval,
        rule.storage
    FROM ops.partition_rules AS rule
    CROSS JOIN LATERAL (
        SELECT DISTINCT date_trunc(rule.width, instant, 'UTC') AS starts
        FROM unnest(
            CASE rule.instants WHEN 'windows' THEN windows WHEN 'key_hours' THEN key_hours ELSE received END
        ) AS instant
    ) AS needed
    CROSS JOIN LATERAL (
        SELECT ops.leaf_name(rule.table_name, wanted, rule.width, needed.starts) AS leaf
    ) AS name
    WHERE rule.schema_name = wanted_schema
        AND to_regclass(format('%I.%I', wanted_schema, name.leaf)) IS NULL
    ORDER BY rule.table_name, needed.starts
$$;

-- Makes missing leaves: a free-standing table first, attached second. ATTACH locks the parent against other DDL only,
-- so readers and writers go on; PARTITION OF would lock them out. The leaf is empty: nothing to scan, no CHECK needed.
CREATE OR REPLACE FUNCTION ops.ensure_leaves(
    wanted_schema text,
    wanted integer,
    windows timestamptz[],
    key_hours timestamptz[],
    received timestamptz[]
)
RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    missing record;
    instant timestamptz;
    suffix text := COALESCE('_g' || wanted, '');
    parent text;
    own_key text;
    made integer := 0;
BEGIN
    FOR instant IN SELECT DISTINCT unnest(windows || key_hours || received) LOOP
        IF instant IS NULL OR instant < '0001-01-01' OR instant >= '10000-01-01' THEN
            RAISE EXCEPTION 'expected instants in the years 1 to 9999, found %', COALESCE(instant::text, 'NULL')
                USING ERRCODE = 'datetime_field_overflow', HINT = 'Clamp or reject such a time before it is stored.';
        END IF;
    END LOOP;
    PERFORM 1 FROM ops.missing_leaves(wanted_schema, wanted, windows, key_hours, received);
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT rule.table_name || suffix INTO parent
    FROM ops.partition_rules AS rule
    WHERE rule.schema_name = wanted_schema
    ORDER BY rule.table_name
    LIMIT 1;
    IF to_regclass(format('%I.%I', wanted_schema, parent)) IS NULL THEN
        RAISE EXCEPTION 'generation % has no tables (%.% is missing)', wanted, wanted_schema, parent
            USING ERRCODE = 'undefined_table', HINT = 'Call speed.ensure_generation first; a dropped one does not come back.';
    END IF;
    -- One session at a time. A lock on a table, not an advisory one: getting it makes this session hear of the leaves
    -- that another has committed meanwhile. It is the lock ATTACH takes: in nobody's way who reads or writes.
    EXECUTE format('LOCK TABLE ONLY %I.%I IN SHARE UPDATE EXCLUSIVE MODE', wanted_schema, parent);
    FOR missing IN SELECT * FROM ops.missing_leaves(wanted_schema, wanted, windows, key_hours, received) LOOP
        parent := missing.table_name || suffix;
        EXECUTE format(
            'CREATE TABLE %1$I.%2$I (LIKE %1$I.%3$I INCLUDING ALL EXCLUDING COMMENTS) WITH (%4$s)',
            wanted_schema, missing.leaf, parent, missing.storage
        );
        SELECT rule.leaf_key INTO own_key
        FROM ops.partition_rules AS rule
        WHERE rule.schema_name = wanted_schema AND rule.table_name = missing.table_name;
        IF own_key IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%I)', wanted_schema, missing.leaf, own_key);
        END IF;
        EXECUTE format(
            'ALTER TABLE %1$I.%3$I ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%4$L) TO (%5$L)',
            wanted_schema, missing.leaf, parent, missing.starts, missing.ends
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Makes the row and the tables of a generation, as a shadow if it is new. Does nothing where all is there.
CREATE OR REPLACE FUNCTION speed.ensure_generation(wanted integer)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule record;
    branch text;
BEGIN
    LOCK TABLE ops.partition_rules IN SHARE UPDATE EXCLUSIVE MODE;
    INSERT INTO ops.generations (generation, state) VALUES (wanted, 'shadow') ON CONFLICT DO NOTHING;
    INSERT INTO ops.stream_owner (generation) VALUES (wanted) ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM ops.generations AS g WHERE g.generation = wanted AND g.state = 'retired') THEN
        RAISE EXCEPTION 'generation % is retired', wanted
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'A rebuild takes a number never used before.';
    END IF;
    FOR rule IN
        SELECT r.table_name, r.instants, a.attname AS time_column
        FROM ops.partition_rules AS r
        JOIN pg_attribute AS a ON a.attrelid = format('speed.%I', r.table_name)::regclass AND a.attnum = 2
        WHERE r.schema_name = 'speed'
        ORDER BY r.table_name
    LOOP
        branch := rule.table_name || '_g' || wanted;
        CONTINUE WHEN to_regclass(format('speed.%I', branch)) IS NOT NULL;
        EXECUTE format(
            'CREATE TABLE speed.%1$I (LIKE speed.%2$I INCLUDING ALL EXCLUDING COMMENTS) PARTITION BY RANGE (%3$I)',
            branch, rule.table_name, rule.time_column
        );
        EXECUTE format('ALTER TABLE speed.%I ATTACH PARTITION speed.%I FOR VALUES IN (%s)', rule.table_name, branch, wanted);
    END LOOP;
END
$$;

-- Makes the leaves that these instants need; any order, any repetition. Returns how many were made.
CREATE OR REPLACE FUNCTION speed.ensure_partitions(
    wanted integer,
    windows timestamptz[],
    key_hours timestamptz[],
    received timestamptz[]
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made integer;
BEGIN
    made := ops.ensure_leaves('speed', wanted, windows, key_hours, received);
    IF made > 0 THEN
        -- A leaf whose batch never committed an id must expire too.
        INSERT INTO ops.seen_partitions (generation, key_hour)
        SELECT DISTINCT wanted, date_trunc('hour', instant, 'UTC') FROM unnest(key_hours) AS instant
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION batch.ensure_partitions(windows timestamptz[])
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ops.ensure_leaves('batch', NULL, windows, '{}', '{}')
$$;

-- Ranks the pages and editors of a window by its published hours or days, in place of what stood there: the first 100 of
-- each wiki (scope: its name) and of all together (scope: empty; a wiki whose name came empty counts there alone). Equal
-- edits go by name, so that any number of runs gives the same rows. Weeks begin on Monday; weeks and months are added up
-- from days.
-- Counts the editors, too, because that does not add up: by scope, and in each by user class and (class: empty) in all.
CREATE OR REPLACE FUNCTION batch.rank_tops(wanted_grain text, wanted timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    suffix text := CASE wanted_grain WHEN 'hour' THEN 'hourly' ELSE 'daily' END;
    ends timestamptz := wanted + ('1 ' || wanted_grain)::interval;
    complete timestamptz;
BEGIN
    IF wanted_grain = 'hour' THEN
        complete := ends;
    ELSE
        SELECT max(d.as_of) INTO complete FROM ops.published_days AS d WHERE d.day >= wanted AND d.day < ends;
    END IF;
    DELETE FROM batch.top_pages AS t WHERE t.grain = wanted_grain AND t.window_start = wanted;
    DELETE FROM batch.top_editors AS t WHERE t.grain = wanted_grain AND t.window_start = wanted;
    DELETE FROM batch.editor_counts AS c WHERE c.grain = wanted_grain AND c.window_start = wanted;
    EXECUTE format(
        $query$
        WITH page AS (
            SELECT
                p.wiki, p.namespace, p.title,
                sum(p.edits)::bigint AS edits,
                sum(p.bytes_added)::bigint AS bytes_added,
                sum(p.bytes_removed)::bigint AS bytes_removed,
                sum(p.reverts)::bigint AS reverts,
                max(p.last_edit_at) AS last_edit_at
            FROM batch.%I AS p
            WHERE p.window_start >= $2 AND p.window_start < $3
            GROUP BY p.wiki, p.namespace, p.title
        ),
        ranked AS (
            SELECT
                page.*,
                row_number() OVER (PARTITION BY wiki ORDER BY edits DESC, namespace, title COLLATE "C") AS of_wiki,
                row_number() OVER (ORDER BY edits DESC, wiki COLLATE "C", namespace, title COLLATE "C") AS of_all
            FROM page
        )
        INSERT INTO batch.top_pages
        SELECT
            $1, $2, scope.name, scope.place, r.wiki, r.namespace, r.title,
            r.edits, r.bytes_added, r.bytes_removed, r.reverts, r.last_edit_at, $4
        FROM ranked AS r
        CROSS JOIN LATERAL (VALUES (NULLIF(r.wiki, ''), r.of_wiki), ('', r.of_all)) AS scope (name, place)
        WHERE scope.place <= 100 AND scope.name IS NOT NULL
        $query$,
        'page_activity_' || suffix
    ) USING wanted_grain, wanted, ends, complete;
    EXECUTE format(
        $query$
        WITH editor AS (
            SELECT
                scope.name AS scope, u.user_key, u.user_class,
                max(u.user_name COLLATE "C") AS user_name,
                sum(u.edits)::bigint AS edits,
                sum(u.new_pages)::bigint AS new_pages,
                sum(u.bytes_added)::bigint AS bytes_added,
                sum(u.bytes_removed)::bigint AS bytes_removed,
                sum(u.reverts)::bigint AS reverts
            FROM batch.%I AS u
            CROSS JOIN LATERAL (VALUES (NULLIF(u.wiki, '')), ('')) AS scope (name)
            WHERE u.window_start >= $2 AND u.window_start < $3 AND u.user_class <> 'hidden' AND scope.name IS NOT NULL
            GROUP BY scope.name, u.user_key, u.user_class
        ),
        ranked AS (
            SELECT
                editor.*,
                row_number() OVER (PARTITION BY scope ORDER BY edits DESC, user_key, user_class COLLATE "C") AS place
            FROM editor
        )
        INSERT INTO batch.top_editors
        SELECT
            $1, $2, r.scope, r.place, r.user_key, r.user_name, r.user_class,
            r.edits, r.new_pages, r.bytes_added, r.bytes_removed, r.reverts, $4
        FROM ranked AS r
        WHERE r.place <= 100
        $query$,
        'user_activity_' || suffix
    ) USING wanted_grain, wanted, ends, complete;
    EXECUTE format(
        $query$
        INSERT INTO batch.editor_counts
        SELECT
            $1, $2, COALESCE(u.wiki, ''), COALESCE(u.user_class, ''), count(DISTINCT u.user_key), $4
        FROM batch.%I AS u
        WHERE u.window_start >= $2 AND u.window_start < $3 AND u.user_class <> 'hidden'
        GROUP BY GROUPING SETS ((u.wiki, u.user_class), (u.wiki), (u.user_class), ())
        HAVING count(*) > 0 AND (GROUPING(u.wiki) = 1 OR u.wiki <> '')
        $query$,
        'user_activity_' || suffix
    ) USING wanted_grain, wanted, ends, complete;
END
$$;

-- Adds up a published hour and its minutes over all wikis, by user class, in place of what stood there.
CREATE OR REPLACE FUNCTION batch.total_hour(wanted timestamptz)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM batch.hour_totals AS t WHERE t.window_start = wanted;
    INSERT INTO batch.hour_totals
    SELECT a.window_start, a.user_class, sum(a.edits), sum(a.new_pages), sum(a.bytes_added), sum(a.bytes_removed)
    FROM batch.activity_hourly AS a
    WHERE a.window_start = wanted AND a.edits > 0
    GROUP BY a.window_start, a.user_class;
    DELETE FROM batch.minute_totals AS t
    WHERE t.window_start >= wanted AND t.window_start < wanted + interval '1 hour';
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
    WHERE a.window_start >= wanted AND a.window_start < wanted + interval '1 hour'
    GROUP BY a.window_start, a.user_class
$$;

-- Ranks every week and month whose days have changed since it was; returns how many.
CREATE OR REPLACE FUNCTION batch.rank_periods()
RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    period record;
    ranked integer := 0;
BEGIN
    FOR period IN
        SELECT p.grain, p.starts, p.versions
        FROM (
            SELECT g.grain, date_trunc(g.grain, d.day, 'UTC') AS starts, sum(d.version) AS versions
            FROM ops.published_days AS d
            CROSS JOIN (VALUES ('week'), ('month')) AS g (grain)
            GROUP BY 1, 2
        ) AS p
        LEFT JOIN ops.ranked_periods AS r ON r.grain = p.grain AND r.window_start = p.starts
        WHERE r.day_versions IS DISTINCT FROM p.versions
        ORDER BY p.starts DESC
    LOOP
        PERFORM batch.ensure_partitions(ARRAY[period.starts]);
        PERFORM batch.rank_tops(period.grain, period.starts);
        INSERT INTO ops.ranked_periods (grain, window_start, day_versions)
        VALUES (period.grain, period.starts, period.versions)
        ON CONFLICT (grain, window_start)
        DO UPDATE SET day_versions = excluded.day_versions, ranked_at = excluded.ranked_at;
        ranked := ranked + 1;
    END LOOP;
    RETURN ranked;
END
$$;

-- Drops leaves of `seen` that no id has reached for `keep`, raises the floor to the greatest dropped key hour, returns the floor.
-- A key hour that is not itself older than `keep` stays (one in the future would lift the floor over everything).
-- Where a batch or a reader is in the way it drops nothing: the next call will.
CREATE OR REPLACE FUNCTION speed.expire_seen(wanted integer, keep interval)
RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    old record;
    floor_now timestamptz;
BEGIN
    BEGIN
        -- The lock every batch begins with: no batch is under way that counts on the old floor.
        PERFORM 1 FROM ops.stream_owner AS o WHERE o.generation = wanted FOR UPDATE;
        FOR old IN
            DELETE FROM ops.seen_partitions AS p
            WHERE p.generation = wanted AND p.newest_arrival < now() - keep AND p.key_hour < now() - keep
            RETURNING p.key_hour, ops.leaf_name('seen', wanted, 'hour', p.key_hour) AS leaf
        LOOP
            EXECUTE format('DROP TABLE IF EXISTS speed.%I', old.leaf);
            UPDATE ops.generations AS g
            SET seen_floor = old.key_hour
            WHERE g.generation = wanted AND g.seen_floor < old.key_hour;
        END LOOP;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        NULL;
    END;
    SELECT g.seen_floor INTO floor_now FROM ops.generations AS g WHERE g.generation = wanted;
    RETURN floor_now;
END
$$;

-- Drops hours of `recent_changes` that ended more than `keep` ago; returns how many. Each drop waits 100 ms at most for
-- readers, because new readers queue behind it; what is in use stays until the next call.
CREATE OR REPLACE FUNCTION speed.expire_recent_changes(wanted integer, keep interval)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    old record;
    dropped integer := 0;
BEGIN
    FOR old IN
        SELECT l.leaf
        FROM ops.leaves(to_regclass(format('speed.recent_changes_g%s', wanted))) AS l
        WHERE l.ends <= now() - keep
        ORDER BY l.starts
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE speed.%I', old.leaf);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN dropped;
        END;
    END LOOP;
    RETURN dropped;
END
$$;

-- Deletes ledger rows older than `keep`, never the last one (it says where to go on); returns how many.
CREATE OR REPLACE FUNCTION speed.expire_ledger(wanted integer, keep interval)
RETURNS bigint
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH deleted AS (
        DELETE FROM ops.stream_batches AS b
        WHERE b.generation = wanted
            AND b.committed_at < now() - keep
            AND b.sequence < (SELECT max(l.sequence) FROM ops.stream_batches AS l WHERE l.generation = wanted)
        RETURNING 1
    )
    SELECT count(*) FROM deleted
$$;

-- Leaves of a partitioned table, oldest first, and the instants they hold: [starts, ends).
CREATE OR REPLACE FUNCTION ops.leaves(parent regclass)
RETURNS TABLE (leaf name, starts timestamptz, ends timestamptz)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
    SELECT
        c.relname,
        bound.parts[1]::timestamptz,
        bound.parts[2]::timestamptz
    FROM pg_inherits AS i
    JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (
        SELECT regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(.+)''\) TO \(''(.+)''\)') AS parts
    ) AS bound
    WHERE i.inhparent = parent
    ORDER BY 2
$$;

-- Drops days of the live generation's minute rows, of all rollups together, if every hour that has rows in them was
-- published and found to agree, and all of that is `keep` ago; marks the hours, so that a later reconciliation knows why
-- there is nothing to hold against them. `held_back`: hours for which an older day stays; `in_use`: days left to the next
-- call because somebody was in the way.
CREATE OR REPLACE FUNCTION speed.expire_minutes(
    keep interval,
    OUT dropped integer,
    OUT in_use integer,
    OUT held_back timestamptz[]
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    live integer;
    day record;
    unsettled timestamptz[];
BEGIN
    dropped := 0;
    in_use := 0;
    held_back := '{}';
    SELECT g.generation INTO live FROM ops.generations AS g WHERE g.state = 'live';
    FOR day IN
        SELECT
            l.starts,
            l.ends,
            string_agg(format('ONLY speed.%I, speed.%I', b.branch, l.leaf), ', ' ORDER BY b.branch) AS in_order,
            string_agg(format('speed.%I', l.leaf), ', ') AS leaves
        FROM ops.partition_rules AS r
        CROSS JOIN LATERAL (SELECT r.table_name || '_g' || live AS branch) AS b
        CROSS JOIN LATERAL ops.leaves(to_regclass(format('speed.%I', b.branch))) AS l
        WHERE r.schema_name = 'speed'
            AND r.instants = 'windows'
            AND l.ends <= now() - keep
        GROUP BY
            l.starts,
            l.ends
        ORDER BY l.starts
    LOOP
        BEGIN
            -- Before anything is looked at, so that no row comes in between; each parent before its leaf, as readers do.
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', day.in_order);
            SELECT COALESCE(array_agg(h ORDER BY h), '{}') INTO unsettled
            FROM generate_series(day.starts, day.ends - interval '1 hour', '1 hour') AS h
            WHERE EXISTS ( -- every event is in `activity`, whatever other rollup it is in
                SELECT FROM speed.activity AS a
                WHERE a.generation = live
                    AND a.window_start >= h
                    AND a.window_start < h + interval '1 hour'
            )
            AND NOT EXISTS (
                SELECT FROM ops.published_hours AS p
                JOIN ops.reconciliation AS v ON v.hour = p.hour
                WHERE p.hour = h
                    AND p.published_at < now() - keep
                HAVING bool_and(v.verdict IN ('equal', 'explained', 'pruned'))
            );
            IF unsettled = '{}' THEN
                EXECUTE format('DROP TABLE %s', day.leaves);
                UPDATE ops.published_hours AS p
                SET speed_pruned_at = now()
                WHERE p.hour >= day.starts
                    AND p.hour < day.ends;
                dropped := dropped + 1;
            END IF;
            held_back := held_back || unsettled;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            in_use := in_use + 1;
        END;
    END LOOP;
END
$$;

-- Drops leaves of a batch table whose instants ended more than `keep` ago and of which no hour was published since then.
-- `in_use`: leaves left to the next call because somebody was in the way.
CREATE OR REPLACE FUNCTION batch.expire_partitions(
    wanted text,
    keep interval,
    OUT dropped integer,
    OUT in_use integer
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    old record;
BEGIN
    dropped := 0;
    in_use := 0;
    FOR old IN
        SELECT l.leaf
        FROM ops.leaves(to_regclass(format('batch.%I', wanted))) AS l
        WHERE l.ends <= now() - keep
            AND NOT EXISTS (
                SELECT FROM ops.published_hours AS p
                WHERE p.hour >= l.starts
                    AND p.hour < l.ends
                    AND p.published_at >= now() - keep
            )
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE batch.%I', old.leaf);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            in_use := in_use + 1;
        END;
    END LOOP;
END
$$;

-- Deletes what was found more than `keep` ago and is over; returns how many rows. The newest end of an hour stays: older
-- hours go by it. So does the newest measure of a table of the lake.
CREATE OR REPLACE FUNCTION ops.expire_findings(keep interval)
RETURNS bigint
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH results AS (
        DELETE FROM ops.quality_results AS q
        WHERE q.judged_at < now() - keep
        RETURNING 1
    ),
    incidents AS (
        DELETE FROM ops.incidents AS i
        WHERE i.closed_at < now() - keep
        RETURNING 1
    ),
    hours AS (
        DELETE FROM ops.hour_ends AS e
        WHERE e.recorded_at < now() - keep
            AND e.hour < (SELECT max(l.hour) FROM ops.hour_ends AS l)
        RETURNING 1
    ),
    checks AS (
        DELETE FROM ops.dashboard_checks AS c
        WHERE c.checked_at < now() - keep
        RETURNING 1
    ),
    measures AS (
        DELETE FROM ops.lake_tables AS m
        WHERE m.measured_at < now() - keep
            AND m.measured_at < (SELECT max(l.measured_at) FROM ops.lake_tables AS l WHERE l.table_name = m.table_name)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM results) + (SELECT count(*) FROM incidents) + (SELECT count(*) FROM hours)
        + (SELECT count(*) FROM checks) + (SELECT count(*) FROM measures)
$$;

-- Makes shadow `later` the live generation and retires `earlier`, at once for every reader, and with it the older shadows,
-- which nobody fills any more; fences the drivers of what is retired. Refuses while the shadow's ledger is behind the live
-- one's on any partition.
CREATE OR REPLACE FUNCTION speed.swap_generation(earlier integer, later integer)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
AS $$
DECLARE
    states jsonb;
    behind text;
BEGIN
    -- Drivers hold their row while they commit; lowest number first, so that two swaps cannot deadlock.
    PERFORM 1
    FROM ops.stream_owner AS o
    WHERE o.generation IN (earlier, later)
        OR o.generation IN (SELECT g.generation FROM ops.generations AS g WHERE g.state = 'shadow' AND g.generation < later)
    ORDER BY o.generation
    FOR UPDATE;
    SELECT COALESCE(jsonb_object_agg(g.generation, g.state), '{}') INTO states
    FROM ops.generations AS g
    WHERE g.generation IN (earlier, later);
    IF states ->> earlier::text IS DISTINCT FROM 'live' OR states ->> later::text IS DISTINCT FROM 'shadow' THEN
        RAISE EXCEPTION 'expected % to be live and % to be shadow, found %', earlier, later, states
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'See ops.generations.';
    END IF;
    SELECT string_agg(format('partition %s: %s, needs %s', o.partition, COALESCE(o.reached, 'none'), o.wanted), '; ' ORDER BY o.partition)
    INTO behind
    FROM (
        SELECT live.key AS partition, live.value AS wanted, ops.last_offsets(later) ->> live.key AS reached
        FROM jsonb_each_text(ops.last_offsets(earlier)) AS live
    ) AS o
    WHERE COALESCE(o.reached::bigint, -1) < o.wanted::bigint;
    IF behind IS NOT NULL THEN
        RAISE EXCEPTION 'generation % is behind generation %: %', later, earlier, behind
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Let the rebuild go on, then swap again.';
    END IF;
    WITH retired AS (
        UPDATE ops.generations AS g
        SET state = 'retired', retired_at = now()
        WHERE g.generation = earlier OR (g.state = 'shadow' AND g.generation < later)
        RETURNING g.generation
    )
    UPDATE ops.stream_owner AS o SET epoch = o.epoch + 1 FROM retired AS r WHERE o.generation = r.generation;
    UPDATE ops.generations AS g SET state = 'live', went_live_at = now() WHERE g.generation = later;
END
$$;

-- Where a generation's ledger ends: next offset per partition; {} for an empty ledger.
CREATE OR REPLACE FUNCTION ops.last_offsets(wanted integer)
RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(
        (
            SELECT b.end_offsets
            FROM ops.stream_batches AS b
            WHERE b.generation = wanted
            ORDER BY b.sequence DESC
            LIMIT 1
        ),
        '{}'
    )
$$;

-- Drops the tables, ledger and counts of a retired generation. Its rows in generations and stream_owner stay: the number
-- is never used again and a sleeping driver of it stays fenced.
CREATE OR REPLACE FUNCTION speed.drop_generation(wanted integer)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    found_state text;
    rule record;
BEGIN
    PERFORM 1 FROM ops.stream_owner AS o WHERE o.generation = wanted FOR UPDATE;
    SELECT g.state INTO found_state FROM ops.generations AS g WHERE g.generation = wanted;
    IF found_state IS DISTINCT FROM 'retired' THEN
        RAISE EXCEPTION 'expected generation % to be retired, found %', wanted, COALESCE(found_state, 'no such generation')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'speed.swap_generation retires the one it replaces.';
    END IF;
    FOR rule IN SELECT r.table_name FROM ops.partition_rules AS r WHERE r.schema_name = 'speed' ORDER BY r.table_name LOOP
        EXECUTE format('DROP TABLE IF EXISTS speed.%I', rule.table_name || '_g' || wanted);
    END LOOP;
    DELETE FROM ops.seen_partitions AS p WHERE p.generation = wanted;
    DELETE FROM ops.stream_batches AS b WHERE b.generation = wanted;
    DELETE FROM ops.stream_outcomes AS c WHERE c.generation = wanted;
END
$$;

-- Binds a fresh database to its source, or checks that it is this one: data of two sources never mix.
CREATE OR REPLACE FUNCTION ops.bind_instance(wanted text)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bound text;
BEGIN
    IF wanted IS NULL OR wanted IN ('', 'unset') THEN
        RAISE EXCEPTION 'expected the id of a source, found %', COALESCE(quote_literal(wanted), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Set WIKIWEIR_SOURCE_ID.';
    END IF;
    INSERT INTO ops.instance (source_id) VALUES (wanted) ON CONFLICT DO NOTHING;
    SELECT i.source_id INTO bound FROM ops.instance AS i;
    IF bound <> wanted THEN
        RAISE EXCEPTION 'this database is bound to source %, found %', quote_literal(bound), quote_literal(wanted)
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Use another state folder (WIKIWEIR_HOME) and database, or begin anew with ./weir reset --yes.';
    END IF;
    RETURN bound;
END
$$;

-- What an hour still waits for before it can be built; NULL when it is ready: the producer has read past its end, and
-- both queries have reached what Kafka held then. (Kafka's own time will not do: in a catch-up everything carries now.)
CREATE OR REPLACE FUNCTION ops.hour_waits_for(wanted timestamptz)
RETURNS text
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH hour_end AS (
        SELECT e.end_offsets FROM ops.hour_ends AS e WHERE e.hour >= wanted ORDER BY e.hour LIMIT 1
    ),
    positions AS (
        SELECT 'speed' AS query, ops.last_offsets(g.generation) AS reached
        FROM ops.generations AS g
        WHERE g.state = 'live'
        UNION ALL
        SELECT 'lake', (SELECT p.end_offsets FROM ops.stream_progress AS p WHERE p.query = 'lake')
    )
    SELECT CASE
        WHEN NOT EXISTS (SELECT FROM hour_end) THEN 'the producer has not read past its end'
        ELSE (
            SELECT string_agg(
                format('the %s query is at offset %s of partition %s and needs %s', p.query, n.reached, o.key, o.value),
                '; ' ORDER BY p.query, o.key
            )
            FROM hour_end AS h
            CROSS JOIN positions AS p
            CROSS JOIN LATERAL jsonb_each_text(h.end_offsets) AS o
            CROSS JOIN LATERAL (SELECT COALESCE((p.reached ->> o.key)::bigint, 0) AS reached) AS n
            WHERE n.reached < o.value::bigint
        )
    END
$$;

-- What somebody should look at now: the runbook's name (docs/runbooks/), what it is about, and what was found.
CREATE OR REPLACE FUNCTION ops.complaints()
RETURNS TABLE (runbook text, subject text, message text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        'stream_silent',
        q.query,
        CASE
            WHEN p.query IS NULL THEN 'has never reported'
            ELSE format('is %s and last reported %s ago', p.state, date_trunc('second', now() - p.updated_at))
        END
    FROM unnest(ARRAY['speed', 'lake']) AS q (query)
    LEFT JOIN ops.stream_progress AS p ON p.query = q.query
    WHERE p.query IS NULL OR p.updated_at < now() - interval '1 minute'
    UNION ALL
    SELECT 'stream_behind', p.query, format('is %s s and %s records behind Kafka', round(p.seconds_behind), p.lag)
    FROM ops.stream_progress AS p
    WHERE p.query IN ('speed', 'lake')
        AND p.updated_at >= now() - interval '1 minute'
        AND p.seconds_behind > CASE p.query WHEN 'speed' THEN 60 ELSE 300 END
    UNION ALL
    SELECT 'source_silent', 'speed', format('the newest event is from %s', date_trunc('second', p.newest_event_at))
    FROM ops.stream_progress AS p
    WHERE p.query = 'speed'
        AND p.newest_event_at < now() - interval '15 minutes'
        AND p.seconds_behind < 60
        AND COALESCE(p.rows_per_second, 0) = 0
    UNION ALL
    SELECT
        'source_behind',
        'speed',
        format(
            '%s records a second are coming, and the newest event is from %s',
            round(p.rows_per_second),
            date_trunc('second', p.newest_event_at)
        )
    FROM ops.stream_progress AS p
    WHERE p.query = 'speed'
        AND p.newest_event_at < now() - interval '15 minutes'
        AND p.seconds_behind < 60
        AND p.rows_per_second > 0
    UNION ALL
    SELECT
        'hour_overdue',
        to_char(o.event_hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24'),
        COALESCE('waits: ' || ops.hour_waits_for(o.event_hour), 'is ready and not published')
    FROM ops.stream_outcomes AS o
    WHERE o.generation = (SELECT live.generation FROM ops.generations AS live WHERE live.state = 'live')
        AND o.event_hour > now() - interval '31 days'
        AND NOT EXISTS (SELECT FROM ops.published_hours AS h WHERE h.hour = o.event_hour)
        AND ( -- the end of an hour has no row of its own where the producer read on from one before it
            SELECT e.recorded_at FROM ops.hour_ends AS e WHERE e.hour >= o.event_hour ORDER BY e.hour LIMIT 1
        ) < now() - interval '1 hour'
    GROUP BY o.event_hour
    HAVING min(o.first_at) < now() - interval '1 hour'
    UNION ALL
    SELECT
        'dashboard_broken',
        c.dashboard,
        format(
            '%s of %s charts got no answer; %s: %s',
            count(c.error),
            count(*),
            min(c.chart) FILTER (WHERE c.error IS NOT NULL),
            left((array_agg(c.error ORDER BY c.chart) FILTER (WHERE c.error IS NOT NULL))[1], 300)
        )
    FROM ops.dashboard_checks AS c
    WHERE c.run_id = (SELECT l.run_id FROM ops.dashboard_checks AS l ORDER BY l.checked_at DESC LIMIT 1)
    GROUP BY c.dashboard
    HAVING count(c.error) > 0
    UNION ALL
    SELECT i.kind, i.subject, i.message FROM ops.incidents AS i WHERE i.closed_at IS NULL
$$;
