"""Docstrings in the reference: formulas as everywhere in the book, and no lines without content.

``$...$`` in a line and ``$$...$$`` on its own become formulas; fields of named tuples are described where the tuple is.
"""

import re

from sphinx.application import Sphinx

DISPLAY = re.compile(r"^( *)\$\$(.+?)\$\$(.*)$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<![\\$`])\$([^$`\n]+(?:\n[^$`\n]+)?)\$(?!\$)")


def to_rst(text: str) -> str:
    """A docstring with its dollar math as reStructuredText."""

    def display(match: re.Match) -> str:
        indent, formula, rest = match.groups()
        body = " ".join(formula.split())
        after = f"{indent}{rest.strip()}" if rest.strip(" .,") else ""
        return f"{indent}\n{indent}.. math:: {body}\n{indent}\n{after}"

    text = DISPLAY.sub(display, text)
    # A backslash after the role lets text, such as a hyphen or a plural s, follow it at once.
    return INLINE.sub(lambda match: f":math:`{' '.join(match[1].split())}`\\ ", text)


def rewrite(app, what, name, obj, options, lines: list[str]) -> None:
    """Handler of ``autodoc-process-docstring``: edits the lines in place."""
    lines[:] = to_rst("\n".join(lines)).split("\n")


def skip(app, what, name, obj, skip: bool, options) -> bool | None:
    """Handler of ``autodoc-skip-member``: leaves out what only says "Alias for field number 0"."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx when it loads the extension."""
    # Before napoleon (priority 500) reshapes the sections.
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
