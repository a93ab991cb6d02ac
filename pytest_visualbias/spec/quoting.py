"""Text of others in YAML and in shells, such as a path that somebody chose."""

from __future__ import annotations

import json
import re

import yaml

__all__ = ["quoted"]

PLAIN = re.compile(r"[A-Za-z_./][\w./ +()-]*")


def quoted(text: str) -> str:
    """Return a text as a scalar of YAML, plain where it reads back as itself everywhere."""
    is_plain = PLAIN.fullmatch(text) and text == text.strip()
    # Readers of YAML 1.1, such as editors, take `no` and `on` for something else.
    if is_plain and yaml.safe_load(f"[{text}]") == [text]:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
