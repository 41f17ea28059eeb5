"""What a result depends on and where it came from: fingerprints, versions, device, memory, revision."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp

from reprise import paths
from reprise.cards import Card
from reprise.notebooks import Source

RECORDED = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "diffrax",
    "lineax",
    "optimistix",
    "numpy",
    "scipy",
    "scikit-learn",
    "reprise",
)


def fingerprint(source: Source, card: Card, parameters: dict[str, Any]) -> str:
    """A digest of all that decides a run's outputs: code cells, library modules, parameters, criteria, pinned versions.

    Prose, comments of the card and modules that the notebook does not import leave it alone. The claims' criteria and
    expectations are part of it because the executed notebook shows the verdicts.

    Args:
        source: the notebook.
        card: its card.
        parameters: every parameter of the run, as `reprise.notebooks.resolve` gives them.
    """
    modules = closure(tuple(source.code))
    parts = {
        "code": source.code,
        "modules": {name: _digest(_module_file(name).read_bytes()) for name in modules},
        "parameters": parameters,
        "claims": [[claim.id, claim.criterion.name, claim.criterion.spec, claim.expect] for claim in card.claims],
        "versions": _pinned(),
        "python": platform.python_version_tuple()[:2],
    }
    return _digest(json.dumps(parts, sort_keys=True, default=str).encode())


def closure(code: tuple[str, ...]) -> list[str]:
    """Names of all ``reprise`` modules that these code cells import, directly or through other modules."""
    graph = _import_graph()
    todo = {module for cell in code for module in _imported(cell, graph.modules)}
    found: set[str] = set()
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            # Importing a.b.c runs a and a.b first.
            todo |= graph.find_modules_directly_imported_by(module) | {module.rpartition(".")[0]} - {""}
    return sorted(found)


@cache
def _import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("reprise", cache_dir=None)


def _imported(code: str, modules: set[str]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & modules


def _module_file(name: str) -> Path:
    base = Path(__file__).parents[1].joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def _pinned() -> list[str]:
    file = paths.root() / "constraints.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return sorted(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]


def environment() -> dict[str, Any]:
    """Package versions, Python, platform, device, memory, run time so far and git revision, as plain JSON values."""
    import jax  # here, not above: the command line reads fingerprints without paying for JAX

    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return {
        "versions": {name: _version(name) for name in RECORDED},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "wall_s": round(time.time() - _process_start(), 2),
        "peak_mb": round(peak_mb(), 1),
        "device_peak_mb": round(stats["peak_bytes_in_use"] / 2**20, 1) if "peak_bytes_in_use" in stats else None,
        "git": revision(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def device_name(device: dict[str, Any]) -> str:
    """The folder of ``results/`` for a recorded device: ``cpu``, ``h200``, ``a100-sxm4-80gb``, ..."""
    words = device["kind"].lower().replace("nvidia", "").split()
    return "-".join(words) or device["platform"]


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _process_start() -> float:
    import psutil

    return psutil.Process().create_time()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def revision() -> dict[str, Any]:
    """The checkout's commit and whether it has uncommitted changes; nulls where git has no answer."""
    try:
        head = _git("rev-parse", "HEAD")
        return {"revision": head, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(paths.root()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
