r"""Equal steps of a Diffrax solver in a scan: what training loops with few steps differentiate straight through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def fixed_steps(
    terms: PyTree[diffrax.AbstractTerm],
    solver: diffrax.AbstractSolver,
    t0: float,
    t1: float,
    steps: int,
    y0: PyTree,
    args: Any = None,
    *,
    save: Callable[[PyTree], Any] | None = None,
) -> tuple[PyTree, Any]:
    r"""Solve a differential equation over $[t_0,t_1]$ in equal steps; autodiff gives the discrete solve's gradient.

    The numbers are those of `diffrax.diffeqsolve` with `diffrax.ConstantStepSize`. Without its step control, outputs,
    events and adjoints there is much less to trace and to compile, which is what short trainings spend their time on.
    Reverse mode stores the trajectory: for long ones take `diffrax.diffeqsolve` and its adjoints.

    Args:
        terms: as Diffrax takes them.
        solver: any Diffrax solver.
        t0, t1: the interval; both may be traced.
        steps: how many steps.
        y0: initial state.
        args: passed on to the terms.
        save: if given, what to keep of the state after every step.

    Returns:
        The state at ``t1``, and what was saved with a leading axis ``steps`` (or None).

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    times = t0 + (t1 - t0) * jnp.arange(steps + 1, dtype=dtype) / steps
    state = solver.init(terms, times[0], times[1], y0, args)

    def step(carry, now):
        y, state = carry
        y, _, _, state, _ = solver.step(terms, *now, y, args, state, made_jump=False)
        return (y, state), None if save is None else save(y)

    (y1, _), saved = jax.lax.scan(step, (y0, state), (times[:-1], times[1:]))
    return y1, saved
