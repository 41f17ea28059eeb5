"""The catalogue: all papers of the book by part, performed or still to come (``notebooks/catalogue.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from reprise import paths
from reprise.errors import CardError


@dataclass(frozen=True)
class Entry:
    """A paper of the catalogue."""

    slug: str
    part: str
    title: str
    authors: list[str]
    year: int
    arxiv: str


@dataclass(frozen=True)
class Catalogue:
    """Parts in the order of the book (titles by id), and every paper."""

    parts: dict[str, str]
    papers: list[Entry]

    def find(self, text: str) -> Entry | None:
        """The paper with this slug or arXiv id (with or without ``arXiv:`` and a version), or None."""
        wanted = text.lower().removeprefix("arxiv:").split("v")[0] if text[-1:].isdigit() else text
        return next((paper for paper in self.papers if wanted in (paper.slug, paper.arxiv)), None)


def load() -> Catalogue:
    """Read the catalogue; raises `CardError` if it is missing or malformed."""
    path = paths.notebooks() / "catalogue.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Catalogue({part["id"]: part["title"] for part in data["parts"]}, [Entry(**p) for p in data["papers"]])
    except OSError as error:
        raise CardError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise CardError(f"{path}: not a catalogue of `parts` and `papers` ({error})") from None
