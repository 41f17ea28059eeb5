import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprise import cards
from reprise.cards import parse_criterion
from reprise.errors import CardError, RepriseError

GOOD = """\
slug: some-paper
part: alpha
title: "A title"
authors: [Ada Lovelace]
year: 2020
arxiv: "2001.00001"
code: ""
claims:
  - id: first
    statement: "It is so."
    where: "Theorem 1"
    paper: 0.5
    measure: "a number"
    criterion: {between: [0.4, 0.6]}
    kind: sharp
  - id: second
    statement: "It is not so."
    where: "Theorem 2"
    measure: "a number"
    criterion: {at_most: 1.0e-3}
    kind: qualitative
    expect: not-reproduced
    why: "too small a scale"
profiles:
  gpu: {width: 8192}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        (tmp_path / "alpha").mkdir(exist_ok=True)
        path = tmp_path / "alpha" / "some-paper.yaml"
        path.write_text(text)
        return path

    return write


def test_a_good_card(write):
    card = cards.read(write(GOOD))
    assert [claim.id for claim in card.claims] == ["first", "second"]
    assert card.claim("second").expect == "not-reproduced"
    assert card.profiles == {"gpu": {"width": 8192}}
    assert card.notebook.name == "some-paper.py"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("year: 2020", "year: soon", 5, "year: must be a whole number, not 'soon'"),
        ("year: 2020\n", "", 1, "year: is missing from this card"),
        ("code:", "cod:", 7, "unknown key of a card (did you mean 'code'?)"),
        ("slug: some-paper", "slug: other", 1, "is 'other' but the file is named some-paper.yaml"),
        ("part: alpha", "part: beta", 2, "is 'beta' but the folder is alpha/"),
        ("id: second", "id: first", 16, "claim 'first' is already on this card"),
        ("between: [0.4, 0.6]", "between: [0.6, 0.4]", 14, "needs lo <= hi"),
        ("between: [0.4, 0.6]", "around: 0.5", 14, "'around' is not one of between"),
        ("at_most: 1.0e-3", "at_most: 1e-3", 20, "write 1.0e-3, not 1e-3"),
        ("at_most: 1.0e-3", "at_most: .nan", 20, "needs a number"),
        ("kind: sharp", "kind: blunt", 15, "'blunt' is not one of sharp"),
        ("expect: not-reproduced", "expect: maybe", 22, "'maybe' is not one of reproduced"),
        ('    why: "too small a scale"\n', "", 16, "say why"),
        ("gpu: {width: 8192}", "gpus: {width: 8192}", 25, "unknown profile"),
        ("title: ", "title: [", 4, "not valid YAML"),
        ("arxiv:", "year: 2021\narxiv:", 6, "is given twice"),
    ],
)
def test_a_broken_card_names_file_line_and_key(write, old, new, line, message):
    assert old in GOOD
    with pytest.raises(CardError) as error:
        cards.read(write(GOOD.replace(old, new, 1)))
    text = str(error.value)
    assert message in text
    assert "some-paper.yaml:" in text
    if "not valid YAML" not in message:
        assert f".yaml:{line}:" in text, text


def test_empty_and_missing_cards(write, tmp_path):
    with pytest.raises(CardError, match="mapping of keys"):
        cards.read(write(""))
    with pytest.raises(CardError, match="cannot be read"):
        cards.read(tmp_path / "nowhere.yaml")


def test_unknown_slug_suggests_a_known_one(monkeypatch, tmp_path, write):
    path = write(GOOD)
    (tmp_path / "notebooks").mkdir()
    path.parent.rename(tmp_path / "notebooks" / "alpha")
    monkeypatch.setenv("REPRISE_ROOT", str(tmp_path))
    assert cards.load("some-paper").year == 2020
    with pytest.raises(RepriseError, match="did you mean 'some-paper'"):
        cards.load("some-papre")
    (tmp_path / "notebooks" / "alpha" / "lonely.py").write_text("")
    with pytest.raises(CardError, match="has no card"):
        cards.load("lonely")


CRITERIA = [
    {"between": [-1, 1]},
    {"at_most": 1.0},
    {"at_least": -1.0},
    {"equals": {"value": 0.0, "abs": 1.0}},
    {"is_true": True},
]


@pytest.mark.parametrize("spec", CRITERIA, ids=lambda spec: next(iter(spec)))
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, np.nan, jnp.nan, None, "0", [0.0], np.zeros(1), jnp.zeros((2, 2)), 1j, {}],
    ids=repr,
)
def test_what_is_no_finite_scalar_never_passes(spec, value):
    assert not parse_criterion(spec).holds(value)


def test_truth_values_and_numbers_do_not_mix():
    assert parse_criterion({"is_true": True}).holds(np.bool_(True))
    assert parse_criterion({"is_true": True}).holds(jnp.asarray(True))
    assert not parse_criterion({"is_true": True}).holds(1.0)
    assert not parse_criterion({"is_true": True}).holds(False)
    assert not parse_criterion({"at_most": 2.0}).holds(True)


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 10))
def test_criteria_are_the_inequalities_they_name(x, bound, width):
    assert parse_criterion({"at_most": bound}).holds(x) == (x <= bound)
    assert parse_criterion({"at_least": bound}).holds(x) == (x >= bound)
    assert parse_criterion({"between": [bound, bound + width]}).holds(x) == (bound <= x <= bound + width)


def test_equals_relative_and_absolute():
    half = parse_criterion({"equals": {"value": 0.5, "rel": 0.01}})
    assert half.holds(0.5049)
    assert not half.holds(0.506)
    five = parse_criterion({"equals": {"value": 5, "abs": 0}})
    assert five.holds(np.int64(5))
    assert not five.holds(5.0001)


@pytest.mark.parametrize(
    "spec", [None, "is_true", {}, {"at_most": 1, "at_least": 0}, {"between": 1}, {"equals": 1}, {"is_true": False}]
)
def test_what_is_no_criterion(spec):
    with pytest.raises(ValueError, match=r"must be|needs|takes no"):
        parse_criterion(spec)
