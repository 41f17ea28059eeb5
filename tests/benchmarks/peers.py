"""Peers that do not belong into the project's environment get one of their own, in the user's cache, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def peer_python(name: str, packages: list[str]) -> Path:
    """The Python of a peer's environment, which is made if it is missing.

    Args:
        name: of the environment, with the peer's version: ``torch-2.13.0``.
        packages: requirements for pip.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "reprise" / name
    python = cache / "bin" / "python"
    if not (cache / "ready").exists():
        print(f"making an environment for the peer in {cache} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (cache / "ready").touch()
    return python
