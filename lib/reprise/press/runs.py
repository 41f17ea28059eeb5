"""What runs left behind: the small JSON beside each executed notebook, and the questions asked of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reprise.claims import RECORD_MIME
from reprise.errors import RepriseError
from reprise.press import orders
from reprise.press.orders import Order


@dataclass(frozen=True)
class Run:
    """One execution of a notebook.

    Attributes:
        slug, profile, parameters, fingerprint: the order that was executed.
        status: ``ok`` (it ran to its end and left its record) or ``failed``.
        seconds: wall time, kernel start included.
        error: ``{"name", "text", "traceback"}`` of a failed run.
        record: the record found in the notebook (a failed run may have one too).
    """

    slug: str
    profile: str
    parameters: dict[str, Any]
    fingerprint: str
    status: str
    seconds: float
    error: dict[str, Any] | None
    record: dict[str, Any] | None

    @staticmethod
    def of(order: Order, executed, seconds: float, error: dict[str, Any] | None) -> Run:
        """The run of an order, from its executed notebook."""
        record = find_record(executed)
        if error is None and record is None:
            error = {"name": "ClaimError", "text": "the notebook never called paper.verdicts()", "traceback": ""}
        status = "failed" if error else "ok"
        return Run(
            order.slug, order.profile, order.parameters, order.fingerprint, status, round(seconds, 2), error, record
        )

    @property
    def claims(self) -> list[dict[str, Any]]:
        """The reported claims, as the record holds them."""
        return self.record["claims"] if self.record else []

    @property
    def surprises(self) -> list[dict[str, Any]]:
        """Claims whose verdict is not the one the card expects."""
        return [claim for claim in self.claims if not claim["as_expected"]]

    @property
    def good(self) -> bool:
        """Whether it ran to its end with every verdict as expected."""
        return self.status == "ok" and not self.surprises

    def summary(self) -> str:
        """One line: failure, or claims reproduced, and the time."""
        if self.status == "failed":
            first_line = (self.error["text"].splitlines() or [""])[0]
            return f"FAILED after {self.seconds:.1f} s: {self.error['name']}: {first_line}"
        held = sum(claim["verdict"] == "reproduced" for claim in self.claims)
        odd = "".join(f", UNEXPECTED {c['verdict']}: {c['id']}" for c in self.surprises)
        return f"{held} of {len(self.claims)} claims reproduced{odd}, {self.seconds:.1f} s"

    def to_json(self) -> str:
        """The run as JSON text."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


def find_record(notebook) -> dict[str, Any] | None:
    """The record inside an executed notebook (an `nbformat` node), or None."""
    for cell in reversed(notebook.cells):
        for output in cell.get("outputs", []):
            if RECORD_MIME in output.get("data", {}):
                return dict(output["data"][RECORD_MIME])
    return None


def read(path: Path) -> Run:
    """The run in a ``.json`` file or in an executed ``.ipynb``; raises `RepriseError` if there is none."""
    try:
        if path.suffix == ".ipynb":
            return _from_notebook(path)
        return Run(**json.loads(path.read_text()))
    except OSError as error:
        raise RepriseError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError):
        raise RepriseError(f"{path}: does not hold a run; give an executed notebook or the .json beside it") from None


def _from_notebook(path: Path) -> Run:
    import nbformat

    record = find_record(nbformat.read(path, 4))
    if record is None:
        raise ValueError
    return Run(record["slug"], "ci", record["parameters"], record["fingerprint"], "ok", record["wall_s"], None, record)


def last(slug: str, profile: str = "ci") -> Run | None:
    """The book's last run of a paper, or None if it was never executed."""
    path = orders.executed(slug, profile)
    path = path.with_name(path.name + ".json")
    return read(path) if path.exists() else None
