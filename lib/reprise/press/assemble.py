"""Assemble a page: the current prose, the executed outputs, a header from the card, and a footer of provenance.

``python -m reprise.press.assemble SLUG`` writes ``book/papers/SLUG.ipynb``, and the source beside it for download.
"""

from __future__ import annotations

import copy
import html
import sys
from typing import Any

import click
import nbformat

from reprise import cards, notebooks, paths
from reprise.cards import Card
from reprise.press import archive, orders, runs
from reprise.press.entry import one_line
from reprise.press.runs import Run

# Papermill's own cells: the parameters it injects and the markers of a failure.
PAPERMILL_TAGS = {"injected-parameters", "papermill-error-cell-tag"}


def assemble(card: Card, run: Run, executed) -> Any:
    """The page of a paper as an `nbformat` notebook.

    Args:
        card: the paper's card.
        run: its run.
        executed: the run's executed notebook; its code cells are those of the current source, because a change in a
            code cell changes the fingerprint. Prose is taken from the current source.
    """
    page = copy.deepcopy(notebooks.read(card.notebook).notebook)
    outputs = iter([cell for cell in executed.cells if cell.cell_type == "code" and not _is_papermills(cell)])
    for cell in page.cells:
        if cell.cell_type == "code":
            done = next(outputs, None)
            if done is not None:
                cell.outputs, cell.execution_count = done.outputs, done.execution_count
    if not page.cells or not page.cells[0].source.startswith("# "):
        raise notebooks.NotebookError(f"{card.notebook}: the first cell must open with the title, '# {card.title}'")
    title, _, prose = page.cells[0].source.partition("\n")
    page.cells[0].source = "\n".join([title, "", header(card, run), "", prose.lstrip("\n")])
    page.cells.append(nbformat.v4.new_markdown_cell(footer(card, run)))
    page.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return page


def _is_papermills(cell) -> bool:
    return bool(PAPERMILL_TAGS & set(cell.metadata.get("tags", [])))


def header(card: Card, run: Run) -> str:
    """Authors, links, verdict counts and run time, as HTML and MyST under the title; a notice if the run failed."""
    held = sum(claim["verdict"] == "reproduced" for claim in run.claims)
    links = [f"<a href='https://arxiv.org/abs/{card.arxiv}'>arXiv:{card.arxiv}</a>"] if card.arxiv else []
    if card.code:
        links.append(f"<a href='{html.escape(card.code)}'>the authors' code</a>")
    counts = f"<span class='count reproduced'>{held} of {len(card.claims)} claims reproduced</span>"
    if run.status == "failed":
        counts = "<span class='count not-reproduced'>this run failed</span>"
    lines = [
        "<div class='reprise-header'>",
        f"<div class='authors'>{html.escape(', '.join(card.authors))} ({card.year})</div>",
        f"<div class='links'>{' · '.join(links)}</div>",
        f"<div class='outcome'>{counts} · ran in {run.seconds:.0f} s</div>",
        "</div>",
        "",
        f"Download: {{download}}`the notebook <{card.slug}.ipynb>`, {{download}}`its source <{card.slug}.py>`, "
        f"{{download}}`the card <{card.slug}.yaml>`. Rerun: `reprise run {card.slug}`",
    ]
    return "\n".join(lines) + ("" if run.status == "ok" else "\n\n" + failure(run))


def failure(run: Run) -> str:
    """The notice of a failed run, with its traceback, which may come from outside any cell (a kernel that died)."""
    traceback = click.unstyle(run.error["traceback"] or f"{run.error['name']}: {run.error['text']}")
    return (
        "<div class='reprise-failure'>"
        f"<p><b>This notebook failed</b> in the build of this page: {html.escape(run.error['name'])}. "
        "What ran before the failure is shown below.</p>"
        f"<pre>{html.escape(traceback).replace(chr(10), '&#10;')}</pre></div>"
    )


def footer(card: Card, run: Run) -> str:
    """Where the page's numbers come from: device, versions, revision, fingerprint, and recorded runs elsewhere."""
    lines = ["## Provenance", "", "```{list-table}", ":class: reprise-provenance", ":widths: 25 75", ""]
    for name, value in _provenance(run).items():
        lines += [f"* - {name}", f"  - {value}"]
    lines.append("```")
    recorded = archive.recorded(card.slug)
    if recorded:
        lines += ["", "Recorded runs:", "", *_recorded_table(card, recorded)]
    return "\n".join(lines)


def _provenance(run: Run) -> dict[str, str]:
    rows = {"profile": f"`{run.profile}`, fingerprint `{run.fingerprint}`", "run time": f"{run.seconds:.1f} s"}
    record = run.record
    if record:
        git, device = record["git"], record["device"]
        rows["run time"] += f", peak memory {record['peak_mb']:.0f} MiB"
        rows["device"] = f"{device['kind']} × {device['count']}; {record['platform']}; Python {record['python']}"
        rows["revision"] = f"`{git['revision']}`{' with uncommitted changes' if git['dirty'] else ''}"
        rows["date"] = record["date"]
        rows["versions"] = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    rows["parameters"] = ", ".join(f"`{name} = {value!r}`" for name, value in run.parameters.items())
    return rows


def _recorded_table(card: Card, recorded: dict[str, Run]) -> list[str]:
    devices = list(recorded)
    head = ["claim", *(f"`{device}`, {recorded[device].record['date'][:10]}" for device in devices)]
    rows = [head, ["---"] * len(head)]
    for claim in card.claims:
        cells = [archive.cell(recorded[device], claim.id) for device in devices]
        rows.append([f"`{claim.id}`", *cells])
    return ["| " + " | ".join(row) + " |" for row in rows]


def main(slug: str) -> None:
    """Write a paper's page and its downloads into ``book/papers/``."""
    card, run = cards.load(slug), runs.last(slug)
    executed = nbformat.read(orders.executed(slug).with_name(f"{slug}.ipynb"), 4)
    target = paths.root() / "book" / "papers" / f"{slug}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    for source in (card.notebook, card.path):
        orders.write_whole(target.with_name(source.name), source.read_text(encoding="utf-8"))
    orders.write_whole(target, nbformat.writes(assemble(card, run, executed)))


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1])
