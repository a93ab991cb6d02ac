"""The page in a browser: what a reader sees and does, on a desk, a phone, and without a mouse."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from pytest_visualbias.reports.html.page import render
from tests.reports.html.samples import HOSTILE, drawn, hostile, large

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# Selenium need not be installed, so its types are not known here.
Chrome: TypeAlias = Any
CSS = "css selector"
TAB, ENTER = "\ue004", "\ue007"

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE = {"width": 375, "height": 740, "deviceScaleFactor": 1, "mobile": True}
# What is shown of the table, top to bottom.
SHOWN = "return [...document.querySelectorAll('.results tbody')].filter(one => !one.hidden)"
WIDTHS = "return [document.scrollingElement.scrollWidth, document.documentElement.clientWidth]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser without a window, that keeps a log of what it asks for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not both installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    opened = webdriver.Chrome(options=options, service=service)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a page of 48 results with pictures, ``large``, and one of harmful names."""
    folder = tmp_path_factory.mktemp("pages")
    run = large(drawn(folder / "stimuli", 60), tests=8, layers=3)
    (folder / "large.html").write_text(render(run, root=folder), encoding="utf-8")
    (folder / "hostile.html").write_text(render(hostile()), encoding="utf-8")
    return folder


@pytest.fixture(params=["large", "hostile"])
def page(request: pytest.FixtureRequest, browser: Chrome, pages: Path) -> Chrome:
    """Each page, opened on a desk."""
    return opened(browser, pages / f"{request.param}.html")


@pytest.fixture
def results(browser: Chrome, pages: Path) -> Chrome:
    """The page of many results, opened on a desk."""
    return opened(browser, pages / "large.html")


def opened(browser: Chrome, path: Path) -> Chrome:
    screen = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    for name in ("browser", "performance"):
        browser.get_log(name)  # what came before
    browser.get(path.as_uri())
    return browser


def select(element: Any) -> Any:  # noqa: ANN401 - selenium's
    """Return a list to choose from."""
    return pytest.importorskip("selenium.webdriver.support.select").Select(element)


def column(browser: Chrome, place: int, key: str = "textContent") -> list[str]:
    """Return what the rows that are shown have in a column."""
    script = f"{SHOWN}.map(one => one.rows[0].cells[{place}].{key})"
    found: list[str] = browser.execute_script(script)
    return found


