"""Superset's dashboards as code: what stands there is what stands in `stories/`, checked against the real tables."""
