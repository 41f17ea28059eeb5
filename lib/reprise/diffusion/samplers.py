r"""Fixed-step Runge-Kutta solves of $\dot Z_t = v(Z_t, t)$ over $0\le t\le1$, for counting evaluations of $v$.

Diffrax solves equations; what is here is the little that a comparison at a *given* number of steps needs: the classical
tableaus, one of which Diffrax lacks, states and speeds at all nodes from the evaluations that the method makes anyway,
and a number of steps that may be traced, so that 1 and 64 Euler steps are one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

VectorField = Callable[[PyTree, Array], PyTree]


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method.

    Attributes:
        rows: coefficients of the earlier stages in each stage.
        weights: coefficients of the stages in the step.
    """

    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    @property
    def nodes(self) -> tuple[float, ...]:
        """Times of the stages, as shares of the step."""
        return tuple(sum(row) for row in self.rows)


#: First order, one evaluation a step.
EULER = Tableau(((),), (1.0,))
#: Heun's second-order method, two evaluations a step.
HEUN = Tableau(((), (1.0,)), (0.5, 0.5))
#: The classical fourth-order method, four evaluations a step.
RK4 = Tableau(((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


class Trajectory(NamedTuple):
    """Solutions at the ends of all steps.

    Attributes:
        times: the nodes, from 0 to 1.
        positions: $Z_t$, a pytree like the initial state with a leading axis for time.
        velocities: $v(Z_t, t)$, likewise.
    """

    times: Float[Array, " nodes"]
    positions: PyTree[Float[Array, "nodes ..."]]
    velocities: PyTree[Float[Array, "nodes ..."]]


def trajectory(velocity: VectorField, z0: PyTree[Array], steps: int, method: Tableau = RK4) -> Trajectory:
    """Solve from $t=0$ to $t=1$ in equal steps and keep every node.

    Args:
        velocity: ``velocity(z, t)``, with ``z`` like ``z0`` and ``t`` a scalar; evaluated up to and including $t=1$.
        z0: initial state, an array or a pytree of arrays.
        steps: number of steps, static.
        method: the Runge-Kutta method.
    """
    times = jnp.linspace(0, 1, steps + 1, dtype=jnp.result_type(*jax.tree.leaves(z0)))

    def step(z, t):
        new, speed = _step(velocity, z, t, 1 / steps, method)
        return new, (z, speed)

    last, (positions, velocities) = jax.lax.scan(step, z0, times[:-1])
    append = lambda many, one: jnp.concatenate([many, one[None]])
    return Trajectory(
        times,
        jax.tree.map(append, positions, last),
        jax.tree.map(append, velocities, velocity(last, times[-1])),
    )


def endpoint(
    velocity: VectorField, z0: PyTree[Array], steps: int | Int[Array, ""], method: Tableau = RK4
) -> PyTree[Array]:
    """The state at $t=1$ after equal steps from $t=0$, as `trajectory` without its nodes.

    Args:
        velocity: ``velocity(z, t)``; a method whose nodes are below 1, such as `EULER`, never evaluates it at $t=1$.
        z0: initial state, an array or a pytree of arrays.
        steps: number of steps; may be traced.
        method: the Runge-Kutta method.
    """
    dtype = jnp.result_type(*jax.tree.leaves(z0))
    width = 1 / jnp.asarray(steps, dtype)
    return jax.lax.fori_loop(0, steps, lambda k, z: _step(velocity, z, k.astype(dtype) * width, width, method)[0], z0)


def _step(velocity: VectorField, z: PyTree, t: Array, width: ArrayLike, method: Tableau) -> tuple[PyTree, PyTree]:
    """One step, and the velocity at its start."""
    # Stages are unrolled: as a scan they would compile faster, but run several times slower on a CPU.

    def moved(coefficients):
        used = [(c, s) for c, s in zip(coefficients, stages, strict=True) if c]
        if not used:
            return z
        along = lambda z, *speeds: z + width * sum(c * s for (c, _), s in zip(used, speeds, strict=True))
        return jax.tree.map(along, z, *(s for _, s in used))

    stages = []
    for row, node in zip(method.rows, method.nodes, strict=True):
        stages.append(velocity(moved(row), t + node * width))
    return moved(method.weights), stages[0]
