import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.networks.functional import initialise
from reprise.networks.low_rank import low_rank_adapters, merge
from reprise.networks.mlp import MLP
from reprise.networks.transformer import Transformer

RANK, NAMES = 2, ("attend", "down")


@pytest.fixture(scope="module")
def network():
    make = lambda rngs: Transformer(3, 8, 3, depth=2, heads=2, hidden=12, length=6, rngs=rngs)
    return initialise(make, np.random.default_rng(0))


def random_adapters(params, seed=1):
    rng = np.random.default_rng(seed)
    fresh = low_rank_adapters(params, NAMES, RANK, rng)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), fresh)


def test_fresh_adapters_change_nothing(network):
    _, params = network
    adapters = low_rank_adapters(params, NAMES, RANK, np.random.default_rng(1))
    assert sorted(path.split("/")[1] for path in adapters) == ["attend", "down"]
    jax.tree.map(np.testing.assert_array_equal, merge(params, adapters), params)
    assert all(np.all(np.std(adapter.into, (-2, -1)) > 0.1) for adapter in adapters.values())


def test_only_the_chosen_matrices_change_and_by_the_rank(network):
    _, params = network
    merged = merge(params, random_adapters(params), scale=0.5)
    change = jax.tree.map(lambda new, old: np.asarray(new - old, float), merged, params)
    for name, leaf in change["blocks"].items():
        if name in NAMES:
            values = np.linalg.svd(leaf[...], compute_uv=False)  # of every block's matrix
            assert values.shape[0] == 2
            assert (values[:, RANK - 1] > 0.1).all()
            np.testing.assert_allclose(values[:, RANK:], 0, atol=1e-5)
        else:
            assert not np.any(leaf[...])
    assert not any(np.any(change[name][...]) for name in ("positions", "gain", "shift"))
    assert not np.any(change["readout"]["weight"][...])


def test_merged_is_adapted():
    """The branch beside a layer, written out: x W + s (x A) B."""
    _, params = initialise(lambda rngs: MLP([4, 5, 3], bias_std=1.0, rngs=rngs), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    adapters = low_rank_adapters(params, ["weight"], RANK, rng)
    adapters = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), adapters)
    apply, _ = initialise(lambda rngs: MLP([4, 5, 3], rngs=rngs), rng)
    x = rng.normal(size=(7, 4)).astype(np.float32)
    h = x
    for i, (into, out) in enumerate(adapters.values()):
        layer = params["layers"][i]
        h = h @ layer["weight"][...] + 0.3 * (h @ into) @ out + layer["bias"][...]
        h = h if i else np.maximum(h, 0)
    np.testing.assert_allclose(apply(merge(params, adapters, 0.3), x), h, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_product():
    """dL/dA = s G B^T and dL/dB = s A^T G with G = dL/dW, and W itself has no part in training."""
    params = {"a": np.float32([[1, 2, 3], [4, 5, 6]]), "b": np.ones(3, np.float32)}
    rng = np.random.default_rng(0)
    adapters = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), low_rank_adapters(params, ["a"], 1, rng)
    )
    loss = lambda params: jnp.sum(jnp.sin(params["a"])) + jnp.sum(params["b"])
    found = jax.grad(lambda adapters: loss(merge(params, adapters, 0.5)))(adapters)
    outer = np.cos(merge(params, adapters, 0.5)["a"])
    into, out = adapters["a"]
    assert list(found) == ["a"]
    np.testing.assert_allclose(found["a"].into, 0.5 * outer @ out.T, rtol=1e-5)
    np.testing.assert_allclose(found["a"].out, 0.5 * into.T @ outer, rtol=1e-5)


def test_members_are_independent_and_what_cannot_be_is_refused(network):
    _, params = network
    adapters = low_rank_adapters(params, NAMES, RANK, np.random.default_rng(1), members=3)
    first, second, _ = (
        adapters["blocks/attend"].into if "blocks/attend" in adapters else next(iter(adapters.values())).into
    )
    assert first.shape == (2, 8, RANK)
    assert (first != second).all()
    with pytest.raises(ValueError, match="no parameter is named 'attention'"):
        low_rank_adapters(params, ["attention"], RANK, np.random.default_rng(1))
    with pytest.raises(ValueError, match="rank 9"):
        low_rank_adapters(params, ["attend"], 9, np.random.default_rng(1))
    with pytest.raises(ValueError, match="rank 1"):
        low_rank_adapters({"bias": np.ones(3)}, ["bias"], 1, np.random.default_rng(1))
