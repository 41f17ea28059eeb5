r"""Symbolic regression by enumeration: the simplest formula that fits data, its constants fitted.

All expressions in some variables, free constants and the four operations are listed by complexity, the constants of
each are fitted by Levenberg-Marquardt steps, many expressions at a time in NumPy, and the best of each complexity is
kept. For laws of up to four leaves in two variables that takes a second and tries them all, where PySR (Cranmer 2023,
arXiv:2305.01582) searches much larger spaces by evolution.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

# A variable's number, None for a constant, or (operation, left, right).
Tree = int | None | tuple[str, Any, Any]

_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_SUMS, _PRODUCTS = "+-", "*/"


class Law(NamedTuple):
    """A formula with its constants.

    Attributes:
        tree: a variable's number, None for a constant, or ``(operation, left, right)``.
        constants: their values, from left to right.
        loss: mean squared error of the fit.
    """

    tree: Tree
    constants: tuple[float, ...] = ()
    loss: float = np.nan

    @property
    def complexity(self) -> int:
        """Number of nodes of the tree: variables, constants and operations."""
        return 2 * len(_leaves(self.tree)) - 1

    def __call__(self, *variables: Any, constants: Any = None) -> Any:
        """The formula's value, for NumPy or JAX arrays; with other constants, if given."""
        left_over = iter(self.constants if constants is None else constants)

        def value(tree):
            if not isinstance(tree, tuple):
                return next(left_over) if tree is None else variables[tree]
            return _OPERATIONS[tree[0]](value(tree[1]), value(tree[2]))

        return value(self.tree)

    def text(self, names: Sequence[str], digits: int = 3) -> str:
        """The formula as a string, with names for the variables and constants to so many significant digits."""
        left_over = iter(self.constants)

        def show(tree, inside):
            if not isinstance(tree, tuple):
                return f"{next(left_over):.{digits}g}" if tree is None else names[tree]
            op, left, right = tree
            # In which operations, and on which side, an operation needs brackets.
            loose = (inside in ("*", "/", "/r", "-r") and op in _SUMS) or (inside == "/r" and op in _PRODUCTS)
            body = f"{show(left, op)} {op} {show(right, op + 'r' if op in '-/' else op)}"
            return f"({body})" if loose else body

        return show(self.tree, "").replace("+ -", "- ").replace("- -", "+ ")


def skeletons(variables: int, leaves: int, max_constants: int = 2) -> list[list[Tree]]:
    """All trees with free constants, by number of leaves from 1 to ``leaves``, without obvious repetitions.

    Left out are trees that others of the same or a lower complexity stand for, whatever their constants: operations on
    two constants, a sum or product in the other order, a constant subtracted or divided by, a second constant in a
    chain of sums or of products, and a variable minus or over itself.

    Args:
        variables: their number.
        leaves: the most leaves of a tree.
        max_constants: the most constants in a tree.
    """
    by_leaves: list[list[Tree]] = [[], [*range(variables), None]]
    for count in range(2, leaves + 1):
        pairs = ((a, b) for k in range(1, count) for a, b in product(by_leaves[k], by_leaves[count - k]))
        trees = [(op, a, b) for a, b in pairs for op in _OPERATIONS if _worthwhile(op, a, b)]
        by_leaves.append([tree for tree in trees if _leaves(tree).count(None) <= max_constants])
    return by_leaves[1:]


def _worthwhile(op: str, a: Tree, b: Tree) -> bool:
    if b is None or (a == b and op in "-/"):  # in a sum or product the constant stands on the left
        return False
    if op in "+*":
        key = lambda tree: (tree is not None, len(_leaves(tree)), str(tree))
        if key(a) > key(b):
            return False
    alike = _SUMS if op in _SUMS else _PRODUCTS
    return not (a is None and isinstance(b, tuple) and b[0] in alike and None in b[1:])


def _leaves(tree: Tree) -> list[int | None]:
    return [*_leaves(tree[1]), *_leaves(tree[2])] if isinstance(tree, tuple) else [tree]


