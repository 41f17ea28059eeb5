"""How a benchmark shows its figures: a table on the terminal, and a file for the performance page if asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"


def arguments(description: str) -> argparse.Namespace:
    """The options every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="keep the figures for the book's performance page")
    return parser.parse_args()


def report(name: str, title: str, note: str, columns: list[str], rows: list[list], *, record: bool) -> None:
    """Print a table, and keep it if asked.

    Args:
        name: file name of the record.
        title: what was compared.
        note: how, in a sentence or two (Markdown).
        columns: headings.
        rows: one list a row; numbers are shown with three digits.
        record: whether to write ``recorded/<name>.json``.
    """
    text = [[_text(value) for value in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *text, strict=True)]
    print(f"\n{title}\n{note}\n")
    for line in (columns, *text):
        first, *rest = (cell for cell in zip(line, widths, strict=True))
        print(first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest), sep="  ")
    if record:
        RECORDED.mkdir(exist_ok=True)
        machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
        kept = {"title": title, "note": note, "columns": columns, "rows": rows, "machine": machine}
        kept["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        (RECORDED / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


def _text(value) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
