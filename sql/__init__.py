"""What PostgreSQL holds: roles, migrations, functions, serving views, and the words that explain every column.

Tables are written by hand (`0001_tables.sql` …) and held against `wikiweir.rollups` by a drift test; the views over
them, all comments and `docs/data-dictionary.md` are generated (`python -m sql.generate`).
"""
