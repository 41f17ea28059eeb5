"""Train the library's transformer against the same model in PyTorch: tokens a second.

    python tests/benchmarks/bench_transformer.py [--record]

One training step is a forward and a backward pass and Adam's update on a fresh batch of one-hot symbols. Here all steps
of a call are one compiled scan; PyTorch runs its usual eager loop, with its own attention, fused Adam and the same
number of threads. (``torch.compile`` needs a C++ compiler and, on a machine like this one, minutes for each model.)
PyTorch has an environment of its own (in the user's cache, made once) and a process of its own; the sides take turns,
call by call, and the median counts. Both start from the same weights; logits and the first call's losses must agree.
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
import optax
from flax import nnx

from peers import peer_python
from report import arguments, report
from reprise.networks.functional import initialise
from reprise.networks.mlp import count_parameters
from reprise.networks.transformer import Transformer
from reprise.training.loop import fit

TORCH = "2.13.0"
#: width, blocks, heads, batch, tokens, steps a call; the first two are sizes of the book's pages.
CASES = [(32, 2, 2, 64, 9, 100), (32, 2, 2, 64, 20, 60), (128, 4, 4, 32, 64, 6)]
SYMBOLS, RATE, TURNS = 16, 1e-3, 7
TOLERANCE = 1e-4  # of logits; losses after some steps of Adam may differ by ten times that


def trainer(width, depth, heads, length):
    """``apply`` and initial weights of one network, and a function that trains it on all steps of some data."""

    def make(rngs):
        return Transformer(SYMBOLS, width, SYMBOLS, depth=depth, heads=heads, length=length, rngs=rngs)

    apply, params = initialise(make, np.random.default_rng(width))

    def loss(params, _, data):
        x, labels = data
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), labels).mean()

    def train(params, x, labels):
        optimizer = optax.adam(RATE)
        trained, history = fit(loss, params, optimizer, jax.random.key(0), len(x), inputs=(x, labels))
        return history["loss"], trained

    return apply, jax.device_put(params), train


def named(params) -> dict[str, np.ndarray]:
    """Weights by their paths: ``blocks.up`` and the like."""
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(params))
    return {".".join(str(key.key) for key in path): np.asarray(leaf) for path, leaf in leaves}


def seconds_of(call) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def main() -> None:
    options = arguments(__doc__)
    python, rng = peer_python(f"torch-{TORCH}", [f"torch=={TORCH}", "numpy"]), np.random.default_rng(0)
    inputs, ours = {}, {}
    for width, depth, heads, batch, length, steps in CASES:
        case = f"width {width}, {depth} blocks, batch {batch}, {length} tokens"
        symbols = rng.integers(SYMBOLS, size=(steps, batch, length + 1))
        x, labels = np.eye(SYMBOLS, dtype=np.float32)[symbols[..., :-1]], symbols[..., 1:].astype(np.int32)
        apply, params, train = trainer(width, depth, heads, length)
        start = time.perf_counter()
        program = jax.jit(train).lower(params, x, labels).compile()
        compiling = time.perf_counter() - start
        logits = np.asarray(jax.jit(apply)(params, x[0]))
        data = jax.device_put((params, jnp.asarray(x), jnp.asarray(labels)))
        ours[case] = lambda program=program, data=data: program(*data), logits, compiling, count_parameters(params)
        parts = {"x": x, "labels": labels, "heads": heads, "rate": RATE}
        parts |= {f"weights/{name}": value for name, value in named(params).items()}
        inputs |= {f"{case}/{name}": value for name, value in parts.items()}

    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("inputs.npz", "outputs.npz")]
        np.savez(files[0], **inputs)
        script = Path(__file__).with_name("peer_torch_transformer.py")
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        peer = subprocess.Popen([python, script, *files], **pipe)

        def ask(case: str) -> float:
            print(case, file=peer.stdin, flush=True)
            answer = peer.stdout.readline()
            if not answer:
                raise RuntimeError(f"PyTorch stopped at {case!r}")
            return float(answer)

        timings = {}
        for case, (call, *_) in ours.items():
            print(f"{case} ...", flush=True)
            contenders = {"torch": lambda case=case: ask(case), "here": lambda call=call: seconds_of(call)}
            for contender in contenders.values():
                contender()
            turns = [{name: contender() for name, contender in contenders.items()} for _ in range(TURNS)]
            timings[case] = {name: statistics.median(turn[name] for turn in turns) for name in contenders}
        peer.stdin.close()
        if peer.wait() != 0:
            raise RuntimeError("PyTorch did not end well")
        theirs = dict(np.load(files[1]))

    table = []
    for (_, _, _, batch, length, steps), (case, (call, logits, compiling, size)) in zip(
        CASES, ours.items(), strict=True
    ):
        losses = np.asarray(call()[0])
        apart = float(np.abs(theirs[f"{case}/logits"] - logits).max())
        later = float(np.abs(theirs[f"{case}/losses"] - losses).max())
        if not (apart < TOLERANCE and later < 10 * TOLERANCE):
            raise RuntimeError(f"{case}: logits differ by {apart:.1e}, losses by {later:.1e}")
        speed = {name: batch * length * steps / seconds / 1e3 for name, seconds in timings[case].items()}
        row = [f"{case} ({size} weights)", speed["torch"], speed["here"], f"{speed['here'] / speed['torch']:.2f}x"]
        table.append([*row, compiling, f"{apart:.0e}"])
    note = (
        "Thousands of tokens a second in training (forward, backward, Adam), float32, on all cores. PyTorch "
        f"{TORCH} eagerly, with fused Adam; here JAX {jax.__version__}, all steps of a call in one compiled scan. "
        f"Medians of {TURNS} calls in turn. Compile: seconds, not part of the speeds. Difference: the largest, of "
        "logits from equal weights."
    )
    columns = ["model", "PyTorch", "here", "ratio", "compile", "difference"]
    report("transformer", "Training a small transformer against PyTorch", note, columns, table, record=options.record)


if __name__ == "__main__":
    main()
