-- Recent changes lose their primary key. A row is written once because its id goes into `seen` with it, in one
-- transaction; a second unique index cost as much as the table. Written by the speed query, read through `serving`.
ALTER TABLE speed.recent_changes DROP CONSTRAINT recent_changes_pkey;
