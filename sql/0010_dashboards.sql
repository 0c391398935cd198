-- What the dashboards' machinery remembers: what stands in Superset, how each chart answered, and what the lake takes on
-- disk. Written by wikiweir_batch (dashboards/, jobs/maintain_lake), read by people and the operations dashboard.
CREATE TABLE ops.dashboard_import (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    digest       text NOT NULL,
    fingerprint  text NOT NULL,
    imported_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ops.dashboard_checks (
    run_id      text NOT NULL,
    dashboard   text NOT NULL,
    chart       text NOT NULL,
    rows        bigint NOT NULL,
    seconds     double precision NOT NULL,
    error       text,
    checked_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, dashboard, chart)
);

CREATE INDEX dashboard_checks_checked_at ON ops.dashboard_checks (checked_at);

CREATE TABLE ops.lake_tables (
    table_name   text NOT NULL,
    measured_at  timestamptz NOT NULL DEFAULT now(),
    files        bigint NOT NULL,
    bytes        bigint NOT NULL,
    PRIMARY KEY (table_name, measured_at)
);
