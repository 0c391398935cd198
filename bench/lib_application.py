"""The other end of `Workbench.application`: a script that spark-submit runs, which reads a description and answers.

Both are JSON files. The surprising thing: the description is no argument, because it holds a password.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(run: Callable[[dict[str, Any]], Any], about: str | None) -> None:
    """Run what `--job` describes; the answer goes to `--out`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.write_text(json.dumps(run(json.loads(args.job.read_text(encoding="utf-8")))), encoding="utf-8")
