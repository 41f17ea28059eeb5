"""Recorded results: ``results/<device>/<slug>.json``, written on request, kept in git, and compared with later runs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprise import paths, provenance
from reprise.claims import measured_text
from reprise.errors import RepriseError, closest
from reprise.press import orders, runs
from reprise.press.runs import Run

#: A claim without samples has no spread of its own; this relative change counts as drift.
RELATIVE_DRIFT = 0.05


def folder() -> Path:
    """Where recorded results are."""
    return paths.root() / "results"


def record(run: Run) -> Path:
    """Keep a run as the result of its device; raises `RepriseError` for a failed run."""
    if run.status == "failed":
        raise RepriseError(f"{run.slug}: its last run failed, so there is nothing to record")
    target = folder() / provenance.device_name(run.record["device"]) / f"{run.slug}.json"
    orders.write_whole(target, run.to_json() + "\n")
    return target


def recorded(slug: str) -> dict[str, Run]:
    """The recorded runs of a paper by device, sorted."""
    return {path.parent.name: runs.read(path) for path in sorted(folder().glob(f"*/{slug}.json"))}


def cell(run: Run, claim_id: str) -> str:
    """A recorded claim as a table cell: mark and value, or a dash if that run did not have the claim."""
    for claim in run.claims:
        if claim["id"] == claim_id:
            mark = "✔" if claim["verdict"] == "reproduced" else "✘"
            return f"{mark} {measured_text(claim)}"
    return "–"


def load(name: str) -> dict[str, Run]:
    """Runs by slug from what a user names: ``build``, a device of ``results/``, a folder, ``.json`` or ``.ipynb``."""
    path = Path(name)
    if path.is_file():
        run = runs.read(path)
        return {run.slug: run}
    choices = {"build": orders.executed("x").parent}
    choices |= {device.name: device for device in sorted(folder().glob("*")) if device.is_dir()}
    directory = choices.get(name, path)
    found = {run.slug: run for run in map(runs.read, sorted(directory.glob("*.json")))}
    if not found:
        raise RepriseError(
            f"no runs in '{name}'{closest(name, choices)}; give a file, a folder, or one of {', '.join(choices)}"
        )
    return found


@dataclass(frozen=True)
class Drift:
    """How far a claim moved from one run to another.

    Attributes:
        slug, claim: which claim.
        before, after: measured values as text.
        shift: change of the value in units of the spread (a sample standard deviation, the larger of the two runs), or
            of `RELATIVE_DRIFT` of the value where there are no samples; None where a value is missing.
        flipped: whether the verdict changed.
    """

    slug: str
    claim: str
    before: str
    after: str
    shift: float | None
    flipped: bool

    @property
    def drifted(self) -> bool:
        """Whether this is more than the spread over seeds explains."""
        return self.flipped or (self.shift is not None and abs(self.shift) > 1)


def compare(before: dict[str, Run], after: dict[str, Run]) -> list[Drift]:
    """Every claim that both sets of runs have; raises `RepriseError` when they share none."""
    pairs = [
        (slug, first, second)
        for slug in sorted(before.keys() & after.keys())
        for first in before[slug].claims
        for second in after[slug].claims
        if first["id"] == second["id"]
    ]
    if not pairs:
        raise RepriseError("the two sets of runs have no claim in common")
    return [
        Drift(slug, a["id"], measured_text(a), measured_text(b), _shift(a, b), a["verdict"] != b["verdict"])
        for slug, a, b in pairs
    ]


def _shift(a: dict[str, Any], b: dict[str, Any]) -> float | None:
    values = (a["value"], b["value"])
    if any(value is None or isinstance(value, bool) for value in values):
        return None
    difference = values[1] - values[0]
    spread = max(_deviation(a), _deviation(b)) or RELATIVE_DRIFT * abs(values[0])
    return difference / spread if spread else (0.0 if difference == 0 else float("inf"))


def _deviation(claim: dict[str, Any]) -> float:
    samples = [s for s in claim["samples"] if s is not None]
    return statistics.stdev(samples) if len(samples) > 1 else 0.0
