-- What Great Expectations found of each hour before it was published, or kept from being published.
CREATE TABLE ops.quality_results (
    run_id       text NOT NULL,
    hour         timestamptz NOT NULL,
    suite        text NOT NULL,
    expectation  text NOT NULL,
    severity     text NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    success      boolean NOT NULL,
    observed     jsonb NOT NULL,
    description  text NOT NULL,
    judged_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (hour, run_id, suite, expectation)
);
