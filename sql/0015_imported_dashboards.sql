-- Which things in Superset are ours: those that were imported. Others may make theirs of names, too.
ALTER TABLE ops.dashboard_import ADD COLUMN uuids uuid[] NOT NULL DEFAULT '{}';
