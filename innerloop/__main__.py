"""`python -m innerloop`."""

from innerloop.cli import app

app()
