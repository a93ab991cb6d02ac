"""Figures inside the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from pytest_visualbias.reports.html.inline import inline_figures
from tests.reports.conftest import GROWTH
from tests.reports.html.samples import HOSTILE, record


def classes(svg: str) -> list[str]:
    """Return the classes of all elements."""
    return [element.get("class", "") for element in ET.fromstring(svg).iter()]


def test_layers_have_a_point_for_each_result_in_the_colour_of_its_outcome() -> None:
    outcomes = {"early": "pass", "middle": "fail", "late": "inconclusive"}
    records = [record(layer=layer, outcome=outcome) for layer, outcome in outcomes.items()]
    (figure,) = inline_figures(records)["layers"]
    drawn = classes(figure.svg)
    for outcome in outcomes.values():
        assert drawn.count(f"point {outcome}") == 1
    assert drawn.count("axes") == 1
    assert drawn.count("limit") == 2, "both sides of the limit are shaded"
    root = ET.fromstring(figure.svg)
    for outcome, colour in (("pass", "--pass"), ("fail", "--fail"), ("inconclusive", "--warn")):
        point = next(one for one in root.iter() if one.get("class") == f"point {outcome}")
        assert {one.get("fill") for one in point.iter("use")} == {f"var({colour})"}
    assert "late +1.00 inconclusive" in (root.findtext("desc") or "")


def test_every_colour_is_a_variable_and_no_style_is_left() -> None:
    records = [record(layer=layer) for layer in ("early", "late")]
    (figure,) = inline_figures(records)["layers"]
    root = ET.fromstring(figure.svg)
    assert not [one for one in root.iter() if one.tag == "style" or "style" in one.attrib]
    colours = {one.get(key) for one in root.iter() for key in ("fill", "stroke")} - {None, "none"}
    assert colours
    assert all(re.fullmatch(r"var\(--\w+\)", colour or "") for colour in colours)
    assert "http" not in figure.svg


def test_a_transfer_has_a_point_for_each_test_and_needs_five() -> None:
    records = [
        record(f"t{n}", growth={**GROWTH, "before": n / 10, "after": n / 5}) for n in range(5)
    ]
    (figure,) = inline_figures(records)["transfers"]
    (points,) = (
        one for one in ET.fromstring(figure.svg).iter() if one.get("class") == "point fail"
    )
    assert len(list(points.iter("use"))) == 5
    assert not any(inline_figures(records[:4]).values())


def test_counts_have_a_panel_for_each_question_and_their_table() -> None:
    records = [record(f"t{n}", p_verdict=p) for n, p in enumerate((0.0005, 0.02, 0.04, 0.2, 0.9))]
    (figure,) = inline_figures(records)["counts"]
    assert classes(figure.svg).count("axes") == 4
    assert figure.table is not None
    assert figure.table.rows[0] == ("after, raw", "1", "1", "3", "3")


def test_names_are_text_and_ids_are_unique_among_figures() -> None:
    records = [
        record(name, layer=layer, kind=kind, limits={})
        for name in HOSTILE
        for layer in ("early", "late")
        for kind in ("ieat", "outcome-gap")
    ]
    figures = [item for items in inline_figures(records).values() for item in items]
    assert len(figures) >= 2
    ids = [
        one.get("id") for item in figures for one in ET.fromstring(item.svg).iter() if one.get("id")
    ]
    assert len(ids) == len(set(ids))
    tags = {one.tag for item in figures for one in ET.fromstring(item.svg).iter()}
    assert tags <= {"svg", "title", "desc", "g", "path", "use", "text", "defs"}
