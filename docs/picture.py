"""Draw ``docs/report.svg``, the picture in the README, from a real run on this machine."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

import qhal
from qhal.report import page_of, to_text
from qhal.report.page import Page

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"
COLUMNS = 124
SHOWN = ("Summary", "Accuracy", "Latency", "Energy")
"""The sections of the report that fit a picture."""


def main() -> None:
    """Deploy the example for the Edge TPU and draw the report."""
    with TemporaryDirectory() as folder:
        record = qhal.deploy(
            DIGITS / "digits.onnx",
            target="edgetpu",
            data=DIGITS / "calibration.npz",
            eval=DIGITS / "evaluation.npz",
            out=Path(folder) / "digits-edgetpu",
        )
    console = Console(record=True, width=COLUMNS, file=StringIO(), highlight=False, markup=False)
    console.print("$ make demo", style="bold green")
    console.print(to_text(shortened(page_of(record)), COLUMNS), end="")
    console.print("\n… decisions, operators and more in report.md", style="dim")
    console.save_svg(str(ROOT / "docs" / "report.svg"), title="qhal deploy")


def shortened(page: Page) -> Page:
    """Return the page with the sections that are shown."""
    return replace(page, sections=tuple(s for s in page.sections if s.title in SHOWN))


if __name__ == "__main__":
    main()
