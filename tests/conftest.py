"""A small project of its own for the tests of the press: this library, this workflow, three quick notebooks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CARD = """\
slug: {slug}
part: {part}
title: "Paper {slug}"
authors: [Ada Lovelace]
year: 2020
arxiv: "2001.00001"
code: ""
claims:
  - id: small
    statement: "The measured number is small."
    where: "Section 1"
    measure: "the number"
    criterion: {{at_most: 1.0}}
    kind: sharp
profiles:
  gpu: {{size: 10}}
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
# # Paper {slug}
#
# Prose.

# %% tags=["parameters"]
seed = 0  # randomness
size = 2  # how much
scale = 0.1  # how large
name = "plain"  # what it is called

# %%
{imports}
from reprise.claims import open_paper

paper = open_paper("{slug}", globals())

# %%
paper.report("small", {value}, samples=[0.1, 0.2])

# %%
paper.verdicts()
"""


class Project:
    """A checkout in a temporary folder, and its command line."""

    def __init__(self, root: Path):
        self.root = root

    def add(self, slug: str, part: str = "alpha", imports: str = "", value: str = "scale * size", card: str = CARD):
        folder = self.root / "notebooks" / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{slug}.py").write_text(NOTEBOOK.format(slug=slug, imports=imports, value=value))
        (folder / f"{slug}.yaml").write_text(card.format(slug=slug, part=part))
        return folder / f"{slug}.py"

    def run(self, *command: str, check: int | None = 0) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(self.root / "lib"), "COLUMNS": "200", "JAX_PLATFORMS": "cpu"}
        environment.pop("REPRISE_ROOT", None)
        environment.pop("REPRISE_BUILD", None)
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.root, env=environment, capture_output=True, text=True
        )
        if check is not None:
            assert done.returncode == check, f"{command} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def reprise(self, *arguments: str, check: int | None = 0) -> subprocess.CompletedProcess:
        return self.run("reprise.press.cli", *arguments, check=check)

    def snakemake(self, *targets: str, check: int | None = 0) -> subprocess.CompletedProcess:
        return self.run("snakemake", "--cores", "2", "--", *targets, check=check)

    def dates(self, suffix: str = ".json") -> dict[str, int]:
        """When each paper was last executed."""
        found = (self.root / "build" / "executed" / "ci").glob(f"*{suffix}")
        return {p.name.removesuffix(suffix): p.stat().st_mtime_ns for p in found}


def make_project(root: Path) -> Project:
    shutil.copytree(ROOT / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / "profiles", root / "profiles")
    for name in ("Snakefile", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    (root / "notebooks").mkdir()
    return Project(root)


@pytest.fixture
def project(tmp_path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))
