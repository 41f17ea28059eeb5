"""The scoreboard and its kin: every claim in one table, totals for the front page, the catalogue of all papers.

``python -m reprise.press.scoreboard`` writes the scoreboard, the catalogue, the performance page and ``_generated/``.
"""

from __future__ import annotations

import html
from collections import Counter

import pandas as pd

from reprise import cards, paths
from reprise.cards import Card
from reprise.claims import measured_text
from reprise.press import archive, catalogue, overview, performance, runs
from reprise.press.entry import one_line
from reprise.press.orders import write_whole
from reprise.press.runs import Run

#: The scoreboard uses the whole width of the window, in smaller type; other pages keep to a readable line.
WIDE = """<style>
.bd-main .bd-content .bd-article-container, .bd-main .bd-content { max-width: 100%; width: 100%; }
.bd-article table.dataTable { font-size: 0.82em; }
.bd-article table.dataTable td { vertical-align: top; }
</style>
"""

VERDICTS = {"reproduced": "✔ reproduced", "not-reproduced": "✘ not reproduced", "failed": "run failed"}


def claims_table(book: dict[str, Card], built: dict[str, Run], parts: dict[str, str]) -> pd.DataFrame:
    """One row a claim: part, paper, statement, measured value, criterion, verdict, and a column a recorded device."""
    recorded = {slug: archive.recorded(slug) for slug in book}
    devices = sorted({device for by_device in recorded.values() for device in by_device})
    rows = []
    for slug, card in book.items():
        measured = {claim["id"]: claim for claim in built[slug].claims} if slug in built else {}
        for claim in card.claims:
            result = measured.get(claim.id)
            rows.append(
                {
                    "part": parts.get(card.part, card.part),
                    "paper": f"<a href='papers/{slug}.html'>{html.escape(card.title)}</a>",
                    "claim": f"<a href='papers/{slug}.html#claim-{claim.id}'>{html.escape(claim.statement)}</a>",
                    "measured": measured_text(result) if result else "–",
                    "criterion": str(claim.criterion),
                    "paper's value": "–" if claim.paper is None else html.escape(str(claim.paper)),
                    "verdict": VERDICTS[result["verdict"] if result else "failed"],
                    **{f"recorded: {d}": _recorded(recorded[slug].get(d), claim.id) for d in devices},
                }
            )
    return pd.DataFrame(rows)


def _recorded(run: Run | None, claim_id: str) -> str:
    return f"{archive.cell(run, claim_id)} ({run.record['date'][:10]})" if run else "–"


def papers_table(book: dict[str, Card], built: dict[str, Run], parts: dict[str, str]) -> pd.DataFrame:
    """One row a paper: claims reproduced, run time, peak memory, status."""
    rows = []
    for slug, card in book.items():
        run = built.get(slug)
        held = sum(claim["verdict"] == "reproduced" for claim in run.claims) if run else 0
        rows.append(
            {
                "part": parts.get(card.part, card.part),
                "paper": f"<a href='papers/{slug}.html'>{html.escape(card.title)}</a>",
                "reproduced": f"{held} of {len(card.claims)}",
                "seconds": round(run.seconds, 1) if run else None,
                "memory (MiB)": round(run.record["peak_mb"]) if run and run.record else None,
                "status": _status(run),
            }
        )
    return pd.DataFrame(rows)


def _status(run: Run | None) -> str:
    if run is None or run.status == "failed":
        return "failed" if run else "not run"
    return "as expected" if run.good else "unexpected verdict"


def totals(book: dict[str, Card], built: dict[str, Run], planned: int) -> str:
    """One paragraph of Markdown that counts papers and verdicts, for the front page."""
    counts = count(book, built)
    seconds = sum(run.seconds for run in built.values())
    return (
        f"**{len(book)}** of {planned} papers performed so far, **{counts.total()}** claims: "
        f"**{counts['reproduced']}** reproduced, **{counts['not-reproduced']}** not reproduced"
        + (f", **{counts['failed']}** without a result" if counts["failed"] else "")
        + f". The whole book ran in {seconds / 60:.1f} minutes of notebook time."
    )


def count(book: dict[str, Card], built: dict[str, Run]) -> Counter:
    """How many claims of the book were ``reproduced``, ``not-reproduced``, or ``failed`` to give a result."""
    counts = Counter(claim["verdict"] for slug in book if slug in built for claim in built[slug].claims)
    counts["failed"] = sum(len(card.claims) for card in book.values()) - counts.total()
    return counts


