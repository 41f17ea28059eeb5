"""Claims in a notebook: report measured values against the card, and leave the run's record in the output.

>>> paper = open_paper("neural-tangent-kernel", globals())      # reads the card, before anything is measured
>>> paper.report("init-fluctuation-rate", slope, samples=slopes)  # shows the claim and its verdict
>>> paper.verdicts()                                              # the table, and the record of the run
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprise import cards, notebooks, provenance
from reprise.cards import Card, Claim
from reprise.errors import ClaimError, closest

RECORD_MIME = "application/vnd.reprise.record+json"
SCHEMA = 1


@dataclass(frozen=True)
class Result:
    """A claim with what was measured for it.

    Attributes:
        claim: the card's claim.
        value: the reported number or truth value; None when it was not one (NaN, infinite, not a scalar).
        samples: values over seeds or repetitions behind ``value``, for its spread.
        problem: why ``value`` can never pass ("nan", "inf", "shape (3,)"), or "".
        own_parameters: whether the run has the notebook's own parameters, its seed aside: what a card expects not to
            be reproduced, it expects of these.
    """

    claim: Claim
    value: float | bool | None
    samples: list[float | None]
    problem: str = ""
    own_parameters: bool = True

    @property
    def verdict(self) -> str:
        """``reproduced`` or ``not-reproduced``."""
        return "reproduced" if not self.problem and self.claim.criterion.holds(self.value) else "not-reproduced"

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one the card expects; a surprise in either direction is False.

        With other parameters than the notebook's own, such as those of a ``gpu`` profile, a claim may be reproduced
        that the card does not expect to be: that is what larger scale is for.
        """
        return self.verdict == self.claim.expect or (not self.own_parameters and self.verdict == "reproduced")

    @property
    def measured(self) -> str:
        """The measured value as text, four significant digits."""
        return measured_text({"value": self.value, "problem": self.problem})

    def record(self) -> dict[str, Any]:
        """This result as plain JSON values."""
        claim = self.claim
        return {
            "id": claim.id,
            "statement": claim.statement,
            "where": claim.where,
            "kind": claim.kind,
            "paper": claim.paper,
            "criterion": {claim.criterion.name: claim.criterion.spec},
            "criterion_text": str(claim.criterion),
            "value": self.value,
            "problem": self.problem,
            "samples": self.samples,
            "verdict": self.verdict,
            "expected": claim.expect,
            "as_expected": self.as_expected,
            "why": claim.why,
        }

    def html(self) -> str:
        """The claim with its verdict, as an HTML block."""
        claim, escape = self.claim, html.escape
        paper = f" · paper: {escape(str(claim.paper))}" if claim.paper is not None else ""
        surprise = _better(self.record()) if self.as_expected else f" <b>(expected: {escape(claim.expect)})</b>"
        origin = "With the notebook's own parameters: " if self.as_expected and surprise else ""
        why = f"<div class='why'>{escape(origin + claim.why)}</div>" if claim.why else ""
        return (
            f"<div class='reprise-claim {self.verdict}' id='claim-{claim.id}'>"
            f"<div class='statement'><b>Claim</b> <code>{claim.id}</code> ({escape(claim.where)}). "
            f"{escape(claim.statement)}</div>"
            f"<div class='outcome'><span class='verdict'>{_MARK[self.verdict]}</span>{surprise}: "
            f"measured <b>{escape(self.measured)}</b>, criterion {escape(str(claim.criterion))}{paper}</div>{why}</div>"
        )

    def __str__(self) -> str:
        return f"{_MARK[self.verdict]}: {self.claim.id} = {self.measured} (criterion: {self.claim.criterion})"


_MARK = {"reproduced": "✔ reproduced", "not-reproduced": "✘ not reproduced"}


def _better(claim: dict[str, Any]) -> str:
    """What is said beside a recorded claim that is reproduced as, with the notebook's own parameters, none expects."""
    better = claim["as_expected"] and claim["verdict"] != claim["expected"]
    return " (with these parameters; not expected with the notebook's own)" if better else ""


