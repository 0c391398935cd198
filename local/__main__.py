"""`python -m local`: what `./weir` becomes."""

from local.cli import app

app(prog_name="./weir")
