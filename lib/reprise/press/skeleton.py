"""A new paper: a card and a notebook to be filled in, and its line in the table of contents."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from reprise import cards, paths
from reprise.errors import RepriseError, closest
from reprise.press import catalogue
from reprise.press.catalogue import Entry
from reprise.press.orders import write_whole

CARD_CLAIM = """\
claims:
  - id: what-is-claimed
    statement: "One sentence of the paper that could turn out false."
    where: "Section, theorem or figure"
    paper: null  # the paper's own number, if it gives one
    measure: "exactly what is computed, over which seeds and sizes"
    criterion: {at_most: 0.1}  # fixed before the result is known
    kind: sharp  # sharp, comparison or qualitative
profiles:
  gpu: {}
"""

NOTEBOOK = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # {title}
#
# The idea in plain words, then in equations, every symbol explained where it first stands.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it

# %%
from reprise.claims import open_paper
from reprise.plotting import use_style

use_style()
paper = open_paper("{slug}", globals())

# %% [markdown]
# ## The method

# %% [markdown]
# ## The experiment

# %%
paper.report("what-is-claimed", float("nan"))

# %% [markdown]
# ## What differs from the paper
#
# ## Things to try

# %%
paper.verdicts()
"""


def new(reference: str, **given: str) -> tuple[Path, Path]:
    """Write the skeleton of a paper.

    Args:
        reference: an arXiv id or a slug of the catalogue.
        given: ``slug``, ``part``, ``title`` for a paper that is not in the catalogue.

    Returns:
        The paths of card and notebook. Raises `RepriseError` rather than overwrite anything.
    """
    listing = catalogue.load()
    entry = listing.find(reference) or _entry(reference, given)
    if entry.part not in listing.parts:
        raise RepriseError(
            f"unknown part '{entry.part}'{closest(entry.part, listing.parts)}; there is {', '.join(listing.parts)}"
        )
    if entry.slug in cards.find():
        raise RepriseError(f"'{entry.slug}' is in the book already: {cards.find()[entry.slug]}")
    card = paths.notebooks() / entry.part / f"{entry.slug}.yaml"
    notebook = card.with_suffix(".py")
    if notebook.exists():
        raise RepriseError(f"{notebook} exists already")
    contents = _listed(entry)
    write_whole(card, _bibliography(entry) + CARD_CLAIM)
    write_whole(notebook, NOTEBOOK.format(title=entry.title, slug=entry.slug))
    write_whole(paths.root() / "_toc.yml", contents)
    return card, notebook


def _entry(reference: str, given: dict[str, str]) -> Entry:
    missing = [f"--{key}" for key in ("slug", "part", "title") if not given.get(key)]
    if missing:
        raise RepriseError(f"'{reference}' is not in notebooks/catalogue.yaml: give {', '.join(missing)} as well")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given["slug"]):
        raise RepriseError(f"'{given['slug']}' is no slug: small letters, digits and single hyphens")
    year = re.match(r"(\d\d)\d\d\.\d+", reference)
    return Entry(
        given["slug"], given["part"], given["title"], ["AUTHORS"], 2000 + int(year[1]) if year else 0,
        reference.removeprefix("arXiv:") if year else "",
    )  # fmt: skip


def _bibliography(entry: Entry) -> str:
    fields = {
        "slug": entry.slug, "part": entry.part, "title": entry.title, "authors": list(entry.authors),
        "year": entry.year, "arxiv": str(entry.arxiv), "code": "",
    }  # fmt: skip
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1000)


def _listed(entry: Entry) -> str:
    """The table of contents with one more line below the paper's part, all else as it was."""
    path = paths.root() / "_toc.yml"
    lines = path.read_text(encoding="utf-8").splitlines()
    part = [i for i, line in enumerate(lines) if re.fullmatch(rf"\s*- file: parts/{entry.part}", line)]
    if not part:
        raise RepriseError(f"{path} has no line for parts/{entry.part}; add one first")
    at, indent = part[0] + 1, " " * (len(lines[part[0]]) - len(lines[part[0]].lstrip()) + 2)
    if at >= len(lines) or lines[at].strip() != "sections:":
        lines.insert(at, f"{indent}sections:")
    while at + 1 < len(lines) and lines[at + 1].startswith(f"{indent}  - file: papers/"):
        at += 1
    lines.insert(at + 1, f"{indent}  - file: papers/{entry.slug}")
    return "\n".join(lines) + "\n"
