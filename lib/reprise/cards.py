"""Cards: a paper's bibliography and its pre-registered claims, read from ``notebooks/<part>/<slug>.yaml``.

A card says what must hold *before* the experiment runs. `load` checks the whole file and raises one `CardError` that
names the file, the line and the key; nothing else in the project reads YAML cards.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reprise import paths
from reprise.errors import CardError, RepriseError, closest

KINDS = ("sharp", "comparison", "qualitative")
EXPECTATIONS = ("reproduced", "not-reproduced")
PROFILES = ("gpu",)


@dataclass(frozen=True)
class Criterion:
    """A test that a single reported number must pass.

    Attributes:
        name: ``between``, ``at_most``, ``at_least``, ``equals`` or ``is_true``.
        low: smallest value that passes (minus infinity when there is none).
        high: largest value that passes (infinity when there is none).
        spec: the criterion as the card writes it, for records.
    """

    name: str
    low: float
    high: float
    spec: Any

    def holds(self, value: Any) -> bool:
        """Whether ``value`` passes. NaN, infinities and anything that is not a scalar never pass."""
        if self.name == "is_true":
            return is_scalar(value) and _item(value) is True
        return is_finite_number(value) and self.low <= float(value) <= self.high

    def __str__(self) -> str:
        match self.name:
            case "between":
                return f"between {self.low:g} and {self.high:g}"
            case "at_most":
                return f"at most {self.high:g}"
            case "at_least":
                return f"at least {self.low:g}"
            case "equals":
                target = self.spec["value"]
                if self.low == self.high:
                    return f"equal to {target:g}"
                slack = f"{self.spec['rel']:g} relative" if "rel" in self.spec else f"{self.spec['abs']:g}"
                return f"equal to {target:g} within {slack}"
        return "true"


@dataclass(frozen=True)
class Claim:
    """One statement of a paper with the measure and the criterion that decide it (see `Criterion`)."""

    id: str
    statement: str
    where: str
    paper: Any
    measure: str
    criterion: Criterion
    kind: str
    expect: str = "reproduced"
    why: str = ""


@dataclass(frozen=True)
class Card:
    """A paper: its bibliography, its claims in order, and the parameters of its non-default profiles."""

    slug: str
    part: str
    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str
    code: str
    claims: tuple[Claim, ...]
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    cores: int = 1
    path: Path | None = None

    @property
    def notebook(self) -> Path:
        """The paper's notebook, beside its card."""
        return self.path.with_suffix(".py")

    def claim(self, claim_id: str) -> Claim:
        """The claim with this id; raises `KeyError` when the card has none."""
        return {c.id: c for c in self.claims}[claim_id]


def is_scalar(value: Any) -> bool:
    """Whether ``value`` is one number or truth value: a Python, NumPy or JAX scalar, or a zero-dimensional array."""
    return isinstance(value, (bool, numbers.Number)) or getattr(value, "shape", None) == ()


def is_finite_number(value: Any) -> bool:
    """Whether ``value`` is one finite real number (a truth value is not a number)."""
    if not is_scalar(value):
        return False
    item = _item(value)
    return not isinstance(item, (bool, complex)) and isinstance(item, numbers.Real) and math.isfinite(item)


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def find() -> dict[str, Path]:
    """Paths of all cards by slug, sorted by part and slug. Nothing is parsed."""
    found: dict[str, Path] = {}
    for path in sorted(paths.notebooks().glob("*/*.yaml")):
        if path.stem in found:
            raise CardError(f"{path}: slug '{path.stem}' is taken by {found[path.stem]}")
        found[path.stem] = path
    return found


def load_all() -> dict[str, Card]:
    """Every card of the book by slug, sorted by part and slug."""
    return {slug: read(path) for slug, path in find().items()}


def load(slug: str) -> Card:
    """The card of one paper; raises `RepriseError` for an unknown slug and `CardError` for a broken card."""
    known = find()
    if slug in known:
        return read(known[slug])
    for notebook in paths.notebooks().glob(f"*/{slug}.py"):
        raise CardError(f"{notebook} has no card: write {notebook.with_suffix('.yaml').name} beside it")
    raise RepriseError(f"unknown paper '{slug}'{closest(slug, known)}; `reprise list` shows the {len(known)} there are")


