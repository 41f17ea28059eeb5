from itertools import product

import numpy as np
import pytest
from scipy.optimize import least_squares

from reprise.numerics.symbolic_regression import Law, _fit, _grouped, _values, elbow, skeletons, symbolic_regression

X = np.random.default_rng(0).uniform(-0.6, 1.2, (40, 2))


@pytest.mark.parametrize(
    ("law", "constants", "text"),
    [
        (lambda x, y: y / (1 + y), (1,), "y / (1 + y)"),
        (lambda x, y: -x / (1 + x), (-1,), "x / (-1 - x)"),
        (lambda x, y: 0.7 * x * y - 1.3, None, None),
        (lambda x, y: x - y, (), "x - y"),
    ],
)
def test_known_laws_are_found_through_noise(law, constants, text):
    noise = 3e-3 * np.random.default_rng(1).normal(size=len(X))
    front = symbolic_regression(X, law(*X.T) + noise)
    assert [a.complexity < b.complexity and a.loss > b.loss for a, b in zip(front, front[1:], strict=False)]
    best = elbow(front)
    np.testing.assert_allclose(best(*X.T), law(*X.T), atol=0.02)
    assert best.loss == pytest.approx(np.mean((best(*X.T) - law(*X.T) - noise) ** 2))
    if constants is not None:
        np.testing.assert_allclose(best.constants, constants, atol=0.02)
        assert Law(best.tree, constants).text("xy") == text


def every_tree(leaves):
    """All trees in one variable, repetitions included."""
    if leaves == 1:
        return [0, None]
    parts = ((a, b) for k in range(1, leaves) for a, b in product(every_tree(k), every_tree(leaves - k)))
    return [(op, a, b) for a, b in parts for op in "+-*/"]


def test_what_is_left_out_is_expressed_by_what_is_not():
    """A sample of the 274 trees, with random constants: each is some skeleton of at most its complexity."""
    x, rng = np.linspace(0.2, 0.9, 12)[:, None], np.random.default_rng(2)
    kept = skeletons(1, 3, max_constants=3)
    assert [len(every_tree(k)) for k in (1, 2, 3)] == [2, 16, 256]
    assert sum(map(len, kept)) < 70
    for leaves in (1, 2, 3):
        for tree in every_tree(leaves)[:: 4 * leaves - 3]:
            law = Law(tree, tuple(rng.uniform(1.6, 3.0, size=3)))
            with np.errstate(divide="ignore", invalid="ignore"):
                y = np.broadcast_to(law(x[:, 0]), 12)
            if not np.isfinite(y).all():
                continue  # division by x - x
            trees = [tree for group in kept[:leaves] for tree in group]
            starts = (1.0, -1.0, 3.0)  # no pole among the points
            best = min(fit.loss for group in _grouped(trees) for fit in _fit(group, x, y, starts, 40))
            assert best < 1e-12 * max(np.mean(y**2), 1), law.text("x")


def test_derivatives_and_fits_are_those_of_scipy():
    rng = np.random.default_rng(3)
    group = max(_grouped(skeletons(2, 4)[3]), key=len)[:50]
    constants = rng.uniform(1.5, 3, (50, str(group[0]).count("None")))
    values, slopes = _values(group, list(constants.T), X)
    for i, tree in enumerate(group):
        law, h = Law(tree), 1e-6
        np.testing.assert_allclose(values[i], law(*X.T, constants=constants[i]), rtol=1e-12)
        for k, step in enumerate(h * np.eye(constants.shape[1])):
            numerical = (law(*X.T, constants=constants[i] + step) - law(*X.T, constants=constants[i] - step)) / (2 * h)
            np.testing.assert_allclose(slopes[i, k], numerical, rtol=1e-4, atol=1e-6)
    law = Law(("/", None, ("+", None, 1)))
    y = 1.5 / (2 + X[:, 1]) + 0.1 * rng.normal(size=len(X))
    (ours,) = _fit([law.tree], X, y, (1.0,), 40)
    theirs = least_squares(lambda c: law(*X.T, constants=c) - y, [1.0, 1.0])
    np.testing.assert_allclose(ours.constants, theirs.x, rtol=1e-4)


def test_brackets_and_refusals():
    tree = ("-", ("/", 0, ("*", 1, None)), ("-", None, ("*", ("+", 0, None), 1)))
    law = Law(tree, (2.0, 3.0, -4.0))
    x, y = 0.7, 0.3
    assert eval(law.text("xy")) == pytest.approx(law(x, y))
    assert law.complexity == 13
    with pytest.raises(ValueError, match="shapes"):
        symbolic_regression(X[:, 0], X[:, 0])
