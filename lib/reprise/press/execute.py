"""Execute one order by papermill: ``python -m reprise.press.execute RUN.order``.

Leaves ``RUN.ipynb`` (the executed notebook, which holds the record) and ``RUN.json`` (`reprise.press.runs.Run`).
A notebook that fails is a result too: both files are written, with the traceback, and the order is withdrawn so that
the next build tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from reprise import cards, notebooks, paths
from reprise.press import orders, runs
from reprise.press.entry import one_line
from reprise.press.orders import Order

CELL_TIMEOUT_S = {"ci": 900, "gpu": None}


def execute(order: Order, run: Path, *, progress: bool = False) -> runs.Run:
    """Run an order's notebook and write ``run.ipynb`` and ``run.json``.

    Args:
        order: what to run.
        run: where the two files go, without a suffix.
        progress: whether to show papermill's progress bar.

    Returns:
        What was left behind; a failing notebook is a run with status ``failed``, not an exception.
    """
    from papermill import execute_notebook

    card = cards.load(order.slug)
    source = notebooks.read(card.notebook)
    changed = {name: value for name, value in order.parameters.items() if value != source.defaults[name]}
    draft = run.with_name(f".{run.name}.draft.ipynb")
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    started, error = time.perf_counter(), None
    with _device(order.profile):
        try:
            executed = execute_notebook(
                source.notebook, draft, changed, kernel_name="python3", cwd=paths.root(), progress_bar=progress,
                execution_timeout=CELL_TIMEOUT_S[order.profile], extra_arguments=["--log-level=50"],
            )  # fmt: skip
        except Exception as problem:  # whatever a notebook or its kernel does wrong belongs on its page
            error = _describe(problem)
            executed = nbformat.read(draft, 4) if draft.exists() else source.notebook
    seconds = time.perf_counter() - started
    result = runs.Run.of(order, executed, seconds, error)
    nbformat.write(executed, draft)
    draft.replace(run.with_name(run.name + ".ipynb"))
    orders.write_whole(run.with_name(run.name + ".json"), result.to_json())
    return result


def _describe(problem: Exception) -> dict[str, Any]:
    name = getattr(problem, "ename", type(problem).__name__)
    text = getattr(problem, "evalue", str(problem))
    return {"name": name, "text": text.strip(), "traceback": "\n".join(getattr(problem, "traceback", []) or [])}


@contextlib.contextmanager
def _device(profile: str) -> Iterator[None]:
    """In the gpu profile hold one GPU for this run alone (each has a lock file); without GPUs do nothing.

    A batch system has dealt out the devices already, and numbers them from 0 for every job: there nothing is locked.
    """
    gpus = _gpus() if profile == "gpu" and "SLURM_JOB_ID" not in os.environ else []
    if not gpus:
        yield
        return
    locks = paths.build() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with contextlib.ExitStack() as stack:
        os.environ["CUDA_VISIBLE_DEVICES"] = _lock_one(gpus, locks, stack)
        try:
            yield
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _lock_one(gpus: list[str], locks: Path, stack: contextlib.ExitStack) -> str:
    files = {gpu: stack.enter_context((locks / f"{platform.node()}-gpu-{gpu}").open("w")) for gpu in gpus}
    while True:
        for gpu, file in files.items():
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return gpu
        time.sleep(1)


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    try:
        listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i in range(len(listing.splitlines()))]


def main(order_path: Path) -> None:
    """Execute the order in a file, say in one line how it went, and withdraw the order if it failed."""
    order = orders.read(order_path)
    run = order_path.with_name(order_path.name.removesuffix(orders.SUFFIX))
    result = execute(order, run)
    print(f"{run.name}: {result.summary()}", flush=True)
    if result.status == "failed":
        order_path.unlink(missing_ok=True)


if __name__ == "__main__":
    with one_line():
        main(Path(sys.argv[1]))
