"""Figures of one or several reports, fit for a paper."""

from __future__ import annotations

from pytest_visualbias.reports.figures.writing import write

__all__ = ["write"]
