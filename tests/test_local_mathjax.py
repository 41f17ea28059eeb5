"""The book serves its own MathJax: a reader without a network sees formulas."""

import importlib.util
from types import SimpleNamespace

import pytest

from reprise import paths


@pytest.fixture(scope="module")
def extension():
    path = paths.root() / "book" / "_extensions" / "local_mathjax.py"
    spec = importlib.util.spec_from_file_location("local_mathjax", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def app(folder, form):
    return SimpleNamespace(outdir=folder, builder=SimpleNamespace(format=form))


def test_html_gets_the_bundle_and_its_fonts(extension, tmp_path):
    extension.copy_mathjax(app(tmp_path, "html"), None)
    folder = tmp_path / "_static" / "mathjax"
    assert (folder / extension.BUNDLE).stat().st_size > 1_000_000
    assert len(list((folder / extension.FONTS).rglob("*.woff"))) > 20
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 4_000_000


@pytest.mark.parametrize(("form", "error"), [("latex", None), ("html", ValueError("the build failed"))])
def test_nothing_is_copied_otherwise(extension, tmp_path, form, error):
    extension.copy_mathjax(app(tmp_path, form), error)
    assert not list(tmp_path.iterdir())


def test_pages_load_the_copy(extension):
    handlers = {}
    extension.setup(SimpleNamespace(connect=lambda event, handler: handlers.setdefault(event, handler)))
    config = SimpleNamespace()
    handlers["config-inited"](None, config)
    assert config.mathjax_path == f"mathjax/{extension.BUNDLE}"