def part_totals(book: dict[str, Card], built: dict[str, Run], parts: dict[str, str]) -> str:
    """A Markdown table of verdicts by part."""
    lines = ["| part | papers | reproduced | not reproduced | no result |", "| --- | ---: | ---: | ---: | ---: |"]
    for part, title in parts.items():
        of_part = {slug: card for slug, card in book.items() if card.part == part}
        if of_part:
            n = count(of_part, built)
            row = [f"{{doc}}`{title} <parts/{part}>`", len(of_part), n["reproduced"], n["not-reproduced"], n["failed"]]
            lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def catalogue_page(book: dict[str, Card], listing: catalogue.Catalogue) -> str:
    """The Markdown of the catalogue: every paper under its part, those to come marked so."""
    lines = ["# Catalogue", "", f"All {len(listing.papers)} papers of the book by part. {len(book)} are performed;", ""]
    lines[2] += " the others are marked *to come*."
    for part, title in listing.parts.items():
        lines += [f"## {{doc}}`{title} <parts/{part}>`", ""]
        of_part = [paper for paper in listing.papers if paper.part == part]
        # Finished papers first, then in the catalogue's order.
        for paper in sorted(of_part, key=lambda p: p.slug not in book):
            authors = paper.authors[0] + (" et al." if len(paper.authors) > 2 else "")
            if len(paper.authors) == 2:
                authors = " and ".join(paper.authors)
            arxiv = f" [arXiv:{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else ""
            done = paper.slug in book
            title_text = f"{{doc}}`{paper.title} <papers/{paper.slug}>`" if done else paper.title
            stop = "" if paper.title[-1] in "?!." else "."
            lines.append(f"- {title_text}{stop} {authors}, {paper.year}.{arxiv}{'' if done else ' *To come.*'}")
        lines.append("")
    return "\n".join(lines)


def _interactive(frame: pd.DataFrame) -> str:
    import itables

    return itables.to_html_datatable(
        frame, connected=False, showIndex=False, allow_html=True, paging=len(frame) > 50, pageLength=50,
        classes="display compact", style="width:100%;margin:0", maxBytes=0,
        layout={"topStart": "info", "topEnd": "search", "bottomStart": None, "bottomEnd": "paging"},
    )  # fmt: skip


def page(book: dict[str, Card], built: dict[str, Run], parts: dict[str, str]) -> dict[str, str]:
    """The scoreboard's Markdown and the two HTML tables that it draws in, by path under ``book/``."""
    import itables.options
    from itables.javascript import generate_init_offline_itables_html

    text = f"""---
html_theme.sidebar_secondary.remove: true
---
# Scoreboard

Every claim of every paper: what was measured in this build, the criterion fixed beforehand, and the verdict. Columns
sort by a click on their head; the search box filters. A claim that is *not reproduced* stays here, with its reason on
its page.

{part_totals(book, built, parts)}

## Claims

```{{raw}} html
:file: _generated/claims.html
```

## Papers

Run time is the wall time of the whole notebook, start of the kernel included, with the build's other notebooks running
beside it.

```{{raw}} html
:file: _generated/papers.html
```
"""
    scripts = generate_init_offline_itables_html(itables.options.dt_bundle)
    return {
        "scoreboard.md": text,
        "_generated/claims.html": scripts + WIDE + _interactive(claims_table(book, built, parts)),
        "_generated/papers.html": _interactive(papers_table(book, built, parts)),
    }


def main() -> None:
    """Write all generated pages that summarise the build."""
    book, listing = cards.load_all(), catalogue.load()
    built = {slug: run for slug in book if (run := runs.last(slug))}
    folder = paths.root() / "book"
    files = page(book, built, listing.parts)
    files["performance.md"] = performance.page()
    files["catalogue.md"] = catalogue_page(book, listing)
    files["_generated/totals.md"] = totals(book, built, len(listing.papers)) + "\n"
    for name, text in files.items():
        write_whole(folder / name, text)
    overview.draw(
        [run.record for run in built.values() if run.record], folder / "_generated" / "claims.svg", listing.parts
    )


if __name__ == "__main__":
    with one_line():
        main()