def read(path: Path) -> Card:
    """Read and check one card file; raises `CardError` naming file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        plain = yaml.safe_load(text)
    except OSError as error:
        raise CardError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise CardError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    return _CardReader(path, node).card(plain)


class _CardReader:
    """Checks a parsed card against the format, keeping YAML's line numbers for its messages."""

    required = {
        "slug": str, "part": str, "title": str, "authors": list, "year": int, "arxiv": str, "code": str, "claims": list,
    }  # fmt: skip
    optional = {"profiles": dict, "cores": int}
    claim_required = {"id": str, "statement": str, "where": str, "measure": str, "criterion": dict, "kind": str}
    claim_optional = {"paper": object, "expect": str, "why": str}

    def __init__(self, path: Path, node: yaml.Node | None):
        self.path, self.node = path, node

    def fail(self, key: str, problem: str, node: yaml.Node | None = None):
        line = (node or self.node).start_mark.line + 1 if (node or self.node) else 1
        raise CardError(f"{self.path}:{line}: {key}: {problem}")

    def card(self, plain: Any) -> Card:
        self.check_keys(self.node, plain, self.required, self.optional, "card")
        values = {key: plain[key] for key in (*self.required, *self.optional) if key in plain}
        if plain["slug"] != self.path.stem:
            self.fail("slug", f"is '{plain['slug']}' but the file is named {self.path.name}", self.at("slug"))
        if plain["part"] != self.path.parent.name:
            self.fail("part", f"is '{plain['part']}' but the folder is {self.path.parent.name}/", self.at("part"))
        if plain.get("cores", 1) < 1:
            self.fail("cores", "must be at least 1", self.at("cores"))
        values["authors"] = tuple(str(author) for author in plain["authors"])
        values["profiles"] = self.profiles(plain.get("profiles", {}))
        values["claims"] = self.claims(plain["claims"])
        return Card(**values, path=self.path)

    def at(self, key: str) -> yaml.Node | None:
        return _child(self.node, key)

    def check_keys(self, node, plain, required: dict, optional: dict, what: str):
        if not isinstance(plain, dict):
            self.fail(what, "must be a mapping of keys to values", node)
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                self.fail(key, f"is given twice in this {what}", key_node)
            seen.add(key)
            if key not in required and key not in optional:
                self.fail(key, f"unknown key of a {what}{closest(key, [*required, *optional])}", key_node)
        for key, kind in {**required, **optional}.items():
            if key not in plain:
                if key in required:
                    self.fail(key, f"is missing from this {what}", node)
            elif not isinstance(plain[key], kind) or (kind is int and isinstance(plain[key], bool)):
                self.fail(key, f"must be {_TYPE_WORDS[kind]}, not {plain[key]!r}", _child(node, key))

    def profiles(self, plain: dict) -> dict:
        for name, parameters in plain.items():
            node = _child(self.at("profiles"), name)
            if name not in PROFILES:
                self.fail(f"profiles.{name}", f"unknown profile; there is {', '.join(PROFILES)}", node)
            if not isinstance(parameters, dict):
                self.fail(f"profiles.{name}", "must map parameter names to values", node)
        return plain

    def claims(self, plain: list) -> tuple[Claim, ...]:
        nodes = self.at("claims").value
        if not plain:
            self.fail("claims", "a card needs at least one claim", self.at("claims"))
        claims: dict[str, Claim] = {}
        for entry, node in zip(plain, nodes, strict=True):
            claim = self.claim(entry, node)
            if claim.id in claims:
                self.fail("id", f"claim '{claim.id}' is already on this card", _child(node, "id"))
            claims[claim.id] = claim
        return tuple(claims.values())

    def claim(self, plain: Any, node: yaml.Node) -> Claim:
        self.check_keys(node, plain, self.claim_required, self.claim_optional, "claim")
        if plain["kind"] not in KINDS:
            self.fail("kind", f"'{plain['kind']}' is not one of {', '.join(KINDS)}", _child(node, "kind"))
        if plain.get("expect", "reproduced") not in EXPECTATIONS:
            self.fail("expect", f"'{plain['expect']}' is not one of {', '.join(EXPECTATIONS)}", _child(node, "expect"))
        if plain.get("expect") == "not-reproduced" and not plain.get("why"):
            self.fail("why", f"claim '{plain['id']}' is expected not to be reproduced: say why", node)
        try:
            criterion = parse_criterion(plain["criterion"])
        except ValueError as error:
            self.fail("criterion", f"of claim '{plain['id']}': {error}", _child(node, "criterion"))
        return Claim(
            id=plain["id"], statement=plain["statement"], where=plain["where"], paper=plain.get("paper"),
            measure=plain["measure"], criterion=criterion, kind=plain["kind"],
            expect=plain.get("expect", "reproduced"), why=plain.get("why", ""),
        )  # fmt: skip


_TYPE_WORDS = {str: "text", list: "a list", int: "a whole number", dict: "a mapping", object: "a value"}


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for key_node, value in pairs if key_node.value == key), node)


def parse_criterion(spec: Any) -> Criterion:
    """Build a `Criterion` from its card form, such as ``{"between": [0.9, 1.1]}``; `ValueError` if it is not one."""
    forms = "between: [lo, hi], at_most: x, at_least: x, equals: {value, rel | abs} or is_true: true"
    if not isinstance(spec, dict) or len(spec) != 1:
        raise ValueError(f"must be exactly one of {forms}")
    (name, argument), inf = next(iter(spec.items())), math.inf
    match name:
        case "at_most":
            return Criterion(name, -inf, _number(argument, name), argument)
        case "at_least":
            return Criterion(name, _number(argument, name), inf, argument)
        case "between":
            if not isinstance(argument, list) or len(argument) != 2:
                raise ValueError("between needs [lo, hi]")
            low, high = (_number(bound, name) for bound in argument)
            if low > high:
                raise ValueError(f"between needs lo <= hi, not [{low:g}, {high:g}]")
            return Criterion(name, low, high, argument)
        case "equals":
            return _equals(argument)
        case "is_true":
            if argument is not True:
                raise ValueError("is_true takes no other value than true")
            return Criterion(name, 1.0, 1.0, True)
    raise ValueError(f"'{name}' is not one of {forms}")


def _equals(argument: Any) -> Criterion:
    keys = set(argument) if isinstance(argument, dict) else set()
    if keys not in ({"value", "rel"}, {"value", "abs"}):
        raise ValueError("equals needs {value, rel} or {value, abs}")
    value = _number(argument["value"], "equals.value")
    slack = (
        _number(argument["abs"], "equals.abs") if "abs" in keys else abs(value) * _number(argument["rel"], "equals.rel")
    )
    if slack < 0:
        raise ValueError("the slack of equals cannot be negative")
    return Criterion("equals", value - slack, value + slack, argument)


def _number(value: Any, name: str) -> float:
    if not is_finite_number(value):
        # YAML 1.1 reads 1e-3 (no point) as text, a trap worth naming.
        hint = "; write 1.0e-3, not 1e-3" if isinstance(value, str) else ""
        raise ValueError(f"{name} needs a number, not {value!r}{hint}")
    return float(value)
