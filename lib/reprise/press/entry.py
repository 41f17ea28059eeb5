"""How the press's steps are called from the workflow: an error that is the user's to mend is one line, no traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from reprise.errors import RepriseError


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn a `RepriseError` into its message and exit code 2."""
    try:
        yield
    except RepriseError as error:
        print(f"reprise: {error}", file=sys.stderr)
        sys.exit(2)
