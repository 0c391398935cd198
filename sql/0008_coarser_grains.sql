-- The batch layer's hours and days, with exact distinct counts, and the pages and editors at their top. What stands in
-- which table: wikiweir/rollups.py and sql/dictionary.toml. Written with their hour or day, in its transaction.
DO $$
DECLARE
    rollup text;
    grain text;
BEGIN
    FOREACH rollup IN ARRAY ARRAY['activity', 'user_activity', 'page_activity', 'edit_sizes'] LOOP
        FOREACH grain IN ARRAY ARRAY['hourly', 'daily'] LOOP
            EXECUTE format(
                'CREATE TABLE batch.%1$I (LIKE batch.%2$I INCLUDING ALL EXCLUDING COMMENTS) PARTITION BY RANGE (window_start)',
                rollup || '_' || grain, rollup
            );
        END LOOP;
    END LOOP;
END
$$;

ALTER TABLE batch.activity_hourly ADD COLUMN editors bigint NOT NULL;
ALTER TABLE batch.activity_daily ADD COLUMN editors bigint NOT NULL;
ALTER TABLE batch.user_activity_hourly ADD COLUMN pages bigint NOT NULL;
ALTER TABLE batch.user_activity_daily ADD COLUMN pages bigint NOT NULL;
ALTER TABLE batch.page_activity_hourly ADD COLUMN editors bigint NOT NULL;
ALTER TABLE batch.page_activity_daily ADD COLUMN editors bigint NOT NULL;

CREATE TABLE batch.top_pages (
    grain          text NOT NULL CHECK (grain IN ('hour', 'day', 'week', 'month')),
    window_start   timestamptz NOT NULL,
    scope          text NOT NULL,
    place          integer NOT NULL,
    wiki           text NOT NULL,
    namespace      integer NOT NULL,
    title          text NOT NULL,
    edits          bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    reverts        bigint NOT NULL,
    last_edit_at   timestamptz NOT NULL,
    as_of          timestamptz NOT NULL,
    PRIMARY KEY (window_start, grain, scope, place)
) PARTITION BY RANGE (window_start);

CREATE TABLE batch.top_editors (
    grain          text NOT NULL CHECK (grain IN ('hour', 'day', 'week', 'month')),
    window_start   timestamptz NOT NULL,
    scope          text NOT NULL,
    place          integer NOT NULL,
    user_key       uuid NOT NULL,
    user_name      text NOT NULL,
    user_class     text NOT NULL,
    edits          bigint NOT NULL,
    new_pages      bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    reverts        bigint NOT NULL,
    as_of          timestamptz NOT NULL,
    PRIMARY KEY (window_start, grain, scope, place)
) PARTITION BY RANGE (window_start);

-- A table that is kept for long has few leaves.
ALTER TABLE ops.partition_rules DROP CONSTRAINT partition_rules_width_check;
ALTER TABLE ops.partition_rules ADD CONSTRAINT partition_rules_width_check CHECK (width IN ('month', 'day', 'hour'));
INSERT INTO ops.partition_rules (schema_name, table_name, instants, width, storage)
VALUES
    ('batch', 'user_activity_hourly', 'windows', 'day', 'fillfactor = 100'),
    ('batch', 'page_activity_hourly', 'windows', 'day', 'fillfactor = 100'),
    ('batch', 'activity_hourly', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'edit_sizes_hourly', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'activity_daily', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'edit_sizes_daily', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'user_activity_daily', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'page_activity_daily', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'top_pages', 'windows', 'month', 'fillfactor = 100'),
    ('batch', 'top_editors', 'windows', 'month', 'fillfactor = 100');

-- Which hours a published day is made of; a day whose hours have been published anew since is built again.
CREATE TABLE ops.published_days (
    day            timestamptz PRIMARY KEY,
    version        bigint NOT NULL,
    hours          integer NOT NULL,
    hour_versions  bigint NOT NULL,
    as_of          timestamptz NOT NULL,
    run_id         text NOT NULL,
    published_at   timestamptz NOT NULL DEFAULT now()
);

-- Weeks and months whose tops are ranked, and from which days; one whose days have been published anew is ranked again.
CREATE TABLE ops.ranked_periods (
    grain         text NOT NULL CHECK (grain IN ('week', 'month')),
    window_start  timestamptz NOT NULL,
    day_versions  bigint NOT NULL,
    ranked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (grain, window_start)
);

-- The versions of the lake's own tables that hold an hour as it was published, and how long each step took.
ALTER TABLE ops.published_hours
    ADD COLUMN lake_versions jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN seconds jsonb NOT NULL DEFAULT '{}';

-- Hours that were published without all this are built again by the next run: they are accounted for by nothing now.
DELETE FROM ops.hour_outcomes;
