"""What of a job's log is worth a line: ours, and what libraries warn of, whatever level they set for themselves."""

import subprocess
import sys

SCRIPT = """
import logging
from jobs.lib import logs
logs.configure()
chatter = logging.getLogger("great_expectations.data_context.types.base")
chatter.setLevel("INFO")
chatter.info("made a folder")
chatter.warning("could not")
logging.getLogger("jobs.lib.build").info("published")
"""


def test_a_library_that_sets_its_own_level_is_quiet() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stderr
    assert "made a folder" not in told
    assert "WARNING great_expectations.data_context.types.base: could not" in told
    assert "INFO jobs.lib.build: published" in told
