"""How the log of a job that ends reads: our own lines, and what a library warns of."""

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
QUIET = ("py4j", "great_expectations")
"""They tell of each connection closed and each file made."""


def configure() -> None:
    """Set up the process's log, on standard error."""
    logging.basicConfig(level="INFO", format=FORMAT)
    for handler in logging.getLogger().handlers:
        # levels would not do: a library sets its own when it is imported
        handler.addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] not in QUIET
