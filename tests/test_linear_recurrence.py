import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import expit

from reprise.networks.linear_recurrence import GatedRecurrence, RecurrentBlocks, scan_parallel, scan_sequential

TIME, CHANNELS = 13, 4  # not a power of two


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(0)
    decay = rng.uniform(size=(3, TIME, CHANNELS)).astype("float32")
    return decay, rng.normal(size=decay.shape).astype("float32"), rng.normal(size=(3, CHANNELS)).astype("float32")


def by_hand(decay, inputs, start):
    states, h = [], start
    for t in range(decay.shape[-2]):
        h = decay[..., t, :] * h + inputs[..., t, :]
        states.append(h)
    return np.stack(states, -2)


@pytest.mark.parametrize("scan", [scan_parallel, scan_sequential])
def test_scans_match_a_loop(scan, sequences):
    decay, inputs, start = sequences
    with_start, from_zero = jax.jit(lambda *a: (scan(*a), scan(*a[:2])))(*sequences)
    np.testing.assert_allclose(with_start, by_hand(*sequences), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(from_zero, by_hand(decay, inputs, 0 * start), rtol=1e-5, atol=1e-5)


def test_gradients_of_the_two_scans_agree(sequences):
    weights = np.random.default_rng(1).normal(size=sequences[0].shape).astype("float32")
    both = [jax.jit(jax.grad(lambda a, u, s, scan=scan: jnp.sum(weights * scan(a, u, s)), (0, 1, 2))) for scan in
            (scan_parallel, scan_sequential)]  # fmt: skip
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *(g(*sequences) for g in both))


def test_a_constant_decay_is_a_geometric_series():
    states = scan_parallel(jnp.full((TIME, 1), 0.5), jnp.ones((TIME, 1)))
    np.testing.assert_allclose(states[:, 0], 2 - 0.5 ** np.arange(TIME), rtol=1e-6)


def drawn(make):
    """A module whose every parameter is random, without the cost of drawing them one by one."""
    graph, params = nnx.split(nnx.eval_shape(make))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(2)
    return nnx.merge(graph, tree.unflatten(jnp.asarray(rng.normal(size=a.shape) / 2, jnp.float32) for a in leaves))


def layer_by_hand(x, project, bias, merge):
    decay, value, gate = np.split(x @ project, 3, -1)
    keep = expit(decay + bias)
    return (by_hand(keep, (1 - keep) * value, np.zeros(x.shape[-1])) * gate * expit(gate)) @ merge


def test_layer_matches_numpy_and_spreads_its_memory():
    layer = drawn(lambda: GatedRecurrence(CHANNELS, rngs=nnx.Rngs(0)))
    x = np.random.default_rng(3).normal(size=(TIME, CHANNELS)).astype("float32")
    expected = layer_by_hand(x, *(np.asarray(p[...], float) for p in (layer.project, layer.bias, layer.merge)))
    np.testing.assert_allclose(jax.jit(lambda m, x: m(x))(layer, x), expected, atol=1e-5)
    np.testing.assert_allclose(GatedRecurrence(CHANNELS, rngs=nnx.Rngs(0)).bias[...], [0, 4 / 3, 8 / 3, 4], rtol=1e-6)


def test_blocks_match_numpy_and_do_not_look_ahead():
    model = drawn(lambda: RecurrentBlocks(3, CHANNELS, 2, depth=2, hidden=6, rngs=nnx.Rngs(0)))
    run = jax.jit(lambda m, x: m(x))
    x = np.random.default_rng(4).normal(size=(TIME, 3)).astype("float32")
    get = lambda leaf: np.asarray(leaf[...], float)
    norm = lambda h: (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
    gelu = lambda a: 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
    p = {name: get(leaf) for name, leaf in model.blocks.items()}
    h = x @ get(model.embedding.weight) + get(model.embedding.bias)
    for b in range(2):
        keyed = norm(h) * p["gain"][b, 0] + p["shift"][b, 0]
        h = h + layer_by_hand(keyed, p["project"][b], p["bias"][b], p["merge"][b])
        keyed = norm(h) * p["gain"][b, 1] + p["shift"][b, 1]
        h = h + gelu(keyed @ p["up"][b] + p["up_bias"][b]) @ p["down"][b] + p["down_bias"][b]
    expected = (norm(h) * get(model.gain) + get(model.shift)) @ get(model.readout.weight) + get(model.readout.bias)
    out = run(model, x)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    how = {"parallel": False, "unroll": True}  # time in a loop, blocks written out
    otherwise = drawn(lambda: RecurrentBlocks(3, CHANNELS, 2, depth=2, hidden=6, **how, rngs=nnx.Rngs(0)))
    np.testing.assert_allclose(run(otherwise, x), out, atol=1e-5)
    later = x.copy()
    later[-3:] += 1
    np.testing.assert_allclose(run(model, later)[:-3], out[:-3], atol=1e-6)
