"""Notebook sources: percent-format ``.py`` files, their parameters cell, and the parameters of a run."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

from reprise.cards import Card
from reprise.errors import NotebookError, ParameterError, closest

PARAMETERS_TAG = "parameters"


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: its name, its default (a plain literal) and its trailing comment."""

    name: str
    default: Any
    comment: str


@dataclass(frozen=True)
class Source:
    """A parsed notebook source: its path, its `nbformat` notebook without outputs, and its parameters by name."""

    path: Path
    notebook: Any
    parameters: dict[str, Parameter]

    @property
    def code(self) -> list[str]:
        """The text of every code cell, in order."""
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters of the ``ci`` profile."""
        return {name: parameter.default for name, parameter in self.parameters.items()}


def read(path: Path) -> Source:
    """Parse a notebook source; raises `NotebookError` if it is missing, invalid, or has no parameters cell."""
    try:
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise NotebookError(f"{path}: cannot be read ({error.strerror})") from None
    except SyntaxError as error:
        raise NotebookError(f"{path}:{error.lineno}: not a valid Python script ({error.msg})") from None
    notebook = jupytext.reads(text, fmt="py:percent")
    tagged = [cell for cell in notebook.cells if PARAMETERS_TAG in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise NotebookError(
            f"{path}: {len(tagged)} cells are tagged '{PARAMETERS_TAG}'; a notebook needs exactly one, "
            f'opened by the line: # %% tags=["{PARAMETERS_TAG}"]'
        )
    parameters = _parameters(path, tagged[0].source)
    if "seed" not in parameters:
        raise NotebookError(f"{path}: the parameters cell has no 'seed'; all randomness must derive from it")
    return Source(path, notebook, parameters)


def _parameters(path: Path, cell: str) -> dict[str, Parameter]:
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(cell).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for statement in ast.parse(cell).body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            raise NotebookError(f"{path}: the parameters cell may only hold lines `name = literal  # comment`")
        name = statement.targets[0].id
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise NotebookError(f"{path}: parameter '{name}' is not a plain literal") from None
        found[name] = Parameter(name, default, comments.get(statement.end_lineno, ""))
    return found


def resolve(source: Source, card: Card, profile: str = "ci", overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """All parameters of a run: the notebook's defaults, then the card's profile, then ``overrides``.

    Raises `ParameterError` for a profile the card lacks, an unknown name, or a value of another type than the default.
    """
    if profile != "ci" and profile not in card.profiles:
        known = ", ".join(["ci", *card.profiles])
        raise ParameterError(
            f"{card.slug} has no profile '{profile}'{closest(profile, ['ci', *card.profiles])}; it has {known}"
        )
    values = source.defaults
    for origin, changes in ((f"profile '{profile}'", card.profiles.get(profile, {})), ("", overrides or {})):
        for name, value in changes.items():
            values[name] = check(source, name, value, card.slug, origin)
    return values


def check(source: Source, name: str, value: Any, slug: str, origin: str = "") -> Any:
    """``value`` as parameter ``name`` of the notebook (a whole number becomes a float where the default is one)."""
    where = f"{slug}: {origin + ': ' if origin else ''}"
    if name not in source.parameters:
        known = ", ".join(source.parameters)
        raise ParameterError(f"{where}unknown parameter '{name}'{closest(name, source.parameters)}; it has {known}")
    default = source.parameters[name].default
    try:
        return _like(default, value)
    except TypeError:
        raise ParameterError(f"{where}parameter '{name}' takes {describe(default)}, not {value!r}") from None


def _like(default: Any, value: Any) -> Any:
    if default is None:
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        return type(default)(_like(default[0], item) if default else item for item in value)
    if type(value) is not type(default):
        raise TypeError
    return value


def describe(default: Any) -> str:
    """In words, what values a parameter with this default takes, with an example."""
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
    if isinstance(default, (list, tuple)):
        return f"a list such as {list(default)}"
    return f"{words.get(type(default), type(default).__name__)} such as {default!r}"
