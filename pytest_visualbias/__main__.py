"""``python -m pytest_visualbias``: the console script."""

from __future__ import annotations

import sys

from pytest_visualbias.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
