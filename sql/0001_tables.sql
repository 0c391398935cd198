-- Tables of the speed layer, the batch layer and operations.
-- Written by wikiweir_stream (speed, ops) and wikiweir_batch (batch, ops); people read `serving` views over them and `ops`.
-- Columns of the rollups echo wikiweir/rollups.py; tests/contracts/test_sql_drift.py holds both together.
-- What a column means: sql/dictionary.toml. Leaves of partitioned tables are made on demand: sql/functions.sql.

CREATE SCHEMA speed;
CREATE SCHEMA batch;
CREATE SCHEMA serving;

-- ---------------------------------------------------------------- operations

CREATE TABLE ops.instance (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    source_id   text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Which functions, views, comments and grants are in force: hash of the files as last applied.
CREATE TABLE ops.repeatable_files (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

-- Which tables have leaves, by which column and how wide; one generic function makes them all.
CREATE TABLE ops.partition_rules (
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    instants     text NOT NULL CHECK (instants IN ('windows', 'key_hours', 'received')),
    width        text NOT NULL CHECK (width IN ('day', 'hour')),
    storage      text NOT NULL,
    PRIMARY KEY (schema_name, table_name)
);

CREATE TABLE ops.generations (
    generation    smallint PRIMARY KEY CHECK (generation > 0),
    state         text NOT NULL CHECK (state IN ('live', 'shadow', 'retired')),
    seen_floor    timestamptz NOT NULL DEFAULT '-infinity',
    created_at    timestamptz NOT NULL DEFAULT now(),
    went_live_at  timestamptz,
    retired_at    timestamptz
);

CREATE UNIQUE INDEX generations_one_live ON ops.generations (state) WHERE state = 'live';

CREATE TABLE ops.stream_owner (
    generation     smallint PRIMARY KEY REFERENCES ops.generations,
    epoch          bigint NOT NULL DEFAULT 0,
    backend_pid    integer,
    backend_start  timestamptz,
    driver         text,
    taken_at       timestamptz
);

CREATE TABLE ops.stream_batches (
    generation         smallint NOT NULL REFERENCES ops.generations,
    sequence           bigint NOT NULL,
    checkpoint_id      text NOT NULL,
    batch_id           bigint NOT NULL,
    start_offsets      jsonb NOT NULL,
    end_offsets        jsonb NOT NULL,
    received           bigint NOT NULL,
    facts              bigint NOT NULL,
    duplicates         bigint NOT NULL,
    canaries           bigint NOT NULL,
    rejected           bigint NOT NULL,
    left_to_batch      bigint NOT NULL,
    seen_floor         timestamptz NOT NULL,
    owner_epoch        bigint NOT NULL,
    oldest_kafka_time  timestamptz,
    newest_kafka_time  timestamptz,
    committed_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (generation, sequence),
    UNIQUE (generation, checkpoint_id, batch_id),
    CONSTRAINT nothing_vanishes CHECK (received = facts + duplicates + canaries + rejected + left_to_batch)
);

CREATE TABLE ops.stream_outcomes (
    generation  smallint NOT NULL REFERENCES ops.generations,
    event_hour  timestamptz NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('fact', 'canary', 'duplicate', 'rejected', 'left_to_batch')),
    reason      text NOT NULL DEFAULT '',
    records     bigint NOT NULL,
    PRIMARY KEY (generation, event_hour, outcome, reason)
) WITH (fillfactor = 60);

CREATE TABLE ops.seen_partitions (
    generation      smallint NOT NULL REFERENCES ops.generations,
    key_hour        timestamptz NOT NULL,
    newest_arrival  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (generation, key_hour)
) WITH (fillfactor = 50);

CREATE TABLE ops.stream_progress (
    query              text PRIMARY KEY CHECK (query IN ('speed', 'lake', 'rebuild')),
    generation         smallint,
    state              text NOT NULL,
    updated_at         timestamptz NOT NULL DEFAULT now(),
    checkpoint_id      text,
    batch_id           bigint,
    end_offsets        jsonb,
    kafka_end_offsets  jsonb,
    lag                bigint,
    rows_per_second    double precision,
    newest_event_at    timestamptz,
    seconds_behind     double precision,
    message            text
) WITH (fillfactor = 20);

CREATE TABLE ops.stream_gaps (
    found_at     timestamptz NOT NULL DEFAULT now(),
    query        text NOT NULL,
    generation   smallint,
    partition    integer NOT NULL,
    from_offset  bigint NOT NULL,
    to_offset    bigint NOT NULL,
    reason       text NOT NULL,
    PRIMARY KEY (found_at, query, partition, from_offset)
);

CREATE TABLE ops.incidents (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at  timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz,
    kind       text NOT NULL,
    subject    text NOT NULL,
    message    text NOT NULL,
    details    jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX incidents_open ON ops.incidents (kind, subject) WHERE closed_at IS NULL;

CREATE TABLE ops.published_hours (
    hour            timestamptz PRIMARY KEY,
    version         bigint NOT NULL,
    bronze_version  bigint NOT NULL,
    end_offsets     jsonb NOT NULL,
    run_id          text NOT NULL,
    published_at    timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- speed layer

CREATE TABLE speed.seen (
    generation  smallint NOT NULL,
    key_hour    timestamptz NOT NULL,
    id          uuid NOT NULL,
    PRIMARY KEY (generation, key_hour, id)
) PARTITION BY LIST (generation);

CREATE TABLE speed.activity (
    generation         smallint NOT NULL,
    window_start       timestamptz NOT NULL,
    wiki               text NOT NULL,
    type               text NOT NULL,
    namespace          integer NOT NULL,
    user_class         text NOT NULL,
    events             bigint NOT NULL,
    edits              bigint NOT NULL,
    new_pages          bigint NOT NULL,
    minor_edits        bigint NOT NULL,
    bytes_added        bigint NOT NULL,
    bytes_removed      bigint NOT NULL,
    unpatrolled_edits  bigint NOT NULL,
    reverts            bigint NOT NULL,
    PRIMARY KEY (generation, window_start, wiki, type, namespace, user_class)
) PARTITION BY LIST (generation);

CREATE TABLE speed.user_activity (
    generation     smallint NOT NULL,
    window_start   timestamptz NOT NULL,
    wiki           text NOT NULL,
    user_key       uuid NOT NULL,
    user_name      text NOT NULL,
    user_class     text NOT NULL,
    edits          bigint NOT NULL,
    new_pages      bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    reverts        bigint NOT NULL,
    PRIMARY KEY (generation, window_start, wiki, user_key, user_class)
) PARTITION BY LIST (generation);

CREATE TABLE speed.page_activity (
    generation     smallint NOT NULL,
    window_start   timestamptz NOT NULL,
    wiki           text NOT NULL,
    namespace      integer NOT NULL,
    title          text NOT NULL,
    edits          bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    reverts        bigint NOT NULL,
    last_edit_at   timestamptz NOT NULL,
    PRIMARY KEY (generation, window_start, wiki, namespace, title)
) PARTITION BY LIST (generation);

CREATE TABLE speed.edit_sizes (
    generation    smallint NOT NULL,
    window_start  timestamptz NOT NULL,
    wiki          text NOT NULL,
    user_class    text NOT NULL,
    size_bucket   text NOT NULL,
    edits         bigint NOT NULL,
    PRIMARY KEY (generation, window_start, wiki, user_class, size_bucket)
) PARTITION BY LIST (generation);

CREATE TABLE speed.recent_changes (
    generation      smallint NOT NULL,
    received_at     timestamptz NOT NULL,
    event_id        uuid NOT NULL,
    event_time      timestamptz NOT NULL,
    wiki            text NOT NULL,
    type            text NOT NULL,
    namespace       integer NOT NULL,
    title           text NOT NULL,
    user_key        uuid NOT NULL,
    user_name       text NOT NULL,
    user_class      text NOT NULL,
    severity        text,
    bytes_changed   bigint,
    is_revert       boolean NOT NULL,
    is_unpatrolled  boolean NOT NULL,
    old_revision    bigint,
    new_revision    bigint,
    log_type        text,
    log_action      text,
    PRIMARY KEY (generation, received_at, event_id)
) PARTITION BY LIST (generation);

CREATE INDEX recent_changes_event_time ON speed.recent_changes (event_time);

CREATE TABLE speed.wikis (
    wiki           text PRIMARY KEY,
    server_name    text NOT NULL,
    project        text NOT NULL,
    language       text NOT NULL,
    language_name  text,
    territory      text,
    first_seen_at  timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- batch layer, one row a minute and key

CREATE TABLE batch.activity (
    window_start       timestamptz NOT NULL,
    wiki               text NOT NULL,
    type               text NOT NULL,
    namespace          integer NOT NULL,
    user_class         text NOT NULL,
    events             bigint NOT NULL,
    edits              bigint NOT NULL,
    new_pages          bigint NOT NULL,
    minor_edits        bigint NOT NULL,
    bytes_added        bigint NOT NULL,
    bytes_removed      bigint NOT NULL,
    unpatrolled_edits  bigint NOT NULL,
    reverts            bigint NOT NULL,
    PRIMARY KEY (window_start, wiki, type, namespace, user_class)
) PARTITION BY RANGE (window_start);

CREATE TABLE batch.user_activity (
    window_start   timestamptz NOT NULL,
    wiki           text NOT NULL,
    user_key       uuid NOT NULL,
    user_name      text NOT NULL,
    user_class     text NOT NULL,
    edits          bigint NOT NULL,
    new_pages      bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    reverts        bigint NOT NULL,
    PRIMARY KEY (window_start, wiki, user_key, user_class)
) PARTITION BY RANGE (window_start);

CREATE TABLE batch.page_activity (
    window_start   timestamptz NOT NULL,
    wiki           text NOT NULL,
    namespace      integer NOT NULL,
    title          text NOT NULL,
    edits          bigint NOT NULL,
    bytes_added    bigint NOT NULL,
    bytes_removed  bigint NOT NULL,
    reverts        bigint NOT NULL,
    last_edit_at   timestamptz NOT NULL,
    PRIMARY KEY (window_start, wiki, namespace, title)
) PARTITION BY RANGE (window_start);

CREATE TABLE batch.edit_sizes (
    window_start  timestamptz NOT NULL,
    wiki          text NOT NULL,
    user_class    text NOT NULL,
    size_bucket   text NOT NULL,
    edits         bigint NOT NULL,
    PRIMARY KEY (window_start, wiki, user_class, size_bucket)
) PARTITION BY RANGE (window_start);

-- Storage of the leaves. The running minute's counters are updated again and again: free space on their page keeps
-- those updates off the index (HOT). A user or page is seldom met twice in a minute. `seen` is only ever inserted into
-- and dropped whole within days, so vacuuming it for its inserts would be work for nothing.
INSERT INTO ops.partition_rules (schema_name, table_name, instants, width, storage)
VALUES
    ('speed', 'seen', 'key_hours', 'hour', 'autovacuum_vacuum_insert_threshold = -1'),
    ('speed', 'recent_changes', 'received', 'hour', 'autovacuum_vacuum_insert_threshold = -1'),
    ('speed', 'activity', 'windows', 'day', 'fillfactor = 60'),
    ('speed', 'edit_sizes', 'windows', 'day', 'fillfactor = 60'),
    ('speed', 'user_activity', 'windows', 'day', 'fillfactor = 85'),
    ('speed', 'page_activity', 'windows', 'day', 'fillfactor = 85'),
    ('batch', 'activity', 'windows', 'day', 'fillfactor = 100'),
    ('batch', 'edit_sizes', 'windows', 'day', 'fillfactor = 100'),
    ('batch', 'user_activity', 'windows', 'day', 'fillfactor = 100'),
    ('batch', 'page_activity', 'windows', 'day', 'fillfactor = 100');

-- The first data set; its tables are made by speed.ensure_generation when the functions are installed.
INSERT INTO ops.generations (generation, state, went_live_at) VALUES (1, 'live', now());
INSERT INTO ops.stream_owner (generation) VALUES (1);
