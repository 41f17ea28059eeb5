"""The performance page: recorded benchmarks (``tests/benchmarks/recorded/``) as tables of ratios."""

from __future__ import annotations

import json

from reprise import paths

INTRODUCTION = """# Performance

Speed is measured against a peer in one run on one machine, so that what is quoted is a ratio. Each table names its
benchmark in `tests/benchmarks/`; `make bench` repeats them all.
"""


def page() -> str:
    """The Markdown of the performance page."""
    sections = [INTRODUCTION]
    for path in sorted((paths.root() / "tests" / "benchmarks" / "recorded").glob("*.json")):
        kept = json.loads(path.read_text())
        lines = [f"## {kept['title']}", "", kept["note"], ""]
        lines += _row(kept["columns"]), _row(["---"] + ["---:"] * (len(kept["columns"]) - 1))
        lines += [_row([value if isinstance(value, str) else f"{value:.3g}" for value in row]) for row in kept["rows"]]
        lines += ["", f"`bench_{path.stem}.py`, {kept['date']}, {kept['machine']}", ""]
        sections.append("\n".join(lines))
    return "\n".join(sections)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
