"""The front page's figure: where claims stand on the staff, and that it is well-formed for books of any size."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprise import cards, claims
from reprise.press import overview

SVG = "{http://www.w3.org/2000/svg}"
CRITERIA = [
    {"between": [-0.6, -0.4]},
    {"between": [0.9, 1.1]},
    {"at_most": 0.1},
    {"at_most": 0},
    {"at_most": -0.85},
    {"at_least": 2},
    {"at_least": 0},
    {"at_least": -3},
    {"equals": {"value": 5, "abs": 0}},
    {"equals": {"value": 0.5, "rel": 0.01}},
]
numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


def record(slug, part, *measured):
    """A run's record, as notebooks leave it, from pairs of criterion and value (and samples)."""
    results = []
    for i, (criterion, value, *samples) in enumerate(measured):
        claim = cards.Claim(f"claim-{i}", "A < B & C", "Figure 1", None, "m", cards.parse_criterion(criterion), "sharp")
        plain, problem = claims._plain(value)
        results.append(claims.Result(claim, plain, list(samples), problem))
    return {"slug": slug, "part": part, "title": slug.title(), "claims": [result.record() for result in results]}


@pytest.mark.parametrize("spec", CRITERIA, ids=str)
@given(value=numbers, other=numbers)
def test_position_agrees_with_the_verdict_and_keeps_order(spec, value, other):
    criterion = cards.parse_criterion(spec)
    at = overview.position(criterion, value, scale=1.0)
    assert abs(at) <= 2
    if criterion.holds(value):
        assert abs(at) <= 1 + 1e-9
    else:
        assert abs(at) >= 1 - 1e-9
    low, high = sorted((value, other))
    assert overview.position(criterion, low, 1.0) <= overview.position(criterion, high, 1.0) + 1e-12


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        ({"between": [0.0, 2.0]}, 1.0, 0.0),
        ({"between": [0.0, 2.0]}, 2.0, 1.0),
        ({"between": [0.0, 2.0]}, -1.0, -1.5),
        ({"at_most": 0.2}, 0.05, 0.25),
        ({"at_most": 0.2}, 0.4, 1.5),
        ({"at_least": 2.0}, 4.0, -0.5),
        ({"at_least": 2.0}, 1.0, -1.5),
        ({"at_most": -0.5}, -1.0, 0.5),
        ({"at_most": -0.5}, 0.3, 2.0),
        ({"equals": {"value": 5, "abs": 0}}, 5, 0.0),
        ({"equals": {"value": 5, "abs": 0}}, 6, 2.0),
        ({"is_true": True}, True, 0.0),
        ({"is_true": True}, False, -2.0),
    ],
)
def test_position_of_known_values(spec, value, expected):
    assert overview.position(cards.parse_criterion(spec), value) == pytest.approx(expected)


def draw(tmp_path, records, parts=()):
    """Both layouts of the figure, parsed."""
    overview.draw(records, tmp_path / "claims.svg", parts)
    return [ElementTree.parse(tmp_path / name).getroot() for name in ("claims.svg", "claims-narrow.svg")]


def test_every_claim_is_a_mark_that_links_to_it(tmp_path):
    records = [
        record("one", "b", ({"at_most": 0.1}, 0.05, 0.04, 0.06), ({"at_most": 0.1}, 0.2)),
        record("two", "a", ({"is_true": True}, True), ({"at_least": 1}, math.nan), ({"between": [0, 2]}, 1)),
        record("three", "b", ({"between": [0, 1]}, 0.5)),
    ]  # fmt: skip
    for root in draw(tmp_path, records):
        marks = {a.get("href"): a for a in root.iter(f"{SVG}a") if "#claim-" in a.get("href")}
        assert len(marks) == 6
        assert sum(a.get("class") == "not-reproduced" for a in marks.values()) == 2
        assert sum(len(a.findall(f"{SVG}ellipse")) for a in marks.values()) == 4
        # Only the claim with samples has a stem; what missed its criterion unexpectedly is ringed.
        stems = [href for href, a in marks.items() for path in a.iter(f"{SVG}path") if path.get("class") == "stem"]
        assert stems == ["papers/one.html#claim-claim-0"]
        assert sum(len(a.findall(f"{SVG}circle")) for a in marks.values()) == 2
        assert "A < B & C" in marks["papers/two.html#claim-claim-1"].find(f"{SVG}title").text
        assert root.get("aria-label") == "6 claims of 3 papers: 4 reproduced, 2 not reproduced"


def test_parts_stay_together_and_in_the_order_asked_for(tmp_path):
    records = [record(slug, part, ({"at_most": 1}, 0.5)) for slug, part in (("p", "x"), ("q", "y"), ("r", "x"))]
    for order, expected in (((), ["x", "y"]), (("y", "x"), ["y", "x"])):
        root, _ = draw(tmp_path, records, order)
        assert [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "part"] == expected


@pytest.mark.parametrize("papers", [0, 1, 7, 187])
def test_stays_within_its_frame_at_every_size(tmp_path, papers):
    measured = [({"at_most": 1}, 0.5, 0.4, 0.6), ({"at_least": 1}, 0.001), ({"at_most": 1}, 1e9)] * 2
    records = [record(f"some-paper-number-{i}", f"part-{i // 12}", *measured) for i in range(papers)]
    for root, width in zip(draw(tmp_path, records), (overview.WIDTH, overview.NARROW), strict=True):
        _, _, frame, height = map(float, root.get("viewBox").split())
        assert frame == width
        assert height < (1000 if papers > 100 and width == overview.WIDTH else 150 + 60 * papers)
        notes = [*root.iter(f"{SVG}ellipse")]
        assert len(notes) == 2 * papers
        for one in notes:
            assert 0 < float(one.get("cx")) < width
            assert 0 < float(one.get("cy")) < height
