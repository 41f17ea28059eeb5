"""The last word of a build: totals, what failed, which verdicts were not the expected ones.

``python -m reprise.press.verdicts [PROFILE]`` exits with 1 unless every notebook ran and every verdict is as expected.
"""

from __future__ import annotations

import sys

from reprise import cards
from reprise.cards import Card
from reprise.press import runs, scoreboard
from reprise.press.entry import one_line
from reprise.press.runs import Run


def report(book: dict[str, Card], built: dict[str, Run]) -> tuple[str, bool]:
    """The closing lines of a build, and whether all is as expected."""
    counts = scoreboard.count(book, built)
    lines = [
        f"{len(book)} papers, {counts.total()} claims: {counts['reproduced']} reproduced, "
        f"{counts['not-reproduced']} not reproduced, {counts['failed']} without a result"
    ]
    troubled = {slug: built.get(slug) for slug in book if slug not in built or not built[slug].good}
    for slug, run in troubled.items():
        lines.append(f"  {slug}: {run.summary() if run else 'was never executed'}")
    lines.append(
        "Every verdict is as expected." if not troubled else f"{len(troubled)} of {len(book)} papers need a look."
    )
    return "\n".join(lines), not troubled


def main(profile: str = "ci") -> None:
    """Print the report of the last build and exit accordingly."""
    book = {slug: card for slug, card in cards.load_all().items() if profile == "ci" or profile in card.profiles}
    text, good = report(book, {slug: run for slug in book if (run := runs.last(slug, profile))})
    print(text)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    with one_line():
        main(*sys.argv[1:2])
