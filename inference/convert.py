"""Entry point of ``python -m inference.convert``: labels that are there already, as DICOM."""

from .cli.convert import main

if __name__ == "__main__":
    raise SystemExit(main())
