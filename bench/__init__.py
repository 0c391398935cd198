"""Benchmarks: ours, the usual way, a competent baseline and the limit, in one run, answers checked equal first."""
