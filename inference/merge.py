"""Entry point of ``python -m inference.merge``: one table and one list of several shares."""

from .cli.merge import main

if __name__ == "__main__":
    raise SystemExit(main())
