"""Where the project's folders are: ``REPRISE_ROOT`` if set, else the checkout this package is installed from."""

import os
from pathlib import Path

from reprise.errors import RepriseError


def root() -> Path:
    """The folder that holds ``notebooks/``; raises `RepriseError` when there is none to be found."""
    candidate = Path(os.environ.get("REPRISE_ROOT") or Path(__file__).parents[2]).resolve()
    if not (candidate / "notebooks").is_dir():
        raise RepriseError(
            f"no notebooks/ folder in {candidate}: install reprise from its checkout (pip install -e .) "
            "or set REPRISE_ROOT to the checkout"
        )
    return candidate


def notebooks() -> Path:
    """The folder of notebooks and cards, one subfolder a part."""
    return root() / "notebooks"


def build() -> Path:
    """The folder of everything generated (``REPRISE_BUILD``, else ``build/`` in the checkout); git ignores it."""
    return Path(os.environ.get("REPRISE_BUILD") or root() / "build").resolve()
