"""The library's reference: one generated page a room, its modules' docstrings drawn in by Sphinx's autodoc."""

from __future__ import annotations

import ast
from pathlib import Path

from reprise import paths
from reprise.press.orders import write_whole


def pages() -> dict[str, str]:
    """Markdown of every reference page by file name (without ``.md``), the index first."""
    rooms = _rooms()
    index = ["# The library", "", "Rooms, from what everything rests on to what rests on everything.", ""]
    index += ["```{list-table}", ":widths: 25 75", ":header-rows: 1", "", "* - room", "  - what is in it"]
    for room, modules in rooms.items():
        index += [f"* - {{doc}}`reprise.{room} <{room}>`", f"  - {_summary(modules[0])}"]
    index += ["```", ""]
    return {"index": "\n".join(index), **{room: _page(room, modules) for room, modules in rooms.items()}}


def _rooms() -> dict[str, list[Path]]:
    """Module files by room: packages (their ``__init__`` first), then the modules of the top level."""
    library = paths.root() / "lib" / "reprise"
    rooms = {}
    for package in sorted(library.glob("*/__init__.py")):
        modules = [package, *sorted(p for p in package.parent.glob("*.py") if not p.name.startswith("_"))]
        if len(modules) > 1:
            rooms[package.parent.name] = modules
    top = sorted(p for p in library.glob("*.py") if not p.name.startswith("_"))
    return rooms | {module.stem: [module] for module in top}


def _page(room: str, modules: list[Path]) -> str:
    lines = [f"# reprise.{room}", ""]
    is_package = modules[0].name == "__init__.py"
    if is_package:
        lines += [(ast.get_docstring(ast.parse(modules[0].read_text())) or "").strip(), ""]
    for module in modules[1:] if is_package else modules:
        name = f"reprise.{room}.{module.stem}" if is_package else f"reprise.{room}"
        heading = [f"## {name}", ""] if is_package else []
        lines += [*heading, "```{eval-rst}", f".. automodule:: {name}", "   :members:", "```", ""]
    return "\n".join(lines)


def _summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def main() -> None:
    """Write the reference pages into ``book/api/`` and remove those of rooms that are gone."""
    folder = paths.root() / "book" / "api"
    current = pages()
    for stale in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in current}:
        stale.unlink()
    for name, text in current.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            write_whole(path, text)


if __name__ == "__main__":
    main()
