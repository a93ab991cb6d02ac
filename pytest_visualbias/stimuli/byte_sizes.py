"""Parse and format numbers of bytes."""

from __future__ import annotations

import re

STEP = 1000
UNITS = ("B", "kB", "MB", "GB", "TB")
PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Parse a number of bytes such as ``500MB``, ``1.5 GB`` or ``2GiB``."""
    match = PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a size; write one such as 500MB or 2GB")
    number, prefix, is_binary = match.groups()
    power = " kmgt".index(prefix.lower()) if prefix else 0
    return int(float(number) * (1024 if is_binary else STEP) ** power)


def format_size(size: int) -> str:
    """Format a number of bytes, such as ``1.3 GB``."""
    last = len(UNITS) - 1
    power = next(
        power for power in range(len(UNITS)) if round(size / STEP**power, 1) < STEP or power == last
    )
    return f"{size} B" if power == 0 else f"{size / STEP**power:.1f} {UNITS[power]}"
