"""The command line. ``reprise COMMAND --help`` says what each command takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from reprise import cards, notebooks
from reprise.claims import measured_text
from reprise.errors import RepriseError, closest
from reprise.press import archive, execute, orders, runs, skeleton, sweeps

console = Console(highlight=False)

OK, SURPRISE, USAGE = 0, 1, 2


def main() -> None:
    """Entry point: a `RepriseError` becomes one line and exit code 2; ctrl-C becomes exit code 130."""
    try:
        sys.exit(cli(standalone_mode=False) or OK)
    except RepriseError as error:
        click.echo(f"reprise: {error}", err=True)
        sys.exit(USAGE)
    except click.ClickException as error:
        click.echo(f"reprise: {error.format_message()}", err=True)
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("reprise: interrupted; what is finished is kept", err=True)
        sys.exit(130)


profile_option = click.option("--profile", default="ci", show_default=True, help="Parameter profile of the card.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Deep-learning papers, performed again: list them, run them, sweep them, keep and compare results.

    Exit codes: 0 all as expected, 1 a run failed or a verdict was not the expected one, 2 the call was wrong.
    """


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object a paper.")
@click.option("--part", help="Only this part.")
@profile_option
def list_command(as_json: bool, part: str | None, profile: str) -> None:
    """All papers with the results of the last build."""
    book = cards.load_all()
    parts = sorted({card.part for card in book.values()})
    if part is not None and part not in parts:
        raise RepriseError(f"unknown part '{part}'{closest(part, parts)}; there is {', '.join(parts)}")
    papers = [_entry(card, profile) for card in book.values() if part in (None, card.part)]
    if as_json:
        click.echo(json.dumps(papers, indent=1, allow_nan=False))
        return
    table = Table("paper", "part", "claims reproduced", "seconds", "MiB", "status", box=None, pad_edge=False)
    for paper in papers:
        held = sum(claim["verdict"] == "reproduced" for claim in paper["claims"])
        numbers = [f"{paper[key]:.0f}" if paper[key] is not None else "–" for key in ("seconds", "peak_mb")]
        table.add_row(paper["slug"], paper["part"], f"{held} of {len(paper['claims'])}", *numbers, paper["status"])
    console.print(table)


def _entry(card: cards.Card, profile: str) -> dict[str, Any]:
    run = runs.last(card.slug, profile)
    measured = {claim["id"]: claim for claim in run.claims} if run else {}
    status = "not run" if run is None else "failed" if run.status == "failed" else "ok" if run.good else "unexpected"
    return {
        "slug": card.slug,
        "part": card.part,
        "title": card.title,
        "authors": list(card.authors),
        "year": card.year,
        "arxiv": card.arxiv,
        "status": status,
        "seconds": run.seconds if run else None,
        "peak_mb": run.record["peak_mb"] if run and run.record else None,
        "fingerprint": run.fingerprint if run else None,
        "claims": [
            {
                "id": claim.id,
                "statement": claim.statement,
                "kind": claim.kind,
                "criterion": {claim.criterion.name: claim.criterion.spec},
                "expected": claim.expect,
                "verdict": measured.get(claim.id, {}).get("verdict"),
                "value": measured.get(claim.id, {}).get("value"),
            }
            for claim in card.claims
        ],
    }


@cli.command()
@click.argument("slug")
def show(slug: str) -> None:
    """A paper's claims, criteria and parameters, with the last run's results."""
    card = cards.load(slug)
    source, run = notebooks.read(card.notebook), runs.last(slug)
    console.print(f"[bold]{card.title}[/bold]\n{', '.join(card.authors)}, {card.year}")
    console.print(f"arXiv:{card.arxiv} · part {card.part} · {card.notebook}\n")
    measured = {claim["id"]: claim for claim in run.claims} if run else {}
    table = Table("claim", "statement", "criterion", "measured", "verdict", show_lines=True)
    for claim in card.claims:
        result = measured.get(claim.id)
        value, verdict = (measured_text(result), result["verdict"]) if result else ("–", "not run")
        table.add_row(claim.id, claim.statement, str(claim.criterion), value, verdict)
    console.print(table)
    table = Table("parameter", "default", *card.profiles, "meaning", box=None, pad_edge=False)
    for name, parameter in source.parameters.items():
        others = [repr(values[name]) if name in values else "" for values in card.profiles.values()]
        table.add_row(name, repr(parameter.default), *others, parameter.comment)
    console.print(table)


