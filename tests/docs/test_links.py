"""Every link within the pages leads somewhere, and every page can be found."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT, anchors_of, links_of, pages, text_of

# Written when the site is built.
MADE = {"docs/reference/spec.schema.json", "docs/reference/report.schema.json"}


@pytest.mark.parametrize("page", pages())
def test_every_link_of_a_page_resolves(page: str) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        assert target in MADE or (ROOT / target).exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_links_and_anchors_are_found_at_all() -> None:
    assert len(links_of("README.md")) > 10
    assert "waivers" in anchors_of("docs/spec.md")
    assert "the-number-of-biases" in anchors_of("docs/counting.md")


def test_every_page_stands_in_the_navigation_of_the_site() -> None:
    nav = yaml.safe_load(text_of("mkdocs.yml"))["nav"]
    listed = [f"docs/{leaf}" for leaf in _leaves(nav)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {page for page in pages() if page.startswith("docs/")}


def _leaves(part: Any) -> list[str]:  # noqa: ANN401 - what YAML holds
    if isinstance(part, str):
        return [part]
    inside = part.values() if isinstance(part, dict) else part
    return [leaf for one in inside for leaf in _leaves(one)]
