import pytest

from conftest import CARD
from reprise import cards
from reprise.press import assemble, catalogue, reference, scoreboard, verdicts
from reprise.press.runs import Run


def claim(verdict: str, expected: str = "reproduced") -> dict:
    return {
        "id": "small", "statement": "x < y", "criterion": {"at_most": 1.0}, "criterion_text": "at most 1", "value": 0.5,
        "problem": "", "samples": [], "verdict": verdict, "expected": expected, "as_expected": verdict == expected,
    }  # fmt: skip


def run(slug: str, *claims: dict, error: dict | None = None) -> Run:
    record = {"claims": list(claims), "peak_mb": 400.0}
    return Run(slug, "ci", {"seed": 0}, "f" * 20, "failed" if error else "ok", 2.5, error, record)


@pytest.fixture
def book(tmp_path):
    book = {}
    for slug in ("one", "two", "three"):
        path = tmp_path / "alpha" / f"{slug}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(CARD.format(slug=slug, part="alpha"))
        book[slug] = cards.read(path)
    return book


def test_counts_add_up_and_what_did_not_run_is_counted(book):
    built = {"one": run("one", claim("reproduced")), "two": run("two", claim("not-reproduced"))}
    counts = scoreboard.count(book, built)
    assert (counts["reproduced"], counts["not-reproduced"], counts["failed"]) == (1, 1, 1)
    assert "**3** of 187 papers" in scoreboard.totals(book, built, 187)
    table = scoreboard.claims_table(book, built, {"alpha": "Alpha"})
    assert list(table["verdict"]) == ["✔ reproduced", "✘ not reproduced", "run failed"]
    assert "| {doc}`Alpha <parts/alpha>` | 3 | 1 | 1 | 1 |" in scoreboard.part_totals(book, built, {"alpha": "Alpha"})


def test_the_last_word_lists_surprises_in_both_directions_and_failures(book):
    built = {
        "one": run("one", claim("reproduced", expected="not-reproduced")),
        "two": run("two", claim("not-reproduced", expected="not-reproduced")),
        "three": run("three", error={"name": "ValueError", "text": "bad\nworse", "traceback": ""}),
    }
    text, good = verdicts.report(book, built)
    assert not good
    assert "one: 1 of 1 claims reproduced, UNEXPECTED reproduced: small" in text
    assert "two:" not in text
    assert "three: FAILED after 2.5 s: ValueError: bad" in text
    del book["one"], book["three"]
    assert verdicts.report(book, {"two": built["two"]})[1]


def test_a_failure_notice_is_safe_html(book):
    notice = assemble.failure(run("one", error={"name": "E", "text": "", "traceback": "\x1b[31m<b>\nx\x1b[0m"}))
    assert "&lt;b&gt;&#10;x" in notice
    assert "\x1b" not in notice


def test_catalogue_finds_papers_by_slug_and_arxiv_id_and_marks_those_to_come(book):
    listing = catalogue.load()
    assert listing.find("1806.07572").slug == "neural-tangent-kernel"
    assert listing.find("arXiv:1806.07572v3").slug == "neural-tangent-kernel"
    assert listing.find("sven").arxiv == "2604.01279"
    assert listing.find("0000.00000") is None
    page = scoreboard.catalogue_page({"sven": None}, listing)
    assert page.count("*To come.*") == len(listing.papers) - 1
    assert "<papers/sven>`" in page


def test_reference_pages_cover_every_module():
    pages = reference.pages()
    assert ".. automodule:: reprise.training.loop" in pages["training"]
    assert ".. automodule:: reprise.claims" in pages["claims"]
    assert "{doc}`reprise.training <training>`" in pages["index"]
