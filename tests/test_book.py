"""The form of every notebook, card and page: what a reader relies on without thinking of it."""

import ast
import re

import jupytext
import pytest

from reprise import cards, notebooks, paths
from reprise.press import catalogue

CARDS = cards.load_all()
EACH = pytest.mark.parametrize("slug", CARDS)


@pytest.fixture(scope="module")
def contents() -> list[str]:
    """Files of the table of contents, in order."""
    return re.findall(r"- file: (\S+)", (paths.root() / "_toc.yml").read_text())


@pytest.fixture(scope="module")
def bibliography() -> set[str]:
    return set(re.findall(r"^@\w+\{([^,]+),", (paths.root() / "book" / "references.bib").read_text(), re.MULTILINE))


def markdown(source) -> str:
    return "\n\n".join(cell.source for cell in source.notebook.cells if cell.cell_type == "markdown")


def test_bibliography_has_no_key_twice():
    keys = re.findall(r"^@\w+\{([^,]+),", (paths.root() / "book" / "references.bib").read_text(), re.MULTILINE)
    assert sorted(keys) == sorted(set(keys))


def test_every_part_has_its_page_and_catalogue_and_contents_agree(contents):
    listing = catalogue.load()
    assert {f"parts/{part}" for part in listing.parts} <= set(contents)
    assert len(listing.papers) == len({paper.slug for paper in listing.papers})
    assert {paper.part for paper in listing.papers} <= set(listing.parts)
    listed = [file.removeprefix("papers/") for file in contents if file.startswith("papers/")]
    assert sorted(listed) == sorted(CARDS)


@EACH
def test_card_agrees_with_the_catalogue(slug):
    card = CARDS[slug]
    entry = next((paper for paper in catalogue.load().papers if paper.slug == slug), None)
    if entry:
        assert (entry.part, entry.title, tuple(entry.authors), entry.year, str(entry.arxiv)) == (
            card.part, card.title, card.authors, card.year, card.arxiv,
        )  # fmt: skip


@EACH
def test_profiles_fit_the_parameters(slug):
    card = CARDS[slug]
    source = notebooks.read(card.notebook)
    assert "gpu" in card.profiles
    for profile in card.profiles:
        notebooks.resolve(source, card, profile)
    assert all(parameter.comment for parameter in source.parameters.values())


@EACH
def test_every_claim_is_reported_once_and_verdicts_come_last(slug):
    source = notebooks.read(CARDS[slug].notebook)
    calls = [
        node.args[0].value
        for code in source.code
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "report"
    ]
    assert sorted(calls) == sorted(claim.id for claim in CARDS[slug].claims)
    assert source.code[-1].strip() == "paper.verdicts()"


@EACH
def test_jupytext_needs_no_hint_to_read_it(slug):
    source = notebooks.read(CARDS[slug].notebook)
    assert [cell.source for cell in jupytext.read(source.path).cells] == [cell.source for cell in source.notebook.cells]


@EACH
def test_page_opens_with_its_title_cites_and_says_what_differs(slug, bibliography):
    source = notebooks.read(CARDS[slug].notebook)
    text = markdown(source)
    assert source.notebook.cells[0].source.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    cited = {key.strip() for group in re.findall(r"\{cite:\w+\}`([^`]+)`", text) for key in group.split(",")}
    assert cited, "a page cites at least its own paper"
    assert cited <= bibliography
    assert "## What differs from the paper" in text
    assert "## Things to try" in text
    assert re.search(r"\{doc\}`", text), "a page links to related papers"


@EACH
def test_every_figure_has_alt_text_and_a_reading(slug):
    cells = notebooks.read(CARDS[slug].notebook).notebook.cells
    for i, cell in enumerate(cells):
        if cell.cell_type == "code" and "plt.show()" in cell.source:
            assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), cell.source[:80]
            assert "markdown" in {cells[j].cell_type for j in (i - 1, i + 1) if j < len(cells)}


@EACH
def test_numbered_equations_break_their_lines_by_cr(slug):
    # Sphinx puts what contains `\\` into a split environment, where MathJax refuses \tag and shows the source.
    for equation in re.findall(r"\$\$(.+?)\$\$", markdown(notebooks.read(CARDS[slug].notebook)), re.DOTALL):
        assert not (r"\tag" in equation and r"\\" in equation), equation


@EACH
def test_related_papers_and_the_parts_introduction_link_to_it(slug):
    book = paths.root() / "book"
    assert f"/papers/{slug}" in (book / "parts" / f"{CARDS[slug].part}.md").read_text()


def test_pins_are_exact_and_hold_no_addresses():
    for line in (paths.root() / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", line), line