@cli.command()
@click.argument("slugs", nargs=-1, required=True, metavar="SLUG...")
@click.option("-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter (repeatable).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the executed notebooks.")
@profile_option
def run(slugs: tuple[str, ...], parameters: tuple[tuple[str, str], ...], output: Path | None, profile: str) -> int:
    """Execute papers and print their verdicts; the book's own runs are left alone when parameters are given."""
    jobs = []
    for slug in slugs:  # all are checked before the first one runs
        card = cards.load(slug)
        source = notebooks.read(card.notebook)
        overrides = {name: sweeps.parse_value(source, name, text, slug) for name, text in parameters}
        order = orders.make(card, profile, overrides)
        place = orders.executed(slug, profile)
        if overrides or output:
            place = (output or place.parents[1] / "custom") / slug
        jobs.append((order, place))
    code = OK
    for order, place in jobs:
        result = execute.execute(order, place, progress=sys.stderr.isatty())
        if place == orders.executed(order.slug, profile) and result.status == "ok":
            orders.place(order, place)
        code = max(code, _print_run(result, place))
    return code


def _print_run(result: runs.Run, place: Path) -> int:
    table = Table("claim", "measured", "criterion", "verdict", "expected", title=result.slug, title_justify="left")
    for claim in result.claims:
        style = None if claim["as_expected"] else "bold red"
        value, expected = measured_text(claim), claim["expected"]
        table.add_row(claim["id"], value, claim["criterion_text"], claim["verdict"], expected, style=style)
    console.print(table)
    if result.error:
        console.print(f"{result.error['name']}: {result.error['text']}", markup=False)
    console.print(f"{result.summary()} · {place}.ipynb", markup=False, soft_wrap=True)
    return OK if result.good else SURPRISE


@cli.command()
@click.argument("slug")
@click.option("-p", "terms", multiple=True, required=True, metavar="NAME=VALUES", help="An axis: a=1,2,4 or seed=0..7.")
@click.option("--cores", default="all", show_default=True, help="How many runs at once.")
@click.option("--gpus", default=1, show_default=True, help="GPUs to share out, with --profile gpu.")
@profile_option
def sweep(slug: str, terms: tuple[str, ...], cores: str, gpus: int, profile: str) -> int:
    """Run a paper over a grid of parameters; an interrupted sweep resumes. Leaves a CSV and a figure."""
    csv, finished = sweeps.sweep(slug, list(terms), profile, cores, gpus)
    for result in finished:
        point = ", ".join(f"{term.split('=')[0]}={result.parameters[term.split('=')[0]]}" for term in terms)
        console.print(f"{point}: {result.summary()}", markup=False)
    console.print(f"{csv} and {csv.with_suffix('.svg').name}", soft_wrap=True)
    return OK if all(result.good for result in finished) else SURPRISE


@cli.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG...]")
@profile_option
def record(slugs: tuple[str, ...], profile: str) -> None:
    """Keep the last runs of papers (all, if none is named) under results/<device>/."""
    for slug in slugs or cards.find():
        card, last = cards.load(slug), runs.last(slug, profile)
        if last is None and not slugs:
            continue
        if last is None:
            raise RepriseError(
                f"{slug} has no run of profile '{profile}': `reprise run {slug} --profile {profile}` first"
            )
        if last.fingerprint != orders.make(card, profile).fingerprint:
            raise RepriseError(
                f"{slug}: its last run is older than its code: `reprise run {slug} --profile {profile}` first"
            )
        console.print(str(archive.record(last)), soft_wrap=True)


@cli.command()
@click.argument("before")
@click.argument("after")
def compare(before: str, after: str) -> int:
    """Drift of measured values between two runs or sets of runs.

    BEFORE and AFTER are `build` (the last build), a device recorded under results/ (such as `cpu`), a folder, or a
    file. A claim drifts when its verdict changes or its value moves by more than its spread over samples (5 % without
    samples).
    """
    drifts = archive.compare(archive.load(before), archive.load(after))
    table = Table("paper", "claim", before, after, "shift / spread", "")
    for drift in drifts:
        shift = "–" if drift.shift is None else f"{drift.shift:+.2f}"
        flag = "verdict changed" if drift.flipped else "drift" if drift.drifted else ""
        table.add_row(drift.slug, drift.claim, drift.before, drift.after, shift, flag)
    console.print(table)
    drifted = sum(drift.drifted for drift in drifts)
    console.print(f"{drifted} of {len(drifts)} claims drifted")
    return SURPRISE if drifted else OK


@cli.command()
@click.argument("reference", metavar="ARXIV-ID")
@click.option("--slug", help="For a paper outside the catalogue.")
@click.option("--part", help="For a paper outside the catalogue.")
@click.option("--title", help="For a paper outside the catalogue.")
def new(reference: str, slug: str | None, part: str | None, title: str | None) -> None:
    """Begin a paper: a card and a notebook to fill in, and its line in _toc.yml."""
    card, notebook = skeleton.new(reference, slug=slug, part=part, title=title)
    console.print(
        f"{card}\n{notebook}\nNow write the claims, with their criteria, before the experiment.", soft_wrap=True
    )


if __name__ == "__main__":
    main()
