"""How the log of a job that ends reads: our own lines, and what a library warns of."""

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
QUIET = ("py4j", "great_expectations")
"""They tell of each connection closed and each file made."""


def configure() -> None:
    """Set up the process's log, on standard error."""
    logging.basicConfig(level="INFO", format=FORMAT)
    for name in QUIET:
        logging.getLogger(name).setLevel("WARNING")
