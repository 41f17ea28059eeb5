"""A battery that every optimizer of the library must pass, and each optimizer's own identities."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reprise.optimizers.baselines import FIRST_ORDER, first_order, first_order_grid, lbfgs_passes
from reprise.optimizers.sven import SvenState, scale_by_sven, sven
from reprise.training.conditions import fit_conditions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype("float32")
Y = (X @ [1.0, -2.0, 0.5] + 0.3).astype("float32")
PARAMS = {"w": np.ones(3, "float32"), "b": np.zeros((), "float32")}


def residual(params, x, y):
    return params["w"] @ x + params["b"] - y


def per_example(params):
    """What optimizers of per-example gradients are given: gradients, and the extra arguments."""
    values, rows = jax.vmap(jax.value_and_grad(residual), (None, 0, 0))(params, X, Y)
    return rows, {"conditions": values}


def mean_gradient(params):
    """What ordinary optimizers are given."""
    loss = lambda p: 0.5 * jnp.mean(jax.vmap(residual, (None, 0, 0))(p, X, Y) ** 2)
    return jax.grad(loss)(params), {}


#: name: (optimizer, what it is given at some parameters)
OPTIMIZERS = {
    "sven": (sven(0.5), per_example),
    "sven-with-momentum": (optax.chain(scale_by_sven(), optax.trace(0.5), optax.scale(-0.2)), per_example),
    "first-order-grid": (first_order(jnp.array(0), 0.2, jnp.array(False), steps=200), mean_gradient),
}


def step(optimizer, given):
    def one(params, state):
        gradients, extra = given(params)
        updates, state = optimizer.update(gradients, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return one


def sizes(tree):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


@pytest.fixture(params=OPTIMIZERS)
def pair(request):
    return OPTIMIZERS[request.param]


def test_minimises_least_squares(pair):
    optimizer, given = pair

    @jax.jit
    def run(params):
        carry = (params, optimizer.init(params))
        (params, _), _ = jax.lax.scan(lambda carry, _: (step(optimizer, given)(*carry), None), carry, length=200)
        return params

    params = run(PARAMS)
    np.testing.assert_allclose(params["w"], [1, -2, 0.5], atol=1e-3)
    np.testing.assert_allclose(params["b"], 0.3, atol=1e-3)


def test_keeps_shapes_and_dtypes_of_parameters_and_state(pair):
    optimizer, given = pair
    state = optimizer.init(PARAMS)
    params, after = jax.eval_shape(step(optimizer, given), PARAMS, state)
    assert sizes(params) == sizes(PARAMS)
    assert sizes(after) == sizes(state)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_compiled_mapped_and_plain_updates_agree(pair):
    optimizer, given = pair
    one = step(optimizer, given)
    several = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf + 1]), PARAMS)
    states = jax.vmap(optimizer.init)(several)
    mapped, _ = jax.jit(jax.vmap(one))(several, states)
    plain, _ = one(PARAMS, optimizer.init(PARAMS))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5), mapped, plain)


def test_schedule_as_learning_rate_gives_its_value_at_each_step():
    optimizer = sven(optax.piecewise_constant_schedule(1.0, {1: 0.0}))
    rows, extra = per_example(PARAMS)
    update = jax.jit(lambda state: optimizer.update(rows, state, PARAMS, **extra))
    first, state = update(optimizer.init(PARAMS))
    second, _ = update(state)
    assert optax.tree.norm(first) > 0.1
    assert optax.tree.norm(second) == 0


def test_sven_direction_is_the_pseudoinverse_applied_to_the_conditions():
    rows, extra = per_example(PARAMS)
    matrix = np.concatenate([np.asarray(rows["b"])[:, None], rows["w"]], 1)  # leaves in the order of their names
    direction, state = jax.jit(scale_by_sven().update)(rows, SvenState(0, 0.0), **extra)
    expected = np.linalg.pinv(matrix) @ extra["conditions"]
    np.testing.assert_allclose(np.append(direction["b"], direction["w"]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.largest, np.linalg.norm(matrix, 2), rtol=1e-5)
    assert state.kept == 4


def test_sven_refuses_the_gradient_of_the_mean():
    gradient = jax.tree.map(np.ones_like, PARAMS)
    with pytest.raises(ValueError, match="per-example gradients"):
        sven(0.1).update(gradient, sven(0.1).init(PARAMS), PARAMS, conditions=jnp.ones(12))


def test_fit_conditions_is_the_loop_of_updates_and_watches():
    optimizer = sven(0.3)
    batches = X.reshape(4, 3, 3), Y.reshape(4, 3)
    fit = jax.jit(lambda p, b: fit_conditions(residual, p, optimizer, b, watch=lambda p: p["b"], watch_every=2))
    trained, history = fit(PARAMS, batches)
    params, state, seen, values = PARAMS, optimizer.init(PARAMS), [0.0], []
    for i, batch in enumerate(zip(*batches, strict=True)):
        value, rows = jax.vmap(jax.value_and_grad(residual), (None, 0, 0))(params, *batch)
        updates, state = jax.jit(optimizer.update)(rows, state, params, conditions=value)
        params = optax.apply_updates(params, updates)
        values.append(value)
        seen += [params["b"]] if i % 2 else []
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), trained, params)
    np.testing.assert_allclose(history["watch"], seen, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(history["conditions"], np.stack(values), rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="multiple of watch_every"):
        fit_conditions(residual, PARAMS, optimizer, batches, watch_every=3)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_grid_members_are_optaxs_own(name):
    rate, steps = 0.05, 6
    schedule = optax.cosine_decay_schedule(rate, steps)
    own = {"SGD": optax.sgd(schedule, 0.9), "Adam": optax.adam(schedule), "RMSprop": optax.rmsprop(schedule)}[name]

    @jax.jit
    def run(index):
        results = []
        for optimizer in (first_order(index, rate, True, steps), own):
            carry = (PARAMS, optimizer.init(PARAMS))
            carry, _ = jax.lax.scan(lambda c, _, o=optimizer: (step(o, mean_gradient)(*c), None), carry, length=steps)
            results.append(carry[0])
        return results

    ours, theirs = run(list(FIRST_ORDER).index(name))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


def test_grid_has_every_setting_once():
    columns = first_order_grid([0.1, 0.2])
    assert len({*zip(*(column.tolist() for column in columns), strict=True)}) == len(columns[0]) == 3 * 2 * 2


def test_lbfgs_counts_its_evaluations_and_never_gets_worse():
    calls = []
    curvatures = np.array([1.0, 10.0, 100.0], "float32")

    def value_and_grad(w):
        calls.append(w)
        return 0.5 * (curvatures * w * w).sum(), curvatures * w

    path = lbfgs_passes(value_and_grad, np.ones(3, "float32"), passes=12)
    values = 0.5 * (curvatures * path**2).sum(1)
    assert path.shape == (13, 3)
    assert len(calls) >= 13
    assert np.all(np.diff(values) <= 0)
    assert values[-1] < 1e-3 * values[0]
    np.testing.assert_array_equal(path[0], 1)
