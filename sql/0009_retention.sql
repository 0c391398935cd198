-- What retention has let go of, so that nobody takes what is missing for what never was. Written by jobs/maintain_lake.

-- Event hours whose rows in bronze are gone. A row comes before the deletion: from then on nobody builds the hour again.
CREATE TABLE ops.pruned_hours (
    hour            timestamptz PRIMARY KEY,
    rows            bigint NOT NULL,
    newest_arrival  timestamptz NOT NULL,
    pruned_at       timestamptz NOT NULL DEFAULT now()
);

-- Live minute rows of a published hour go too, once both layers agreed; then there is nothing to hold against it any more.
ALTER TABLE ops.published_hours ADD COLUMN speed_pruned_at timestamptz;

ALTER TABLE ops.reconciliation
    DROP CONSTRAINT reconciliation_verdict_check,
    ADD CONSTRAINT reconciliation_verdict_check
        CHECK (verdict IN ('equal', 'pending', 'explained', 'pruned', 'differ'));
