-- Who may do what; re-applied, from nothing, when changed. What is not said here is refused.
-- wikiweir_stream and wikiweir_batch write, wikiweir_reader (people, dashboards, the API) reads `serving` and `ops`.
-- Leaves get no grants: everyone goes through the parents.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA ops, speed, batch, serving FROM PUBLIC, wikiweir_stream, wikiweir_batch, wikiweir_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA ops, speed, batch, serving FROM PUBLIC, wikiweir_stream, wikiweir_batch, wikiweir_reader;
REVOKE ALL ON ALL ROUTINES IN SCHEMA ops, speed, batch, serving FROM PUBLIC, wikiweir_stream, wikiweir_batch, wikiweir_reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;

-- partitioned tables: the stream only adds to `seen` and `recent_changes`, and merges into the rollups
DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT r.schema_name, r.table_name, r.instants FROM ops.partition_rules AS r LOOP
        IF rule.schema_name = 'batch' THEN
            EXECUTE format('GRANT SELECT, INSERT, DELETE ON batch.%I TO wikiweir_batch', rule.table_name);
        ELSE
            EXECUTE format('GRANT SELECT ON speed.%I TO wikiweir_batch', rule.table_name);
            EXECUTE format('GRANT SELECT, INSERT ON speed.%I TO wikiweir_stream', rule.table_name);
        END IF;
        IF rule.schema_name = 'speed' AND rule.instants = 'windows' THEN
            EXECUTE format('GRANT UPDATE ON speed.%I TO wikiweir_stream', rule.table_name);
        END IF;
    END LOOP;
END
$$;

-- stream writer
GRANT USAGE ON SCHEMA speed, ops TO wikiweir_stream;
GRANT SELECT, INSERT, UPDATE ON speed.wikis TO wikiweir_stream;
GRANT SELECT ON ALL TABLES IN SCHEMA ops TO wikiweir_stream;
GRANT INSERT ON ops.stream_batches, ops.stream_gaps, ops.hour_ends TO wikiweir_stream;
GRANT UPDATE ON ops.stream_owner TO wikiweir_stream;
GRANT INSERT, UPDATE ON
    ops.stream_outcomes,
    ops.seen_partitions,
    ops.stream_progress,
    ops.incidents
TO wikiweir_stream;
GRANT EXECUTE ON FUNCTION
    ops.bind_instance,
    speed.ensure_generation,
    speed.ensure_partitions,
    speed.expire_seen,
    speed.expire_recent_changes,
    speed.expire_ledger,
    speed.swap_generation,
    speed.drop_generation
TO wikiweir_stream;

-- batch writer
GRANT USAGE ON SCHEMA batch, speed, ops TO wikiweir_batch;
GRANT SELECT ON speed.wikis TO wikiweir_batch;
GRANT SELECT ON ALL TABLES IN SCHEMA ops TO wikiweir_batch;
GRANT INSERT, UPDATE ON ops.published_hours, ops.published_days, ops.ranked_periods TO wikiweir_batch;
GRANT INSERT, DELETE ON ops.hour_outcomes, ops.reconciliation, ops.quality_results TO wikiweir_batch;
GRANT INSERT, UPDATE ON
    ops.incidents,
    ops.pruned_hours,
    ops.dashboard_checks,
    ops.dashboard_import
TO wikiweir_batch;
GRANT INSERT ON ops.lake_tables TO wikiweir_batch;
GRANT EXECUTE ON FUNCTION
    ops.bind_instance,
    ops.expire_findings,
    batch.ensure_partitions,
    batch.expire_partitions,
    batch.rank_tops,
    batch.total_hour,
    batch.rank_periods,
    speed.expire_minutes
TO wikiweir_batch;

-- readers
GRANT USAGE ON SCHEMA serving, ops TO wikiweir_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA serving, ops TO wikiweir_reader;

-- what everybody may ask, because it reads with the caller's own rights
GRANT EXECUTE ON FUNCTION
    ops.last_offsets,
    ops.hour_waits_for,
    ops.complaints
TO wikiweir_stream, wikiweir_batch, wikiweir_reader;
