"""A model card for the Hugging Face hub: our section in it and our results, all else as it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.card_index import KEY, merged, own_entries
from pytest_visualbias.reports.card_section import section
from pytest_visualbias.reports.escaping import markdown_text

if TYPE_CHECKING:
    from pytest_visualbias.record import Report

__all__ = ["BEGIN", "END", "model_card"]

BEGIN = "<!-- pytest-visualbias:begin -->"
END = "<!-- pytest-visualbias:end -->"
TITLE = "Model card"
FRONT = re.compile(r"\A(\ufeff?---[ \t]*\n)(.*?)(^---[ \t]*(?:\n|\Z))", re.DOTALL | re.MULTILINE)
MARKERS = re.compile(rf"^{re.escape(BEGIN)}[ \t]*$|^{re.escape(END)}[ \t]*(?:\n|\Z)", re.MULTILINE)


def model_card(report: Report, there: str) -> str:
    """Return a model card with an evaluation of bias.

    Parameters
    ----------
    report : Report
        Its gated models are the card's.
    there : str
        The card so far; empty for a new one. What stands outside of our markers stays, and so
        does its metadata but for our results in ``model-index``.

    Raises
    ------
    ReportError
        Where something in the card could be lost.
    """
    is_crlf = "\r\n" in there
    text = there.replace("\r\n", "\n")
    found = FRONT.match(text)
    start, front, end = found.groups() if found else ("---\n", "", "---\n")
    body = text[found.end() :] if found else text
    title = markdown_text(str(report.summary.get("title") or TITLE))
    if not there.strip():
        body = f"\n# {title}\n"
    card = start + _front(front, own_entries(report)) + end + _body(body, section(report))
    return card.replace("\n", "\r\n") if is_crlf else card


def _front(front: str, ours: dict[str, list[dict[str, Any]]]) -> str:
    """Return the metadata with our results, every other line of it as it was."""
    try:
        before = yaml.safe_load(front) if front.strip() else {}
        root = yaml.compose(front, Loader=yaml.SafeLoader) if front.strip() else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, say
        raise _damaged(f"is not YAML ({' '.join(str(error).split())})") from None
    is_flow = isinstance(root, yaml.MappingNode) and root.flow_style
    if not isinstance(before, dict) or is_flow:
        raise _damaged("is no list of 'key: value' lines")
    index = merged(before.get(KEY), ours)
    if index == before.get(KEY, []):
        return front  # the results of the same run again: not a letter changes
    lines = front.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    first, last = _span(root, lines)
    dumped = yaml.safe_dump({KEY: index}, sort_keys=False, allow_unicode=True, width=1000)
    text = "".join([*lines[:first], dumped if index else "", *lines[last:]])
    _check(before, index, text)
    return text


def _span(root: Any, lines: list[str]) -> tuple[int, int]:  # noqa: ANN401 - a node of YAML
    """Return the first line of the results and the one behind them; the end if there are none."""
    pairs = root.value if root is not None else []
    places = [place for place, (key, _) in enumerate(pairs) if key.value == KEY]
    if len(places) > 1:
        raise _damaged(f"has '{KEY}' twice")
    if not places:
        return len(lines), len(lines)
    (place,) = places
    behind = pairs[place + 1][0].start_mark.line if place + 1 < len(pairs) else len(lines)
    first = pairs[place][0].start_mark.line
    # Comments and blank lines before the next key are that key's.
    while behind > first + 1 and re.fullmatch(r"(#.*)?\s*", lines[behind - 1]):
        behind -= 1
    return first, behind


def _check(before: dict[str, Any], index: list[Any], text: str) -> None:
    """Raise where the metadata would not be read as what they were and our results."""
    try:
        after = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        after = None
    others = {key: value for key, value in before.items() if key != KEY}
    if after != {**others, **({KEY: index} if index else {})}:
        raise _damaged("cannot be added to without changing it")


def _body(body: str, ours: str) -> str:
    found = list(MARKERS.finditer(body))
    block = f"{BEGIN}\n{ours}{END}\n"
    if not found:
        return f"{body.rstrip()}\n\n{block}" if body.strip() else f"\n{block}"
    kinds = [one[0].startswith(BEGIN) for one in found]
    if kinds != [True, False]:
        raise ReportError(
            "the model card stays as it is: its marks of pytest-visualbias, "
            f"'{BEGIN}' and '{END}', do not stand there once each in this order; mend them"
        )
    return body[: found[0].start()] + block + body[found[1].end() :]


def _damaged(what: str) -> ReportError:
    return ReportError(
        f"the model card stays as it is: the metadata between its first two '---' {what}; mend it"
    )
