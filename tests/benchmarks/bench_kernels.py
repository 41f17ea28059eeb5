"""Race kernels of wide networks against Neural Tangents: analytic (dense, convolutional, attention) and empirical.

    python tests/benchmarks/bench_kernels.py [--record]

Neural Tangents does not import with a current JAX, so the benchmark makes an environment for it (in the user's cache,
once) and lets it run there in a process of its own, on the same inputs and, for empirical kernels, the same weights.
The two sides take turns, call by call, and the other waits; the best of several calls counts. Values must agree. What
bounds an analytic kernel is the memory traffic of its result: the time of copying both matrices is shown beside it.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from peers import peer_python
from report import arguments, report
from reprise.kernels import layers
from reprise.kernels.activations import ERF, RELU
from reprise.kernels.architectures import serial
from reprise.kernels.empirical import jacobian_ntk, layerwise_ntk
from reprise.networks.functional import functional
from reprise.networks.mlp import MLP

PACKAGES = ["neural-tangents==0.6.5", "jax==0.4.30", "jaxlib==0.4.30", "tf2jax==0.3.6", "numpy<2", "scipy<1.14"]
IMPLEMENTATIONS = ["JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"]
TOLERANCE = 2e-3  # of the largest entry: single precision, at a diagonal where arc cosines lose half of it


def dense(units=512):
    return layers.dense(units, weight_std=1.4, bias_std=0.1)


def conv(channels=64):
    return layers.conv(channels, (3, 3), weight_std=1.4, bias_std=0.1)


def pool():
    return layers.average_pool((2, 2), (2, 2))


relu = layers.activation(RELU)
NETWORKS = {
    "dense ReLU": serial(*[dense(), relu] * 3, dense(1)),
    "dense erf": serial(*[dense(), layers.activation(ERF)] * 3, dense(1)),
    "conv, flatten": serial(*[conv(), relu] * 3, layers.flatten(), dense(1)),
    "conv, pool": serial(conv(), relu, pool(), conv(), relu, pool(), layers.flatten(), dense(1)),
    "conv, global pool": serial(*[conv(), relu] * 3, layers.global_average_pool(), dense(1)),
    "attention": serial(
        dense(), relu, layers.attention(64, heads=4, key_units=64, value_units=64, logit_std=1.4), relu,
        layers.global_average_pool(), dense(1),
    ),
}  # fmt: skip
CNN = serial(*[conv(32), relu] * 2, layers.global_average_pool(), dense(10))
CASES = [
    ("dense ReLU", (1000, 32)), ("dense ReLU", (2000, 32)), ("dense erf", (1000, 32)), ("dense erf", (2000, 32)),
    ("conv, flatten", (128, 16, 16, 3)), ("conv, pool", (24, 8, 8, 3)), ("conv, global pool", (24, 8, 8, 3)),
    ("attention", (48, 16, 8)),
]  # fmt: skip


def timed(call) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def race(calls: dict, seconds: float = 6.0, least: int = 5) -> dict[str, tuple[float, float]]:
    """First call and best call of each contender, taken in turn."""
    first, best = {name: call() for name, call in calls.items()}, dict.fromkeys(calls, float("inf"))
    end, turns = time.perf_counter() + seconds, 0
    while turns < least or time.perf_counter() < end:
        turns += 1
        for name, call in calls.items():
            best[name] = min(best[name], call())
    return {name: (first[name], best[name]) for name in calls}


def main() -> None:
    options = arguments(__doc__)
    python, rng = peer_python("neural-tangents-0.6.5", PACKAGES), np.random.default_rng(0)
    inputs, rows, ratios, ours = {}, [], {"analytic": [], "empirical": []}, {}
    for name, shape in CASES:
        inputs[f"{name} | {' x '.join(map(str, shape))}"] = rng.normal(size=shape).astype(np.float32)
    mlp = MLP([32, 256, 256, 1], parametrization="ntk", weight_std=1.4, bias_std=0.1, rngs=nnx.Rngs(0))
    (apply, params), (layerwise, _) = functional(mlp), functional(mlp, layerwise_ntk)
    cnn = CNN.init(jax.random.key(0), (8, 8, 3))
    finite = {
        "MLP | 400 x 32": {
            "layerwise": lambda x: layerwise(params, x),
            "Jacobian": lambda x: jacobian_ntk(apply, params, x),
        },
        "CNN | 48 x 8 x 8 x 3": {"Jacobian": lambda x: jacobian_ntk(CNN.apply, cnn, x)},
    }
    inputs["MLP | 400 x 32"] = rng.normal(size=(400, 32)).astype(np.float32)
    inputs["CNN | 48 x 8 x 8 x 3"] = rng.normal(size=(48, 8, 8, 3)).astype(np.float32)
    weights = {"MLP": [part[...] for layer in mlp.layers for part in (layer.weight, layer.bias)]}
    weights["CNN"] = [part[key] for part in cnn if part for key in ("weight", "bias")]
    leaves = {f"{name}/{i:02}": np.asarray(v) for name, parts in weights.items() for i, v in enumerate(parts)}

    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, f) for f in ("inputs.npz", "outputs.npz")]
        np.savez(files[0], **inputs, **leaves)
        script = Path(__file__).with_name("peer_neural_tangents.py")
        peer = subprocess.Popen(
            [python, script, *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

        def ask(case: str) -> float:
            print(case, file=peer.stdin, flush=True)
            answer = peer.stdout.readline()
            if not answer:
                raise RuntimeError(f"Neural Tangents stopped at {case!r}; run {script.name} by hand to see why")
            return float(answer)

        def analytic(case: str) -> None:
            kernel, x = NETWORKS[case.split(" | ")[0]].kernel, jnp.asarray(inputs[case])
            matrices, copy = jnp.full((2, len(x), len(x)), len(x), jnp.float32), jax.jit(lambda k: k + 1)
            calls = {"theirs": lambda: ask(case), "here": lambda: timed(lambda: kernel(x)[:2])}
            result = race(calls | {"copy": lambda: timed(lambda: copy(matrices))})
            ours[case] = kernel(x)[:2]
            ratios["analytic"].append(result["theirs"][1] / result["here"][1])
            rows.append([case, result, result["copy"][1], case])

        def empirical(case: str) -> None:
            x, ways = jnp.asarray(inputs[case]), {way: jax.jit(kernel) for way, kernel in finite[case].items()}
            calls = {way: lambda way=way: ask(f"{case} | {way}") for way in IMPLEMENTATIONS}
            result = race(calls | {way: lambda k=k: timed(lambda: k(x)) for way, k in ways.items()})
            their = min(IMPLEMENTATIONS, key=lambda way: result[way][1])
            for way, kernel in ways.items():
                kept = f"empirical {case}, {way}"
                ours[kept] = (kernel(x),)
                rows.append([kept, {"theirs": result[their], "here": result[way]}, None, f"{case} | {their}"])
            ratios["empirical"].append(result[their][1] / min(result[way][1] for way in ways))

        for case in inputs:
            print(f"{case} ...", flush=True)
            (empirical if case in finite else analytic)(case)
        peer.stdin.close()
        if peer.wait() != 0:
            raise RuntimeError("Neural Tangents did not end well")
        theirs = dict(np.load(files[1]))

    table = []
    for case, result, copy, key in rows:
        pairs = [(np.asarray(v), theirs[f"{key}/{i}"]) for i, v in enumerate(ours[case])]
        difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
        if not difference < TOLERANCE:
            raise RuntimeError(f"{case}: the two sides differ by {difference:.1e}")
        (their_first, their_best), (first, best) = result["theirs"], result["here"]
        table.append(
            [case.replace(" | ", ", "), 1e3 * their_best, 1e3 * best, f"{their_best / best:.1f}x"]
            + ["" if copy is None else 1e3 * copy, their_first, first, f"{difference:.0e}"]
        )
    text = "; ".join(f"{kind}: median {statistics.median(r):.1f}, least {min(r):.1f}" for kind, r in ratios.items())
    note = (
        "Milliseconds a call for NNGP and NTK of a batch with itself in float32; three hidden layers (two with "
        "pooling), 3 x 3 filters. Neural Tangents 0.6.5 on JAX 0.4.30 (for empirical kernels the fastest of those of "
        f"its implementations that run there), here JAX {jax.__version__}. Speed-ups: {text}. Copying: the two "
        "matrices, once. First call: seconds, with compilation. Difference: the largest, relative to the largest entry."
    )
    columns = ["kernel", "Neural Tangents", "here", "speed-up", "copying", "their first call", "first call"]
    columns += ["difference"]
    report("kernels", "Kernels of wide networks against Neural Tangents", note, columns, table, record=options.record)


if __name__ == "__main__":
    main()
