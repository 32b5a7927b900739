"""The command line: one file a verb, `main` runs it."""

from schuss.cli._app import app, main

__all__ = ["app", "main"]
