"""Bind the pages into HTML with Jupyter Book: ``python -m reprise.press.bind`` leaves ``build/html/``.

Warnings are errors. Sphinx keeps its own state, so only changed pages are read again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reprise import paths

OPTIONS = ("-W", "--keep-going")


def main() -> None:
    """Build the book; on warnings print Sphinx's log and exit with 1."""
    build = paths.build()
    log = build / "book.log"
    build.mkdir(parents=True, exist_ok=True)
    print(f"binding the book (log: {log}) ...", flush=True)
    with log.open("w") as stream:
        root = paths.root()
        command = [
            Path(sys.executable).with_name("jupyter-book"), "build", root / "book", "--config", root / "_config.yml",
            "--toc", root / "_toc.yml", "--path-output", build, *OPTIONS,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=root, stdout=stream, stderr=subprocess.STDOUT)
    if done.returncode:
        print(log.read_text())
        print(f"the book did not build cleanly: warnings are errors; the log above is {log}")
        sys.exit(1)
    short = build / "html"
    if not short.is_symlink():
        short.symlink_to(Path("_build") / "html", target_is_directory=True)
    print(f"the book is in {short / 'index.html'}")


if __name__ == "__main__":
    main()
