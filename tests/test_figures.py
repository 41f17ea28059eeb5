"""Figures of notebooks in introductions."""

import nbformat
import pytest

from reprise.errors import RepriseError
from reprise.press.figures import figure, wanted

CELL = """\
# %% tags=["hide-input", "part-figure"]
import matplotlib.pyplot as plt

from reprise.plotting import use_style

use_style()
_, ax = plt.subplots()
ax.plot([0, scale])
plt.show()

# %%
paper.verdicts()
"""


def page(*outputs, tags=("part-figure",)):
    cell = nbformat.v4.new_code_cell("plt.show()", outputs=list(outputs), metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])


def test_the_figure_is_the_tagged_cells_svg():
    text = nbformat.v4.new_output("stream", name="stdout", text="no figure")
    drawn = nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg>drawn</svg>", "text/plain": "Figure"})
    assert figure(page(text, drawn), "one") == "<svg>drawn</svg>"


def test_a_run_that_failed_before_leaves_a_notice():
    assert "one: the notebook that draws this figure failed" in figure(page(), "one")


def test_a_notebook_without_the_tag_is_one_clear_line():
    with pytest.raises(RepriseError, match="one: an introduction shows its figure, but no cell"):
        figure(page(tags=()), "one")


def test_introductions_say_which_figures_they_want(tmp_path):
    assert wanted(tmp_path) == []
    (tmp_path / "parts").mkdir()
    for name, slug in (("b", "two-words"), ("a", "one"), ("c", "one")):
        (tmp_path / "parts" / f"{name}.md").write_text(f"```{{figure}} ../_generated/figures/{slug}.svg\n```\n")
    assert wanted(tmp_path) == ["one", "two-words"]


@pytest.mark.slow
def test_the_workflow_draws_what_an_introduction_embeds(project):
    introduction = project.root / "book" / "parts" / "alpha.md"
    introduction.parent.mkdir(parents=True)
    introduction.write_text("# Alpha\n\n![what it shows](../_generated/figures/drawn.svg)\n")
    path = project.add("drawn")
    path.write_text(path.read_text().replace("# %%\npaper.verdicts()\n", CELL))
    project.snakemake("figures")
    assert "<svg" in (project.root / "book" / "_generated" / "figures" / "drawn.svg").read_text()
