"""Types of the jobs' command-line arguments: a wrong one never reaches Spark."""

import argparse

from wikiweir.hours import Hour


def hour(text: str) -> Hour:
    """An hour of UTC, `2026-11-23T09`."""
    try:
        return Hour.parse(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
