"""Sweeps: one paper over a grid of parameters, run by the book's workflow, left as a tidy CSV and a figure."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from reprise import cards, notebooks, paths
from reprise.cards import Card
from reprise.errors import ParameterError, RepriseError
from reprise.press import orders, runs
from reprise.press.runs import Run

Grid = dict[str, list[Any]]


def parse_value(source: notebooks.Source, name: str, text: str, slug: str) -> Any:
    """One parameter's value from the command line; raises `ParameterError` if it is not of the parameter's type."""
    default = source.parameters[name].default if name in source.parameters else None
    if isinstance(default, str):
        return notebooks.check(source, name, text, slug)
    if isinstance(default, float):
        # YAML reads 1e-3 as text.
        try:
            return notebooks.check(source, name, float(text), slug)
        except ValueError:
            pass
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    return notebooks.check(source, name, value, slug)


def parse_grid(source: notebooks.Source, terms: list[str], slug: str) -> Grid:
    """Grid axes from ``name=value,value,...`` or ``name=first..last`` (whole numbers, both ends included).

    Lists are values too: ``widths=[64,128],[64,256]``.
    """
    grid: Grid = {}
    for term in terms:
        name, equals, text = term.partition("=")
        if not equals or not text:
            raise ParameterError(f"'{term}' is not an axis; write name=value,value,... or name=first..last")
        if name in grid:
            raise ParameterError(f"parameter '{name}' is swept twice")
        values = [parse_value(source, name, part, slug) for part in _expand(text)]
        grid[name] = list({repr(value): value for value in values}.values())
    return grid


def _expand(text: str) -> list[str]:
    span = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", text)
    if span:
        first, last = map(int, span.groups())
        if last < first:
            raise ParameterError(f"the range {text} is empty; write the smaller number first")
        return [str(i) for i in range(first, last + 1)]
    # Commas separate values, but not inside brackets.
    return re.findall(r"(?:\[[^\]]*\]|\([^)]*\)|[^,\[\]()])+", text)


def sweep(
    slug: str, terms: list[str], profile: str = "ci", cores: str = "all", gpus: int = 1
) -> tuple[Path, list[Run]]:
    """Run a paper over a grid; finished runs of earlier, interrupted or overlapping sweeps are not repeated.

    Returns:
        The CSV's path (the figure lies beside it, as ``.svg``) and the runs that finished, in the grid's order.
    """
    card = cards.load(slug)
    grid = parse_grid(notebooks.read(card.notebook), terms, slug)
    folder = paths.build() / "sweeps" / slug
    places = {}
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        order = orders.make(card, profile, point)
        place = folder / profile / _name(point)
        orders.place(order, place)
        places[place] = point
    targets = [f"{place}.json" for place in places]
    _snakemake(targets, profile, cores, gpus)
    finished = [runs.read(Path(target)) for target in targets if Path(target).exists()]
    if not finished:
        raise RepriseError("no run of the sweep finished; see the messages above")
    name = "-".join(grid)
    csv = folder / f"{name}.csv"
    frame = table(card, finished, list(grid))
    orders.write_whole(csv, frame.to_csv(index=False))
    draw(card, frame, grid, csv.with_suffix(".svg"))
    return csv, finished


def _name(point: dict[str, Any]) -> str:
    text = ",".join(f"{name}={value}" for name, value in point.items())
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text) or "default"


def _snakemake(targets: list[str], profile: str, cores: str, gpus: int) -> None:
    root = paths.root()
    command = [
        sys.executable, "-m", "snakemake", "--directory", str(root), "--snakefile", str(root / "Snakefile"),
        "--cores", cores, "--resources", f"gpu={gpus}", "--config", f"profile={profile}", "--", *targets,
    ]  # fmt: skip
    done = subprocess.run(command)
    if done.returncode == 130:
        raise KeyboardInterrupt


def table(card: Card, finished: list[Run], swept: list[str]) -> pd.DataFrame:
    """One row a run: swept parameters, status, seconds, and every claim's value and (``<id>:verdict``) verdict."""
    rows = []
    for run in finished:
        row = {name: run.parameters[name] for name in swept} | {"status": run.status, "seconds": run.seconds}
        measured = {claim["id"]: claim for claim in run.claims}
        for claim in card.claims:
            result = measured.get(claim.id, {"value": None, "verdict": None})
            row |= {claim.id: result["value"], f"{claim.id}:verdict": result["verdict"]}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(card: Card, frame: pd.DataFrame, grid: Grid, path: Path) -> None:
    """One panel a claim: its value against the first axis of the grid that is not ``seed``, its criterion shaded.

    A second such axis becomes the colour; all else (seeds, further axes) scatters.
    """
    import matplotlib.pyplot as plt

    from reprise.plotting import PALETTE, use_style

    use_style()
    axes_names = [name for name in grid if name != "seed"] or list(grid)
    first, hue = axes_names[0], axes_names[1] if len(axes_names) > 1 else None
    figure, panels = plt.subplots(1, len(card.claims), figsize=(3.4 * len(card.claims), 3.2), squeeze=False)
    for panel, claim in zip(panels[0], card.claims, strict=True):
        groups = frame.groupby(frame[hue].map(str), sort=False) if hue else [("", frame)]
        for color, (label, group) in zip(itertools.cycle(PALETTE.values()), groups, strict=False):
            _points(panel, group[first], pd.to_numeric(group[claim.id], errors="coerce"), color, f"{hue} = {label}")
        _shade(panel, claim.criterion)
        panel.set(title=claim.id, xlabel=first)
        numeric = pd.to_numeric(frame[first], errors="coerce")
        if numeric.min() > 0 and numeric.max() > 20 * numeric.min():
            panel.set_xscale("log")
    if hue:
        panels[0][0].legend()
    panels[0][0].set_ylabel("measured")
    figure.savefig(path)
    plt.close(figure)


def _points(panel, x: pd.Series, y: pd.Series, color: str, label: str) -> None:
    numeric = pd.api.types.is_numeric_dtype(x)
    x = x if numeric else x.map(str)
    panel.plot(x, y.astype(float), "o", color=color, alpha=0.6, label=label)
    if numeric:
        middle = y.astype(float).groupby(x).median()
        panel.plot(middle.index, middle.values, color=color, linewidth=1)


def _shade(panel, criterion) -> None:
    low, high = panel.get_ylim()
    panel.axhspan(max(low, criterion.low), min(high, criterion.high), color="0.5", alpha=0.15, linewidth=0)
    panel.set_ylim(low, high)
