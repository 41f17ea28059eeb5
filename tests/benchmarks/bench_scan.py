"""Parallel evaluation of linear recurrences against the sequential one, on lines and on grids, over their length.

    python tests/benchmarks/bench_scan.py [--record]

On a line, h_t = a_t h_(t-1) + u_t as an associative scan and as a loop over time. On a square grid, the recurrence of
pLSTM by merging blocks, which works out the influence of every node on every other, and as a loop over anti-diagonals.
Both pairs compute the same numbers, which is checked. A parallel form does more arithmetic in fewer rounds, so what
it gains depends on how much of the machine a single round leaves idle.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from report import arguments, report
from reprise.networks.grid_recurrence import directed_gates, influence_by_merging, scan_grid
from reprise.networks.linear_recurrence import scan_parallel, scan_sequential

CHANNELS, TOLERANCE = 32, 1e-4


def line(rng, length):
    """Two functions of the same arrays, sequential and parallel, and those arrays."""
    shapes = (length, CHANNELS)
    data = jnp.asarray(rng.uniform(0.5, 1, shapes), jnp.float32), jnp.asarray(rng.normal(size=shapes), jnp.float32)
    return scan_sequential, scan_parallel, data


def grid(rng, length):
    """As `line`, for a square grid with ``length`` nodes."""
    side = round(length**0.5)
    share = jnp.asarray(rng.uniform(size=(side, side)), jnp.float32)
    inputs = jnp.asarray(rng.normal(size=(side, side, CHANNELS)), jnp.float32)

    def sequential(share, inputs):
        return scan_grid(directed_gates(share), inputs)

    def merging(share, inputs):
        influence = influence_by_merging(directed_gates(share)).reshape(length, length)
        return (influence @ inputs.reshape(length, -1)).reshape(inputs.shape)

    return sequential, merging, (share, inputs)


def seconds_of(call, repeats) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        out = call()
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / repeats


def compare(functions, data) -> list[float]:
    """Median seconds of each function on the data, called in turn; they must agree."""
    programs = [jax.jit(function).lower(*data).compile() for function in functions]
    results = [jax.tree.leaves(program(*data)) for program in programs]
    for one, other in zip(*results, strict=True):
        apart = float(jnp.abs(one - other).max() / jnp.abs(one).max())
        if not apart < TOLERANCE:
            raise RuntimeError(f"sequential and parallel results differ by {apart:.1e} of the largest")
    calls = [lambda program=program: program(*data) for program in programs]
    repeats = [max(1, int(2e-3 / seconds_of(call, 3))) for call in calls]
    turns = [[seconds_of(*pair) for pair in zip(calls, repeats, strict=True)] for _ in range(15)]
    return [statistics.median(column) for column in zip(*turns, strict=True)]


def summary(rows) -> str:
    """How often the parallel form is the faster one."""
    forward, backward = (sum(row[k + 1] < row[k] for row in rows) for k in (1, 4))
    return f"It is in {forward} of {len(rows)} evaluations and {backward} of {len(rows)} gradients."


def main() -> None:
    options, rng, rows = arguments(__doc__), np.random.default_rng(0), []
    squares = lambda function: lambda *data: jnp.sum(function(*data) ** 2)
    for name, problem, lengths in (
        ("line", line, [2**k for k in range(6, 13)]),
        ("grid", grid, [4**k for k in range(3, 7)]),
    ):
        for length in lengths:
            *pair, data = problem(rng, length)
            forward = compare(pair, data)
            backward = compare([jax.grad(squares(function), (0, 1)) for function in pair], data)
            size = (
                f"{name}, {length} nodes" if name == "line" else f"{name}, {round(length**0.5)} x {round(length**0.5)}"
            )
            row = [size]
            for sequential, parallel in (forward, backward):
                row += [1e3 * sequential, 1e3 * parallel, f"{sequential / parallel:.2g}x"]
            rows.append(row)
            print(*row, flush=True)
    note = (
        f"Milliseconds a call, float32, {CHANNELS} channels, medians of 15 turns; the gradient is that of the sum of "
        "squares with respect to gates and inputs. Line: an associative scan against a loop over time. Grid: merging "
        "blocks, which yields the influence of every node on every other (nodes squared numbers), against a loop over "
        f"anti-diagonals. Speed-up above 1: the parallel form is faster on {jax.devices()[0].device_kind}. "
        + summary(rows)
    )
    columns = ["recurrence", "loop", "parallel", "speed-up", "gradient: loop", "parallel", "speed-up"]
    report("scan", "Linear recurrences in parallel against step by step", note, columns, rows, record=options.record)


if __name__ == "__main__":
    main()