class Paper:
    """A paper being performed: its card, the parameters of this run, and the claims reported so far."""

    def __init__(self, card: Card, parameters: dict[str, Any], fingerprint: str, own_parameters: bool = True):
        self.card, self.parameters, self.fingerprint = card, parameters, fingerprint
        self.own_parameters = own_parameters
        self.results: dict[str, Result] = {}

    def report(self, claim_id: str, value: Any, samples: Any = ()) -> None:
        """Hold a measured value against its claim's criterion, and show the claim with its verdict.

        Args:
            claim_id: a claim of the card.
            value: one number (a truth value for an ``is_true`` claim). NaN, infinities and arrays never pass.
            samples: values of the same measure behind it, one per seed, repetition or part; any shape. They go into
                the record, and their spread is what drift is judged by.

        Raises:
            ClaimError: the id is not on the card, or was reported before.
        """
        known = [claim.id for claim in self.card.claims]
        if claim_id not in known:
            raise ClaimError(
                f"{self.card.slug} has no claim '{claim_id}'{closest(claim_id, known)}; it has {', '.join(known)}"
            )
        if claim_id in self.results:
            raise ClaimError(f"claim '{claim_id}' of {self.card.slug} is reported twice")
        plain, problem = _plain(value)
        result = Result(
            self.card.claim(claim_id), plain, [_plain(s)[0] for s in np.ravel(np.asarray(samples))], problem,
            self.own_parameters,
        )  # fmt: skip
        self.results[claim_id] = result
        _show({"text/html": result.html(), "text/plain": str(result)})

    def verdicts(self) -> None:
        """Show the table of verdicts and leave the run's record, as JSON, in the same output.

        Raises:
            ClaimError: a claim of the card was not reported (the table and the record are shown first).
        """
        record = self.record()
        _show({"text/html": verdict_table(record), "text/plain": verdict_text(record), RECORD_MIME: record})
        missing = [claim.id for claim in self.card.claims if claim.id not in self.results]
        if missing:
            raise ClaimError(f"{self.card.slug}: claims not reported: {', '.join(missing)}")

    def record(self) -> dict[str, Any]:
        """The run's record: claims with values and verdicts, parameters, fingerprint and environment, as plain JSON."""
        record = {
            "schema": SCHEMA,
            "slug": self.card.slug,
            "part": self.card.part,
            "title": self.card.title,
            "claims": [self.results[claim.id].record() for claim in self.card.claims if claim.id in self.results],
            "parameters": self.parameters,
            "seed": self.parameters["seed"],
            "fingerprint": self.fingerprint,
            **provenance.environment(),
        }
        return json.loads(json.dumps(record, allow_nan=False))


def open_paper(slug: str, namespace: dict[str, Any]) -> Paper:
    """Read a paper's card and the parameters of this run; call it before anything is measured.

    It also makes float32 mean float32 on every device: recent GPUs round the factors of matrix products to TF32,
    which is coarser than many of the deviations that claims are about.

    Args:
        slug: the paper's slug, the name of its notebook and card.
        namespace: where the parameters' values are: pass ``globals()``.
    """
    import jax  # here, not above: the command line reads records without paying for JAX

    jax.config.update("jax_default_matmul_precision", "float32")
    card = cards.load(slug)
    source = notebooks.read(card.notebook)
    parameters = {name: notebooks.check(source, name, namespace[name], slug) for name in source.parameters}
    changed = {name for name, value in parameters.items() if value != source.defaults[name]} - {"seed"}
    return Paper(card, parameters, provenance.fingerprint(source, card, parameters), not changed)


def verdict_table(record: dict[str, Any]) -> str:
    """A record's claims as an HTML table."""
    rows = "".join(
        f"<tr class='{claim['verdict']}'><td><a href='#claim-{claim['id']}'>{claim['id']}</a></td>"
        f"<td>{html.escape(claim['statement'])}</td><td>{html.escape(measured_text(claim))}{_spread(claim['samples'])}</td>"
        f"<td>{html.escape(claim['criterion_text'])}</td>"
        f"<td>{_MARK[claim['verdict']]}{_better(claim) if claim['as_expected'] else ' <b>(unexpected)</b>'}</td></tr>"
        for claim in record["claims"]
    )
    head = "".join(f"<th>{title}</th>" for title in ("claim", "statement", "measured", "criterion", "verdict"))
    return f"<table class='reprise-verdicts'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def verdict_text(record: dict[str, Any]) -> str:
    """A record's claims as plain text, one line each."""
    return "\n".join(
        f"{_MARK[claim['verdict']]:<17} {claim['id']} = {measured_text(claim)} (criterion: {claim['criterion_text']})"
        + (_better(claim) if claim["as_expected"] else f"  UNEXPECTED, the card expects {claim['expected']}")
        for claim in record["claims"]
    )


def measured_text(claim: dict[str, Any]) -> str:
    """A recorded claim's measured value as text, four significant digits; its problem where it has no value."""
    if claim["problem"]:
        return claim["problem"]
    return str(claim["value"]).lower() if isinstance(claim["value"], bool) else f"{claim['value']:.4g}"


def _spread(samples: list[float | None]) -> str:
    finite = [s for s in samples if s is not None]
    if len(finite) < 2:
        return ""
    return f" <span class='spread'>({len(finite)} samples, {min(finite):.3g} to {max(finite):.3g})</span>"


def _plain(value: Any) -> tuple[float | bool | None, str]:
    """A reported value as a JSON value, and what keeps it from being one."""
    if not cards.is_scalar(value):
        shape = getattr(value, "shape", None)
        return (
            None,
            f"not a scalar (shape {tuple(shape)})" if shape is not None else f"not a number ({type(value).__name__})",
        )
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool):
        return item, ""
    if isinstance(item, complex):
        return None, f"not a real number ({item})"
    return (float(item), "") if math.isfinite(item) else (None, str(float(item)))


def _show(bundle: dict[str, Any]) -> None:
    """Display a bundle in a notebook; print its text when run as a script."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = lambda: None
    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, raw=True)
