"""Make the pictures of the README again: the terminal report as SVG, the page as PNG.

    python docs/figures/pictures.py

They show the run of `make demo`. The page needs Chromium; without it the picture there stays.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from pytest_visualbias.reports.document import read_report
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPEC = ROOT / "bias_specs" / "quickstart.bias.yaml"
COLUMNS = 140
BROWSER = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--window-size=1280,1010"),
)


def main() -> None:
    """Run the gate, and draw what it leaves."""
    with tempfile.TemporaryDirectory() as folder:
        report, page = Path(folder) / "run.json", Path(folder) / "run.html"
        gate = [sys.executable, "-m", "pytest", "-q", "--visualbias", str(SPEC)]
        reports = [f"--visualbias-json={report}", f"--visualbias-html={page}"]
        subprocess.run([*gate, *reports, "-p", "no:cacheprovider"], cwd=ROOT, check=False)
        (HERE / "terminal.svg").write_text(terminal(report), encoding="utf-8")
        photograph(page, HERE / "page.png", Path(folder))


def terminal(report: Path) -> str:
    """Return the terminal report of a run as SVG, with the fonts of whoever looks at it."""
    screen = Screen(width=COLUMNS, has_colour=True, has_unicode=True)
    text = render(read_report(report).results, [], screen)
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(Text.from_ansi(text), soft_wrap=False)
    drawn = console.export_svg(
        title="pytest --visualbias", theme=MONOKAI, unique_id="terminal", clear=True
    )
    # Rich would have a web font fetched.
    return re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL)


def photograph(page: Path, picture: Path, profile: Path) -> None:
    """Take a picture of the top of a page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"no Chromium: {picture.name} stays as it is")
        return
    target = [f"--user-data-dir={profile / 'profile'}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run([browser, *BROWSER, *target], check=True, capture_output=True)


if __name__ == "__main__":
    main()
