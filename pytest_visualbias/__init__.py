"""pytest-visualbias: a gate for bias in finetuned vision models.

Importing this package imports nothing else: pytest loads it in every run, with the plugin or not.
"""

from __future__ import annotations

__version__ = "0.1.0"
