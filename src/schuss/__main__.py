"""``python -m schuss``: the command line."""

from schuss.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
