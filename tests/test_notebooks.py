import pytest

from conftest import CARD, NOTEBOOK
from reprise import cards, notebooks, provenance
from reprise.errors import NotebookError, ParameterError
from reprise.press import sweeps


@pytest.fixture
def sample(tmp_path):
    folder = tmp_path / "alpha"
    folder.mkdir()
    (folder / "sample.py").write_text(NOTEBOOK.format(slug="sample", imports="", value="scale * size"))
    (folder / "sample.yaml").write_text(CARD.format(slug="sample", part="alpha"))
    card = cards.read(folder / "sample.yaml")
    return card, notebooks.read(card.notebook)


def test_parameters_have_defaults_and_comments(sample):
    _, source = sample
    assert source.defaults == {"seed": 0, "size": 2, "scale": 0.1, "name": "plain"}
    assert source.parameters["size"].comment == "how much"


def test_resolution_is_defaults_then_profile_then_overrides(sample):
    card, source = sample
    assert notebooks.resolve(source, card)["size"] == 2
    assert notebooks.resolve(source, card, "gpu")["size"] == 10
    assert notebooks.resolve(source, card, "gpu", {"size": 3, "scale": 1}) == {
        "seed": 0, "size": 3, "scale": 1.0, "name": "plain",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sise": 1}, r"unknown parameter 'sise' \(did you mean 'size'\?\); it has seed, size, scale, name"),
        ({"size": 1.5}, "'size' takes a whole number such as 2, not 1.5"),
        ({"size": True}, "'size' takes a whole number"),
        ({"scale": "big"}, "'scale' takes a number such as 0.1, not 'big'"),
        ({"name": 3}, "'name' takes text such as 'plain'"),
    ],
)
def test_wrong_parameters(sample, overrides, message):
    card, source = sample
    with pytest.raises(ParameterError, match=message):
        notebooks.resolve(source, card, overrides=overrides)


def test_unknown_profile(sample):
    card, source = sample
    with pytest.raises(ParameterError, match="no profile 'gppu' .did you mean 'gpu'"):
        notebooks.resolve(source, card, "gppu")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('# %% tags=["parameters"]', "# %%", "0 cells are tagged 'parameters'"),
        ("seed = 0", "sead = 0", "no 'seed'"),
        ("scale = 0.1", "scale = 1 / 10", "'scale' is not a plain literal"),
        ("size = 2", "print(2)", "may only hold lines"),
        ("paper.verdicts()", "paper.verdicts(", "not a valid Python script"),
    ],
)
def test_broken_notebooks(sample, old, new, message):
    path = sample[0].notebook
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(NotebookError, match=message):
        notebooks.read(path)


def test_closure_follows_imports_through_modules():
    direct = provenance.closure(("from reprise.statistics.fits import loglog_slope",))
    assert direct == ["reprise", "reprise.statistics", "reprise.statistics.fits"]
    assert "reprise.errors" in provenance.closure(("import reprise.claims",))
    assert provenance.closure(("import numpy as np",)) == []


def test_fingerprint_sees_code_and_parameters_and_not_prose(sample):
    card, source = sample
    first = provenance.fingerprint(source, card, source.defaults)
    assert provenance.fingerprint(source, card, source.defaults | {"size": 3}) != first
    path = card.notebook
    path.write_text(path.read_text().replace("Prose.", "More prose."))
    assert provenance.fingerprint(notebooks.read(path), card, source.defaults) == first
    path.write_text(path.read_text().replace("scale * size", "scale + size"))
    assert provenance.fingerprint(notebooks.read(path), card, source.defaults) != first


def test_grids(sample):
    _, source = sample
    grid = sweeps.parse_grid(source, ["size=1,2,2,4", "seed=0..3", "scale=1e-3,2"], "sample")
    assert grid == {"size": [1, 2, 4], "seed": [0, 1, 2, 3], "scale": [0.001, 2.0]}
    for bad, message in [
        ("size", "is not an axis"),
        ("seed=3..1", "is empty"),
        ("width=1", "unknown parameter 'width'"),
        ("size=a", "takes a whole number"),
    ]:
        with pytest.raises(ParameterError, match=message):
            sweeps.parse_grid(source, [bad], "sample")
    with pytest.raises(ParameterError, match="swept twice"):
        sweeps.parse_grid(source, ["size=1", "size=2"], "sample")


def test_lists_are_values_of_a_grid(sample):
    path = sample[0].notebook
    path.write_text(path.read_text().replace("size = 2 ", "size = [1, 2] "))
    source = notebooks.read(path)
    assert sweeps.parse_grid(source, ["size=[64,128],[64]"], "sample") == {"size": [[64, 128], [64]]}
