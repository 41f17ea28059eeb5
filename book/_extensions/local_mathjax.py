"""Serve MathJax from the book itself, so that its pages show their formulas without a network.

The files come from the package ``sphinx-mathjax-offline`` (MathJax 3). Of its 24 MB only one bundle, which holds
every TeX extension, and its fonts are needed: 1.7 MB.
"""

from importlib import resources, util
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

PACKAGE = "sphinx-mathjax-offline"
BUNDLE = "tex-chtml-full.js"
FONTS = "output/chtml/fonts"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy the bundle and its fonts to ``_static/mathjax`` of a finished HTML build."""
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    with resources.as_file(resources.files(PACKAGE) / "static" / "mathjax") as source:
        copy_asset(str(source / BUNDLE), str(target))
        copy_asset(str(source / FONTS), str(target / FONTS))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx when it loads the extension."""
    if util.find_spec(PACKAGE) is None:
        raise ExtensionError(f"{PACKAGE} is not installed; `pip install -e .[book]` brings it")
    app.connect("config-inited", lambda app, config: setattr(config, "mathjax_path", f"mathjax/{BUNDLE}"))
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
