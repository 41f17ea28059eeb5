"""Solve and differentiate a neural ODE against torchdiffeq: the same network, weights, batch, solver and tolerances.

    python tests/benchmarks/bench_neural_ode.py [--record]

Both sides integrate a perceptron that sees the time with Dormand and Prince's pair under the same step control, and
take the gradient of the mean squared final state with respect to all weights: by backpropagation through the solver,
and by the continuous adjoint. torchdiffeq has an environment of its own (in the user's cache, made once) and a process
of its own with as many threads; the sides take turns, call by call, and the median counts. Solutions and gradients must
agree.
"""

import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from peers import peer_python
from report import arguments, report
from reprise.dynamics.vector_fields import TimeMLP
from reprise.networks.functional import initialise

TORCH, PEER = "2.13.0", "0.2.5"
CASES = [(2, 50, 32), (16, 48, 128), (64, 256, 256)]  # components, hidden units, batch
TOL, TURNS, SECONDS = 1e-5, 15, 2.0  # at most so many turns, and so many seconds a case and task
TOLERANCE = {"solve": 1e-3, "backpropagation": 1e-2, "continuous adjoint": 1e-2}  # of the largest entry
ADJOINTS = {
    "solve": diffrax.ForwardMode(),
    "backpropagation": diffrax.RecursiveCheckpointAdjoint(),
    "continuous adjoint": diffrax.BacksolveAdjoint(),
}


def solver(apply, task):
    """A compiled function of weights and batch: the final state and the number of steps, or the gradient."""
    pair = diffrax.Dopri5(scan_kind="lax") if task == "solve" else diffrax.Dopri5()
    term = diffrax.ODETerm(lambda t, z, params: apply(params, t, z))

    def solve(params, z0):
        solution = diffrax.diffeqsolve(
            term, pair, 0.0, 1.0, None, z0, params, adjoint=ADJOINTS[task],
            stepsize_controller=diffrax.PIDController(rtol=TOL, atol=TOL), max_steps=256,
        )  # fmt: skip
        return solution.ys[0], solution.stats["num_steps"]

    loss = lambda params, z0: jnp.mean(solve(params, z0)[0] ** 2)
    return jax.jit(solve if task == "solve" else jax.grad(loss))


def timed_compile(lowered):
    start = time.perf_counter()
    return lowered.compile(), time.perf_counter() - start


def seconds_of(call) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def vector(result, task) -> np.ndarray:
    """A final state, or a gradient as one vector in the order first weight, first bias, second weight, second bias."""
    if task == "solve":
        return np.ravel(result[0])
    layers = [result["mlp"]["layers"][i] for i in range(2)]
    return np.concatenate([np.ravel(layer[name][...]) for layer in layers for name in ("weight", "bias")])


def main() -> None:
    options, pool = arguments(__doc__), ThreadPoolExecutor(2)
    inputs, data, programs, calls, compiling = {}, {}, {}, {}, {}
    python = peer_python(f"torchdiffeq-{PEER}", [f"torchdiffeq=={PEER}", f"torch=={TORCH}", "numpy"])
    for dim, hidden, batch in CASES:
        case, rng = f"{dim} components, {hidden} hidden, batch {batch}", np.random.default_rng(dim)
        apply, params = initialise(lambda rngs, dim=dim, hidden=hidden: TimeMLP(dim, hidden, rngs=rngs), rng)
        params = jax.device_put(jax.tree.map(lambda leaf: 3 * leaf, params))  # three times: some 20 steps
        z0 = rng.normal(size=(batch, dim)).astype(np.float32)
        names = ("w1", "b1", "w2", "b2")
        leaves = [params["mlp"]["layers"][i][name][...] for i in range(2) for name in ("weight", "bias")]
        inputs |= {f"{case}/{name}": np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}
        inputs[f"{case}/z0"] = z0
        for task in ADJOINTS:
            programs[case, task] = pool.submit(timed_compile, solver(apply, task).lower(params, z0))
            data[case] = params, jax.device_put(z0)
    for (case, task), program in programs.items():
        compiled, compiling[case, task] = program.result()
        calls[case, task] = partial(compiled, *data[case])

    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("inputs.npz", "outputs.npz")]
        np.savez(files[0], tolerance=TOL, **inputs)
        script = Path(__file__).with_name("peer_torchdiffeq.py")
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        peer = subprocess.Popen([python, script, *files], **pipe)

        def ask(case: str, task: str) -> float:
            print(f"{case} | {task}", file=peer.stdin, flush=True)
            answer = peer.stdout.readline()
            if not answer:
                raise RuntimeError(f"torchdiffeq stopped at {case!r}, {task}")
            return float(answer)

        timings = {}
        for (case, task), call in calls.items():
            print(f"{case}, {task} ...", flush=True)
            ask(case, task), seconds_of(call)  # once to warm up
            end, turns = time.perf_counter() + SECONDS, []
            while len(turns) < 3 or (len(turns) < TURNS and time.perf_counter() < end):
                turns.append((ask(case, task), seconds_of(call)))
            timings[case, task] = [statistics.median(side) for side in zip(*turns, strict=True)]
        peer.stdin.close()
        if peer.wait() != 0:
            raise RuntimeError("torchdiffeq did not end well")
        theirs = dict(np.load(files[1]))

    table, ratios = [], []
    for (case, task), call in calls.items():
        result, (their, here) = call(), timings[case, task]
        mine, other = vector(result, task), theirs[f"{case}/{task}"]
        apart = float(np.abs(mine - other).max() / np.abs(other).max())
        if not apart < TOLERANCE[task]:
            raise RuntimeError(f"{case}, {task}: the sides differ by {apart:.1e}")
        steps = [str(int(result[1])), str(int(theirs[f"{case}/steps"]))] if task == "solve" else ["", ""]
        ratios.append(their / here)
        table.append(
            [f"{case}: {task}", 1e3 * their, 1e3 * here, f"{ratios[-1]:.1f}x"]
            + [compiling[case, task], f"{apart:.0e}", "/".join(steps[::-1]).strip("/")]
        )
    note = (
        f"Milliseconds a call, float32, Dormand-Prince 5(4), tolerances {TOL:g}, medians of at most {TURNS} turns. "
        f"torchdiffeq {PEER} on PyTorch {TORCH} (`odeint`, `odeint_adjoint`), here Diffrax {diffrax.__version__} on "
        f"JAX {jax.__version__} (`RecursiveCheckpointAdjoint`, `BacksolveAdjoint`). Speed-up: median "
        f"{statistics.median(ratios):.1f}, least {min(ratios):.1f}. Compile: seconds, once. Difference: the largest of "
        "final states or gradients, relative to the largest entry. Steps: theirs and here."
    )
    columns = ["neural ODE", "torchdiffeq", "here", "speed-up", "compile", "difference", "steps"]
    report("neural_ode", "Neural ODEs against torchdiffeq", note, columns, table, record=options.record)


if __name__ == "__main__":
    main()
