"""What each way to a solver's gradient costs as the trajectory grows: time and memory.

    python tests/benchmarks/bench_adjoints.py [--record]

One neural ODE, one solver (reversible Heun, the only one that all of them take), fixed steps, and the gradient of the
mean squared final state with respect to all weights by each of Diffrax's adjoints and by the library's
`ReversibleAdjoint`. Memory is the temporary memory that XLA assigns to the compiled program. All gradients but that of
the continuous adjoint, which is an approximation, must agree.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from report import arguments, report
from reprise.dynamics.reversible import ReversibleAdjoint
from reprise.dynamics.vector_fields import TimeMLP
from reprise.networks.functional import initialise

DIM, HIDDEN, BATCH, LENGTHS, TURNS = 32, 64, 128, [16, 128, 1024], 7
TOLERANCE = 1e-3  # of the gradient's norm, float32


def adjoints(steps):
    """The ways, by name; the first is the reference."""
    return {
        "stored: RecursiveCheckpointAdjoint(steps)": diffrax.RecursiveCheckpointAdjoint(checkpoints=steps),
        "recomputed: RecursiveCheckpointAdjoint()": diffrax.RecursiveCheckpointAdjoint(),
        "scanned: DirectAdjoint()": diffrax.DirectAdjoint(),
        "continuous: BacksolveAdjoint()": diffrax.BacksolveAdjoint(),
        "reversed: ReversibleAdjoint()": ReversibleAdjoint(),
    }


def main() -> None:
    options, rng = arguments(__doc__), np.random.default_rng(0)
    apply, params = initialise(lambda rngs: TimeMLP(DIM, HIDDEN, rngs=rngs), rng)
    params = jax.device_put(params)
    z0 = jax.device_put(rng.normal(size=(BATCH, DIM)).astype(np.float32))
    term = diffrax.ODETerm(lambda t, z, params: apply(params, t, z))

    def loss(params, z0, adjoint, steps):
        solution = diffrax.diffeqsolve(
            term, diffrax.ReversibleHeun(), 0.0, 1.0, 1 / steps, z0, params, adjoint=adjoint, max_steps=steps
        )
        return jnp.mean(solution.ys[0] ** 2)

    times, memory, apart, compiling = {}, {}, {}, {}
    pool = ThreadPoolExecutor(2)
    for steps in LENGTHS:
        for name, adjoint in adjoints(steps).items():
            gradient = jax.grad(partial(loss, adjoint=adjoint, steps=steps))
            compiling[name, steps] = pool.submit(jax.jit(gradient).lower(params, z0).compile)
    wait(compiling.values())
    for steps in LENGTHS:
        programs = {name: compiling[name, steps].result() for name in adjoints(steps)}
        print(f"{steps} steps ...", flush=True)
        for name, program in programs.items():
            memory[name, steps] = program.memory_analysis().temp_size_in_bytes
        flat = {
            name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(program(params, z0))])
            for name, program in programs.items()
        }
        reference = next(iter(flat.values()))
        seconds = {name: [] for name in programs}
        for _ in range(TURNS):
            for name, program in programs.items():
                start = time.perf_counter()
                jax.block_until_ready(program(params, z0))
                seconds[name].append(time.perf_counter() - start)
        for name in programs:
            times[name, steps] = statistics.median(seconds[name])
            apart[name, steps] = np.linalg.norm(flat[name] - reference) / np.linalg.norm(reference)
            if not (name.startswith("continuous") or apart[name, steps] < TOLERANCE):
                raise RuntimeError(f"{name}, {steps} steps: off by {apart[name, steps]:.1e}")

    table = [
        [name, *(1e3 * times[name, n] for n in LENGTHS), *(memory[name, n] / 2**20 for n in LENGTHS)]
        + [f"{max(apart[name, n] for n in LENGTHS):.0e}"]
        for name in adjoints(1)
    ]
    note = (
        f"Gradient of a neural ODE ({DIM} components, {HIDDEN} hidden units, batch {BATCH}, reversible Heun, float32) "
        f"over {', '.join(map(str, LENGTHS))} steps: milliseconds (medians of {TURNS} calls in turn) and mebibytes of "
        f"temporary memory of the program. Diffrax {diffrax.__version__} on JAX {jax.__version__}. Difference: "
        "the largest from the first row, relative; the continuous adjoint's is its error, the others' are rounding."
    )
    columns = ["adjoint", *(f"ms, {n}" for n in LENGTHS), *(f"MiB, {n}" for n in LENGTHS), "difference"]
    title = "The cost of gradients through a solver"
    report("adjoints", title, note, columns, table, record=options.record)


if __name__ == "__main__":
    main()
