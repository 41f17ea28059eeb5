r"""Layers that are fixed points of a map (deep equilibrium models), differentiated at the fixed point.

`optimistix.fixed_point` solves for one and differentiates implicitly with a linear solve. For a layer inside a
training loop, `equilibrium` does both solves by a set number of damped iterations: a batch of any size, nothing
assembled, and a cost that is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
from jaxtyping import Array, Float, PyTree

Map = Callable[[PyTree[Array], Float[Array, "*shape"]], Float[Array, "*shape"]]


@partial(jax.custom_vjp, nondiff_argnums=(0, 3, 4))
def equilibrium(
    function: Map, args: PyTree[Array], start: Float[Array, "*shape"], iterations: int = 25, damping: float = 0.0
) -> Float[Array, "*shape"]:
    r"""The fixed point $z^* = f(a, z^*)$, by $z \leftarrow \beta z + (1-\beta)f(a, z)$.

    The gradient is that of the fixed point and not of the iteration: for a cotangent $g$, the equation
    $u = g + (\partial_zf)^\top u$ is solved by as many iterations of its own, and $(\partial_af)^\top u$ returned
    (Bai et al. 2019, theorem 1). Memory does not grow with the number of iterations, and ``start`` gets no gradient.
    Both converge for a contraction, and neither is checked: look at $f(a, z^*) - z^*$.

    Args:
        function: $f$, called as ``f(args, z)``; it must not close over traced values, which belong into ``args``.
        args: $a$: parameters, inputs, whatever is to be differentiated.
        start: where to begin.
        iterations: of either solve.
        damping: $\beta$, from 0 to below 1.
    """
    return _iterate(partial(function, args), start, iterations, damping)


def _iterate(function, z, iterations, damping):
    step = lambda z, _: (damping * z + (1 - damping) * function(z), None)
    return jax.lax.scan(step, z, length=iterations)[0]


def _forward(function, args, start, iterations, damping):
    z = equilibrium(function, args, start, iterations, damping)
    return z, (args, z)


def _backward(function, iterations, damping, kept, cotangent):
    args, z = kept
    _, pull_state = jax.vjp(partial(function, args), z)
    solved = _iterate(lambda u: cotangent + pull_state(u)[0], cotangent, iterations, damping)
    _, pull_args = jax.vjp(lambda args: function(args, z), args)
    return pull_args(solved)[0], jax.numpy.zeros_like(z)


equilibrium.defvjp(_forward, _backward)
