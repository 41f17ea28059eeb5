"""Figures that introductions show, taken from the pages whose notebooks draw them.

An introduction that embeds ``../_generated/figures/SLUG.svg`` gets the figure of that paper's cell tagged
``part-figure``, as this build has drawn it: ``python -m reprise.press.figures SLUG`` writes the file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat

from reprise import paths
from reprise.errors import RepriseError
from reprise.press.entry import one_line
from reprise.press.orders import write_whole

TAG = "part-figure"
SVG = "image/svg+xml"

#: What an introduction shows when the notebook failed before it drew the figure.
MISSING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 60" width="560" height="60">
<text x="280" y="35" text-anchor="middle" font-family="sans-serif" font-size="16" fill="#b84300">
{slug}: the notebook that draws this figure failed</text></svg>
"""


def wanted(book: Path) -> list[str]:
    """Slugs of the papers whose figures the introductions embed, sorted; ``book`` is the book's source folder."""
    texts = [page.read_text(encoding="utf-8") for page in (book / "parts").glob("*.md")]
    return sorted({slug for text in texts for slug in re.findall(r"_generated/figures/([a-z0-9-]+)\.svg", text)})


def figure(page: Any, slug: str) -> str:
    """The SVG of a page's tagged cell, or a notice in its place if the cell has no figure because the run failed.

    Args:
        page: the assembled page, an `nbformat` notebook.
        slug: its paper.

    Raises:
        RepriseError: no cell of the notebook has the tag.
    """
    cells = [cell for cell in page.cells if TAG in cell.metadata.get("tags", [])]
    if not cells:
        raise RepriseError(f'{slug}: an introduction shows its figure, but no cell of it has tags=["{TAG}"]')
    drawn = [output["data"][SVG] for output in cells[0].get("outputs", []) if SVG in output.get("data", {})]
    return drawn[0] if drawn else MISSING.format(slug=slug)


def main(slug: str) -> None:
    """Write the figure of a paper's assembled page where introductions look for it."""
    book = paths.root() / "book"
    page = nbformat.read(book / "papers" / f"{slug}.ipynb", 4)
    write_whole(book / "_generated" / "figures" / f"{slug}.svg", figure(page, slug))


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1])
