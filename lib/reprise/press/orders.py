"""Orders: small files that say what to run, rewritten only when a run's fingerprint changes.

An order ``<run>.order`` is the single input of the run ``<run>.ipynb`` + ``<run>.json``, so a workflow that
compares dates redoes a run exactly when its fingerprint changed. Builds and sweeps differ only in their orders.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reprise import cards, notebooks, paths, provenance
from reprise.cards import Card

SUFFIX = ".order"


@dataclass(frozen=True)
class Order:
    """A run to be done: a paper, a profile, all its parameters, and the fingerprint that its outputs will have."""

    slug: str
    profile: str
    parameters: dict[str, Any]
    fingerprint: str


def make(card: Card, profile: str = "ci", overrides: dict[str, Any] | None = None) -> Order:
    """The order for one paper; raises `ParameterError` for parameters that the notebook does not take."""
    source = notebooks.read(card.notebook)
    parameters = notebooks.resolve(source, card, profile, overrides)
    return Order(card.slug, profile, parameters, provenance.fingerprint(source, card, parameters))


def executed(slug: str, profile: str = "ci") -> Path:
    """Where the book's run of a paper lies, without a suffix."""
    return paths.build() / "executed" / profile / slug


def place(order: Order, run: Path) -> Path:
    """Write the order of ``run`` unless the same order is there already; returns the order's path."""
    path = run.with_name(run.name + SUFFIX)
    text = json.dumps(asdict(order), indent=1, sort_keys=True)
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return path


def place_all(profile: str = "ci") -> dict[str, Card]:
    """Write the orders of every paper that has this profile; returns their cards by slug."""
    chosen = {slug: card for slug, card in cards.load_all().items() if profile == "ci" or profile in card.profiles}
    for slug, card in chosen.items():
        place(make(card, profile), executed(slug, profile))
    return chosen


def read(path: Path) -> Order:
    """The order in a file."""
    return Order(**json.loads(path.read_text()))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is never seen half-written, whatever interrupts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