def test_a_page_asks_for_nothing_and_complains_of_nothing(page: Chrome) -> None:
    """Not even of its own policy: every style and script is allowed by its digest."""
    page.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.get_log("browser") == []
    asked = [
        message["params"]["request"]["url"]
        for message in (
            json.loads(one["message"])["message"] for one in page.get_log("performance")
        )
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [page.current_url]


def test_names_that_mean_harm_do_none(browser: Chrome, pages: Path) -> None:
    opened(browser, pages / "hostile.html")
    assert browser.execute_script("return window.harmed") is None
    assert browser.execute_script("return document.querySelectorAll('img, script').length") == 1
    assert browser.execute_script("return getComputedStyle(document.body).display") == "block"
    shown = " ".join(column(browser, 1))
    assert HOSTILE[0] in shown


@pytest.mark.parametrize("wide", [True, False])
def test_a_page_is_never_wider_than_its_screen(page: Chrome, wide: bool) -> None:
    """With everything open; 300 letters without a space included."""
    if not wide:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    page.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    content, screen = page.execute_script(WIDTHS)
    assert 0 < screen <= (1280 if wide else 375)
    assert content <= screen


def test_an_interval_stays_on_one_line_on_a_phone(page: Chrome) -> None:
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    lines = page.execute_script(
        "return [...document.querySelectorAll('.results > tbody > tr:first-child > td')]"
        ".filter(one => one.textContent.includes(' to ')).map(one => {"
        "  const range = document.createRange(); range.selectNodeContents(one);"
        "  return [one.scrollWidth - one.clientWidth, range.getClientRects().length]; })"
    )
    assert lines
    assert set(map(tuple, lines)) == {(0, 1)}


def test_rows_are_filtered_by_words_and_by_verdict(results: Chrome) -> None:

    assert len(column(results, 0)) == 48
    results.find_element(CSS, ".filters input").send_keys("Test-7 AFTER")
    assert set(column(results, 1)) == {"Intersectional-Test-7"}
    assert set(column(results, 2)) == {"after"}
    status = results.find_element(CSS, "[role=status]")
    assert status.text == "3 of 48 results."
    results.find_element(CSS, ".filters button").click()
    assert len(column(results, 0)) == 48
    for name, place in (("Verdict", 0), ("Model", 2), ("Layer", 3)):
        label = next(
            one for one in results.find_elements(CSS, ".filters label") if name in one.text
        )
        choice = select(label.find_element(CSS, "select"))
        value = choice.options[-1].text
        choice.select_by_visible_text(value)
        found = column(results, place)
        assert found
        assert {one.strip() for one in found} == {value}
        choice.select_by_index(0)


def test_a_tag_finds_every_row_that_has_it(results: Chrome) -> None:

    choice = select(results.find_element(CSS, "select[name=t]"))
    choice.select_by_visible_text("gender")
    assert len(column(results, 0)) == 48
    choice.select_by_index(len(choice.options) - 1)
    value = choice.all_selected_options[0].get_attribute("value")
    script = "return document.querySelectorAll(`.results tbody[data-t~='${arguments[0]}']`).length"
    assert len(column(results, 0)) == results.execute_script(script, value) > 0


def test_a_count_of_the_headline_shows_its_results(results: Chrome) -> None:

    tile = results.find_element(CSS, ".tiles a")
    count, outcome = tile.text.split()
    tile.click()
    assert len(column(results, 0)) == int(count)
    assert {one.strip() for one in column(results, 0)} == {outcome}


def test_every_column_sorts_both_ways_and_says_so(results: Chrome) -> None:

    heads = results.find_elements(CSS, ".results thead th")
    assert len(heads) == 8
    for place, head in enumerate(heads):
        is_number = place in (0, 4, 5, 6, 7)
        key = "dataset.v" if is_number else "textContent"
        values: dict[str, list[Any]] = {}
        for _ in range(2):
            head.find_element(CSS, "button").click()
            way = head.get_attribute("aria-sort") or ""
            found = [one for one in column(results, place, key) if one != ""]
            values[way] = [float(one) for one in found] if is_number else found
        assert values.keys() == {"ascending", "descending"}
        assert values["ascending"] == sorted(values["ascending"])
        assert values["descending"] == sorted(values["ascending"], reverse=True)
        others = [one for one in heads if one != head]
        assert not any(one.get_attribute("aria-sort") for one in others)


def test_what_has_no_growth_stays_last_whichever_way_growth_is_sorted(results: Chrome) -> None:

    button = results.find_elements(CSS, ".results thead button")[7]
    for _ in range(2):
        button.click()
        assert column(results, 7, "dataset.v")[24:] == [""] * 24


def test_numbers_of_a_test_open_by_the_keyboard_alone(results: Chrome) -> None:
    """From the head of the table by the tab key, and with the return key."""
    more = results.find_element(CSS, ".results .more")
    assert not more.is_displayed()
    last = results.find_elements(CSS, ".results thead button")[-1]
    last.send_keys(TAB)
    results.switch_to.active_element.send_keys(ENTER)
    assert more.is_displayed()
    assert "judged" in more.text
    assert more.find_element(CSS, ".picture").size["width"] > 60
    results.switch_to.active_element.send_keys(ENTER)
    assert not more.is_displayed()


def test_a_link_to_a_result_opens_it_even_where_a_filter_hides_it(results: Chrome) -> None:

    link = results.find_element(CSS, ".story h3 a")
    results.find_element(CSS, ".filters input").send_keys("no such test")
    assert column(results, 0) == []
    # Not below the bar that stays at the top.
    results.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    address = (link.get_attribute("href") or "").rpartition("#")[2]
    assert results.find_element(CSS, f"#{address} .more").is_displayed()


def test_a_long_table_is_shown_in_part_until_all_is_asked_for(
    browser: Chrome, pages: Path, tmp_path: Path
) -> None:

    (tmp_path / "long.html").write_text(
        render(large(drawn(pages / "stimuli", 60), tests=10), thumbnails=False), encoding="utf-8"
    )
    opened(browser, tmp_path / "long.html")
    status = browser.find_element(CSS, "[role=status]")
    assert len(column(browser, 0)) == 100
    assert status.text == "120 of 120 results, of which the first 100 are shown."
    browser.find_element(CSS, "#rest").click()
    assert len(column(browser, 0)) == 120
    assert status.text == "120 of 120 results."
    assert not browser.find_element(CSS, "#rest").is_displayed()


def test_dark_is_dark_and_light_is_light_and_both_can_be_read(page: Chrome) -> None:
    """Text and ground differ by 4.5 to 1 and more (WCAG 2, AA), for every verdict."""
    for scheme, is_dark in (("dark", True), ("light", False)):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        pairs: list[list[str]] = page.execute_script(
            "const at = e => getComputedStyle(e);"
            "const ground = at(document.body).backgroundColor;"
            "return [...document.querySelectorAll('body, .soft, b.fail, b.pass, b.inconclusive,"
            " b.accepted, b.reported, a, dt')].map(e => [at(e).color, ground])"
        )
        grounds = {luminance(ground) for _, ground in pairs}
        assert all((one < 0.1) is is_dark for one in grounds)
        for text, ground in pairs:
            assert contrast(text, ground) >= 4.5, (scheme, text, ground)


def luminance(colour: str) -> float:
    """Return how light a colour is, as WCAG 2 has it."""
    parts = [float(one) / 255 for one in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_print_shows_failing_results_with_their_numbers(results: Chrome) -> None:

    results.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    failing = results.find_element(CSS, ".results tbody.failing .more")
    assert failing.is_displayed()
    assert not results.find_element(CSS, ".filters").is_displayed()


def test_without_scripts_every_result_is_there_and_opens(browser: Chrome, pages: Path) -> None:

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, pages / "large.html")
        assert not browser.find_element(CSS, ".filters").is_displayed()
        summary = browser.find_element(CSS, ".results summary")
        summary.click()
        assert browser.find_element(CSS, ".results .more").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
