import numpy as np
import pytest

from reprise.tasks import boolean_functions as boolean

N = 4


def all_inputs(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def test_conjunctions_are_all_different_and_say_what_their_literals_say():
    rows = boolean.conjunctions(N)
    tables = boolean.satisfies(all_inputs(N), rows[:, None])
    assert len(rows) == len(np.unique(tables, axis=0)) == 3**N
    by_hand = [[all(x[i] == (c[i] > 0) for i in range(N) if c[i]) for x in all_inputs(N)] for c in rows]
    np.testing.assert_array_equal(tables, by_hand)
    np.testing.assert_array_equal(tables.sum(1), 2 ** (N - np.abs(rows).sum(1)))
    assert len(boolean.conjunctions(6, (2, 3))) == 15 * 4 + 20 * 8


def test_drawn_conjunctions_are_uniform():
    drawn = boolean.draw_conjunctions(np.random.default_rng(0), 3, (1, 2), 60000)
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    share = np.where(np.abs(rows).sum(1) == 1, 1 / 6, 1 / 12) / 2
    assert len(rows) == 6 + 12
    np.testing.assert_allclose(counts / 60000, share, atol=4 * (1 / 12 / 60000) ** 0.5)


def test_balanced_inputs_have_the_law_that_bayes_uses():
    literals = np.array([1, 0, -1], np.int8)
    x = boolean.balanced_inputs(np.random.default_rng(1), np.tile(literals, (20000, 1)), 4, 0.4)
    counts = np.bincount((x @ (1 << np.arange(3))).ravel(), minlength=8) / 80000
    expected = 0.6 / 8 + 0.4 * boolean.satisfies(all_inputs(3), literals) * 2.0 ** (2 - 3)
    np.testing.assert_allclose(counts, expected, atol=0.008)


def test_teaching_sequences_identify_and_no_part_of_them_does():
    rows = boolean.conjunctions(N)
    x, length = boolean.teaching_sequences(np.random.default_rng(2), rows)
    y = boolean.satisfies(x, rows[:, None])
    np.testing.assert_array_equal(boolean.version_space(x, y, rows), np.eye(len(rows), dtype=bool))
    assert all(y[i, :2].all() and not y[i, 2:end].any() for i, end in enumerate(length))
    for i, end in enumerate(length):
        for left_out in range(end if end < N + 2 else 0):  # with all variables relevant the second input is the first
            keep = [k for k in range(end) if k != left_out]
            assert boolean.version_space(x[i, keep], y[i, keep], rows).sum() > 1


def test_bayes_is_the_posterior_by_brute_force():
    rng = np.random.default_rng(3)
    rows = boolean.conjunctions(3, (1, 2))
    prior = rng.dirichlet(np.ones(len(rows)))
    literals = rows[rng.integers(len(rows), size=5)]
    x = boolean.balanced_inputs(rng, literals, 4, 0.3)
    y = boolean.satisfies(x, literals[:, None])
    got = boolean.bayes_conjunctions(x, y, rows, prior, 0.3)
    for prompt in range(5):
        for k in range(4):
            total = positive = 0.0
            for c, weight in zip(rows, prior, strict=True):
                for i in range(k + 1):
                    f = boolean.satisfies(x[prompt, i], c)
                    weight *= 0.7 / 8 + 0.3 * f * 2.0 ** (np.abs(c).sum() - 3)
                    weight *= i == k or f == y[prompt, i]
                total += weight
                positive += weight * boolean.satisfies(x[prompt, k], c)
            assert got[prompt, k] == pytest.approx(positive / total)


def test_elimination_is_the_posterior_over_all_parities():
    rng = np.random.default_rng(4)
    subset, x = rng.random((60, N)) < 0.5, rng.random((60, 7, N)) < 0.5
    y = boolean.parity(x, subset[:, None])
    np.testing.assert_array_equal(y, (x & subset[:, None]).sum(-1) % 2)
    labels = boolean.parity(x[:, None], all_inputs(N)[:, None])  # [prompts, subsets, length]
    agrees = np.cumsum(labels != y[:, None], -1) - (labels != y[:, None]) == 0
    expected = (agrees * labels).sum(1) / agrees.sum(1)
    np.testing.assert_allclose(boolean.parity_by_elimination(x, y), expected)
    assert set(np.unique(expected)) == {0, 0.5, 1}


def test_simple_guesses_by_hand():
    x = np.array([[[0, 0], [0, 1], [0, 1], [1, 1], [0, 0]]], bool)
    y = np.array([[1, 0, 1, 1, 0]], bool)
    np.testing.assert_array_equal(boolean.majority_so_far(y), [[0.5, 1, 0.5, 1, 1]])
    np.testing.assert_array_equal(boolean.nearest_neighbour(x, y), [[0.5, 1, 0, 0.5, 1]])
    np.testing.assert_array_equal(boolean.unseen(x), [[True, True, False, True, False]])
    np.testing.assert_array_equal(
        boolean.accuracy(np.array([0.5, 0.7, 0.2]), np.array([True, True, True])), [0.5, 1, 0]
    )
