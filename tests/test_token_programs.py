import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.networks.token_programs import aff, descent_round, div, load, mov, mul, ridge_round, run

DIM, LENGTH, TASKS = 3, 5, 4


@pytest.fixture(scope="module")
def prompt():
    rng = np.random.default_rng(0)
    return rng.normal(size=(TASKS, LENGTH, DIM)), rng.normal(size=(TASKS, LENGTH)), rng.normal(size=(TASKS, DIM))


def perform(program, prompt):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda *p: run(program, load(program, *p)))(*map(jnp.asarray, prompt)))


def test_instructions_against_numpy():
    rng = np.random.default_rng(1)
    memory = rng.normal(size=(2, 4, 12)).astype("float32")
    maps = rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=2)

    @jax.jit
    def results(memory):
        return (
            mov(memory, 1, 3, slice(0, 3), slice(5, 8)),
            mul(memory, (2, 3, 1), slice(0, 6), slice(6, 9), slice(10, 12)),
            div(memory, slice(0, 3), slice(4, 5), slice(0, 3)),
            aff(memory, slice(0, 3), slice(4, 5), slice(6, 8), *maps),
        )

    expected = [memory.copy() for _ in range(4)]
    for task in range(2):
        expected[0][task, 3, 5:8] = memory[task, 1, :3]
        for t in range(4):
            h = memory[task, t]
            expected[1][task, t, 10:12] = h[:6].reshape(2, 3) @ h[6:9]
            expected[2][task, t, :3] = h[:3] / abs(h[4])
            expected[3][task, t, 6:8] = maps[0] @ h[:3] + maps[1] @ h[4:5] + maps[2]
    for got, want in zip(results(memory), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_rank_one_updates_end_at_ridge_regression(prompt):
    x, y, _ = prompt
    weights = perform(ridge_round(DIM, 0.3), prompt)
    for n in range(1, LENGTH + 1):
        for task in range(TASKS):
            a, b = x[task, :n], y[task, :n]
            expected = np.linalg.solve(a.T @ a + 0.3 * np.eye(DIM), a.T @ b)
            np.testing.assert_allclose(weights[n - 1, task], expected, rtol=1e-11)


def test_descent_follows_the_gradient_of_its_loss(prompt):
    x, y, _ = prompt
    rate, penalty = 0.07, 0.4
    weights = perform(descent_round(DIM, rate, penalty), prompt)
    w = np.zeros((TASKS, DIM))
    for n in range(LENGTH):
        loss = lambda w, n=n: (np.sum(w * x[:, n], -1) - y[:, n]) ** 2 + penalty * np.sum(w**2, -1)
        bumps = 1e-6 * np.eye(DIM)
        w = w - rate * np.stack([(loss(w + e) - loss(w - e)) / 2e-6 for e in bumps], -1)
        np.testing.assert_allclose(weights[n], w, rtol=1e-7, atol=1e-9)


def test_no_answer_depends_on_later_examples(prompt):
    x, y, query = (leaf.copy() for leaf in prompt)
    x[:, 3:], y[:, 3:] = 7.0, -2.0
    program = ridge_round(DIM, 0.3)
    np.testing.assert_array_equal(perform(program, (x, y, query))[:3], perform(program, prompt)[:3])


def test_as_many_instructions_in_any_dimension():
    assert len(ridge_round(2).round) == len(ridge_round(20).round)
    assert descent_round(40, 0.1).size == 2 * descent_round(20, 0.1).size - 2
    with pytest.raises(ValueError, match="penalty must be positive"):
        ridge_round(2, 0.0)
