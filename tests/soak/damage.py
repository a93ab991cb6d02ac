"""What can become of a file: cut, changed, put in another's place, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

__all__ = ["DAMAGES", "damage"]

DAMAGES = ("truncations", "bit flips", "mix-ups", "removals")
MOST_BITS = 8


def damage(cache: Path, chance: random.Random) -> list[str]:
    """Damage a file of a cache, if it has one; return how, as a list of none or one."""
    files = [path for path in sorted(cache.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    if not files:
        return []
    path, other = chance.choice(files), chance.choice(files)
    how = chance.choice(DAMAGES)
    if how == "removals":
        path.unlink()
    elif how == "mix-ups":
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes(_spoilt(bytearray(path.read_bytes()), how, chance))
    return [how]


def _spoilt(content: bytearray, how: str, chance: random.Random) -> bytes:
    if how == "truncations":
        del content[chance.randrange(len(content) + 1) :]
    elif content:
        for _ in range(chance.randint(1, MOST_BITS)):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)
