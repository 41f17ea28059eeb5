r"""Steps of a Diffrax solver along a given grid, in a scan: what short trainings differentiate straight through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def fixed_steps(
    terms: PyTree[diffrax.AbstractTerm],
    solver: diffrax.AbstractSolver,
    times: Float[Array, " steps_plus_1"],
    y0: PyTree,
    args: Any = None,
    *,
    save: Callable[[PyTree], Any] | None = None,
) -> tuple[PyTree, Any]:
    r"""Solve a differential equation along a grid of times; autodiff gives the gradient of the discrete solve.

    The numbers are those of `diffrax.diffeqsolve` with `diffrax.StepTo`. Without its step control, outputs, events and
    adjoints there is much less to trace and to compile, which is what short trainings spend their time on. Reverse mode
    stores the trajectory: for long ones take `diffrax.diffeqsolve` and its adjoints.

    Args:
        terms: as Diffrax takes them.
        solver: any Diffrax solver.
        times: from the initial to the final time; may be traced. Where two are equal nothing happens, so that one
            compiled program serves grids of different lengths, filled up with their last time.
        y0: initial state.
        args: passed on to the terms.
        save: if given, what to keep of the state after every step.

    Returns:
        The state at the last time, and what was saved with a leading axis ``steps`` (or None).
    """
    times = jnp.asarray(times, jnp.result_type(*jax.tree.leaves(y0)))
    state = solver.init(terms, times[0], times[1], y0, args)

    def step(carry, now):
        y, state = carry
        y, _, _, state, _ = solver.step(terms, *now, y, args, state, made_jump=False)
        return (y, state), None if save is None else save(y)

    (y1, _), saved = jax.lax.scan(step, (y0, state), (times[:-1], times[1:]))
    return y1, saved