def symbolic_regression(
    x: Float[np.ndarray, "n variables"], y: Float[np.ndarray, " n"], *, leaves: int = 4, max_constants: int = 2,
    starts: Sequence[float] = (1.0, -1.0, 0.3), keep: int = 40, steps: tuple[int, int] = (6, 40),
) -> list[Law]:  # fmt: skip
    """The Pareto front of complexity and error: the best formula of each complexity, if it beats the simpler by 1 %.

    Deterministic: every skeleton is fitted from each of ``starts`` (all its constants begin there) by a few steps, and
    the best of each complexity by more. Constants enter nonlinearly, so that a minimum can still be missed.

    Args:
        x: variables, one row a point; some fifty well-spread points are plenty.
        y: what the formula is to give.
        leaves: the most variables and constants in a formula.
        max_constants: the most constants in it.
        starts: where constants begin.
        keep: how many formulas of each complexity to fit to the end.
        steps: Levenberg-Marquardt steps for all, and for those that are kept.

    Raises:
        ValueError: shapes do not fit.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"x and y must have shapes [n, variables] and [n], not {x.shape} and {y.shape}")
    front: list[Law] = []
    for trees in skeletons(x.shape[1], leaves, max_constants):
        laws = [law for group in _grouped(trees) for law in _fit(group, x, y, starts, steps[0])]
        laws = sorted(laws, key=lambda law: law.loss)[:keep]
        for group in _grouped([law.tree for law in laws]):
            constants = {law.tree: law.constants for law in laws}
            laws += _fit(group, x, y, [constants[tree] for tree in group], steps[1])
        best = min(laws, key=lambda law: law.loss)
        if not front or best.loss < 0.99 * front[-1].loss:
            front.append(best)
    return front


def elbow(front: Sequence[Law]) -> Law:
    """The law after the steepest fall of a front, in logarithm of the loss per unit of complexity (Cranmer 2023).

    Args:
        front: from `symbolic_regression`.
    """
    floor = 1e-30  # of a loss, so that an exact fit has a logarithm
    fall = lambda a, b: np.log((a.loss + floor) / (b.loss + floor)) / (b.complexity - a.complexity)
    return max(zip(front, front[1:], strict=False), key=lambda pair: fall(*pair), default=(None, front[0]))[1]


def _grouped(trees: Sequence[Tree]) -> list[list[Tree]]:
    """Trees of the same shape, with constants in the same places."""
    shape = lambda tree: (
        (shape(tree[1]), shape(tree[2])) if isinstance(tree, tuple) else "constant" if tree is None else "variable"
    )
    groups = defaultdict(list)
    for tree in trees:
        groups[shape(tree)].append(tree)
    return list(groups.values())


def _values(trees: list[Tree], constants, x):
    """Values [trees, n] of trees of one shape, and derivatives [trees, constants, n]; ``constants`` are used up."""
    if trees[0] is None:
        c = constants.pop(0)
        return np.broadcast_to(c[:, None], (len(c), len(x))), np.ones((len(c), 1, len(x)))
    if isinstance(trees[0], int):
        return x.T[trees], np.zeros((len(trees), 0, len(x)))
    a, da = _values([tree[1] for tree in trees], constants, x)
    b, db = _values([tree[2] for tree in trees], constants, x)
    value, by_a, by_b = np.empty((3, len(trees), len(x)))
    ops = np.array([tree[0] for tree in trees])
    for op in _OPERATIONS:
        rows = ops == op
        if rows.any():
            u, v = a[rows], b[rows]
            if op in _SUMS:
                sign = 1 if op == "+" else -1
                value[rows], by_a[rows], by_b[rows] = u + sign * v, 1, sign
            else:
                one = 1 / v if op == "/" else v
                value[rows], by_a[rows], by_b[rows] = u * one, one, u if op == "*" else -u * one**2
    return value, np.concatenate([da * by_a[:, None], db * by_b[:, None]], axis=1)


def _fit(trees: list[Tree], x, y, starts, steps: int) -> list[Law]:
    """Fit the constants of trees of one shape, from every start (a number, or one vector a tree), side by side."""
    count = _leaves(trees[0]).count(None)
    if isinstance(starts[0], tuple):
        many, c = trees, np.array(starts, float).reshape(len(trees), count)
    else:
        starts = starts if count else starts[:1]
        many, c = trees * len(starts), np.repeat(np.asarray(starts, float), len(trees))[:, None].repeat(count, 1)

    @np.errstate(all="ignore")
    def look(c):
        values, slopes = _values(many, list(c.T), x)
        loss = np.mean((values - y) ** 2, axis=1)
        return np.where(np.isfinite(loss), loss, np.inf), values - y, slopes

    loss, residuals, slopes = look(c)
    damping = np.full(len(many), 1e-2)
    for _ in range(steps if count else 0):
        fine = np.isfinite(slopes).all((1, 2)) & np.isfinite(loss)
        slope = np.where(fine[:, None, None], slopes, 0.0)
        normal = slope @ slope.swapaxes(1, 2)
        normal += (damping[:, None] * np.diagonal(normal, axis1=1, axis2=2) + 1e-12)[..., None] * np.eye(count)
        gradient = slope @ np.where(fine[:, None], residuals, 0.0)[..., None]
        trial = c - np.linalg.solve(normal, gradient)[..., 0]
        new = look(trial)
        better = new[0] < loss
        c = np.where(better[:, None], trial, c)
        loss, residuals, slopes = (
            np.where(better.reshape(-1, *(1,) * (old.ndim - 1)), now, old)
            for now, old in zip(new, (loss, residuals, slopes), strict=True)
        )
        damping = np.where(better, damping / 5, damping * 5)
    best = loss.reshape(-1, len(trees)).argmin(0) * len(trees) + np.arange(len(trees))
    return [Law(tree, tuple(map(float, c[i])), float(loss[i])) for tree, i in zip(trees, best, strict=True)]
