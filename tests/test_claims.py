import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise import cards, notebooks
from reprise.claims import RECORD_MIME, Paper, open_paper, verdict_table, verdict_text
from reprise.errors import ClaimError
from test_cards import GOOD


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "alpha" / "some-paper.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)
    return Paper(cards.read(path), {"seed": 3, "width": 64}, "f" * 20)


def test_report_holds_the_value_against_the_criterion(paper, capsys):
    paper.report("first", jnp.float32(0.5), samples=np.ones((2, 2)))
    paper.report("second", 5)
    assert paper.results["first"].verdict == "reproduced"
    assert paper.results["second"].verdict == "not-reproduced"
    assert paper.results["second"].as_expected
    assert "✔ reproduced: first = 0.5" in capsys.readouterr().out


def test_a_surprise_is_noticed_in_both_directions(paper):
    paper.report("first", 0.9)
    paper.report("second", 0.0)
    assert not any(result.as_expected for result in paper.results.values())


def test_doing_better_than_expected_is_no_surprise_with_other_parameters(paper):
    paper.own_parameters = False
    paper.report("first", 0.9)
    paper.report("second", 0.0)
    worse, better = paper.results.values()
    assert (worse.verdict, better.verdict) == ("not-reproduced", "reproduced")
    assert not worse.as_expected
    assert better.as_expected
    record = {"claims": [worse.record(), better.record()]}
    for shown in (better.html(), verdict_table(record), verdict_text(record)):
        assert "with these parameters; not expected with the notebook" in shown
    assert "With the notebook&#x27;s own parameters: " in better.html()
    assert verdict_text(record).count("UNEXPECTED") == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, np.nan, jnp.inf, [0.5], np.array([0.5]), None, "0.5"])
def test_bad_values_are_recorded_and_do_not_pass(paper, value):
    paper.report("first", value)
    result = paper.results["first"]
    assert result.verdict == "not-reproduced"
    assert result.value is None
    assert result.problem
    json.dumps(result.record(), allow_nan=False)


def test_unknown_and_repeated_claims_are_errors(paper):
    paper.report("first", 0.5)
    with pytest.raises(ClaimError, match="'first' of some-paper is reported twice"):
        paper.report("first", 0.5)
    with pytest.raises(ClaimError, match="no claim 'secnd' .did you mean 'second'"):
        paper.report("secnd", 0.5)


def test_unreported_claims_are_named_after_the_table_is_shown(paper, capsys):
    paper.report("first", 0.5)
    with pytest.raises(ClaimError, match="claims not reported: second"):
        paper.verdicts()
    assert "first = 0.5" in capsys.readouterr().out


def test_the_record_is_strict_json_and_complete(paper):
    paper.report("first", 0.5, samples=[0.4, math.nan])
    paper.report("second", math.nan)
    record = json.loads(json.dumps(paper.record(), allow_nan=False))
    assert record["seed"] == 3
    assert record["parameters"] == {"seed": 3, "width": 64}
    assert record["fingerprint"] == "f" * 20
    assert record["versions"]["jax"]
    assert record["peak_mb"] > 10
    assert record["wall_s"] > 0
    assert record["claims"][0]["samples"] == [0.4, None]
    assert record["claims"][1]["value"] is None
    assert RECORD_MIME.endswith("+json")


def test_tables_show_every_claim(paper):
    paper.report("first", 0.9)
    paper.report("second", True)
    record = paper.record()
    assert "(unexpected)" in verdict_table(record)
    assert "UNEXPECTED, the card expects reproduced" in verdict_text(record)
    assert "second = true" in verdict_text(record)


def test_an_opened_paper_multiplies_in_full_float32_on_every_device():
    source = notebooks.read(cards.load("sven").notebook)
    before = jax.config.jax_default_matmul_precision
    try:
        jax.config.update("jax_default_matmul_precision", "bfloat16")
        open_paper("sven", {name: parameter.default for name, parameter in source.parameters.items()})
        assert jax.config.jax_default_matmul_precision == "float32"
    finally:
        jax.config.update("jax_default_matmul_precision", before)
