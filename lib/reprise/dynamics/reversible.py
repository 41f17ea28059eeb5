r"""Exact gradients in constant memory: reverse mode that runs an algebraically reversible solver backwards."""

from __future__ import annotations

from functools import partial

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp


class ReversibleAdjoint(diffrax.AbstractAdjoint):
    r"""Backpropagate through `diffrax.ReversibleHeun` by stepping it backwards, without storing its trajectory.

    Reversible Heun carries two states, $y_n$ and $\hat y_n$. With $f_n=f(t_n,\hat y_n)$ and the step's control $c_n$
    ($h$ for an ODE, the increment of the driving path otherwise) a step is
    $$\hat y_{n+1}=2y_n-\hat y_n+f_nc_n,\qquad y_{n+1}=y_n+\tfrac12(f_n+f_{n+1})c_n ,$$
    and in terms of $w_n=y_n-\tfrac12f_nc_{n-1}$ it is undone without knowing $f_n$ first:
    $\hat y_n=2w_{n+1}-\hat y_{n+1}$ and $w_n=w_{n+1}-\tfrac12f_n(c_{n-1}+c_n)$. Each step of the backward pass
    reconstructs one state and pulls the cotangents through it, with a single evaluation of $f$ and of its
    vector-Jacobian product (Kidger et al. 2021, arXiv:2105.13493; Kidger 2022, arXiv:2202.02435, chapter 5).

    The result is the gradient of the *discretised* solution, like that of `diffrax.RecursiveCheckpointAdjoint`, up to
    rounding. Memory does not grow with the number of steps but for one number each, the time of the step: ``max_steps``
    bounds it. Step sizes that a controller chooses are held fixed.

    Gradients flow to ``y0``, ``args`` and the arrays in ``terms`` (such as a control's); what the vector field closes
    over gives an error. Outputs may be ``SaveAt(t0=..., t1=..., steps=True)``; for outputs at given times let
    `diffrax.StepTo` step to them.

    Raises:
        ValueError: another solver, another kind of output, an event, a ``solver_state`` passed in, or no ``max_steps``.
    """

    def loop(
        self, *, args, terms, solver, saveat, event, init_state, max_steps, passed_solver_state,
        passed_controller_state, throw, **kwargs,
    ):  # fmt: skip
        """Called by `diffrax.diffeqsolve`."""
        del passed_controller_state, throw
        if not isinstance(solver, diffrax.ReversibleHeun):
            raise ValueError(f"ReversibleAdjoint needs the solver ReversibleHeun, not {type(solver).__name__}")
        save = saveat.subs
        plain = isinstance(save, diffrax.SubSaveAt) and save.fn is diffrax.SubSaveAt(t1=True).fn
        if not plain or save.ts is not None or save.steps > 1 or saveat.dense or saveat.solver_state:
            raise ValueError("ReversibleAdjoint saves with SaveAt(t0=..., t1=..., steps=True) and nothing else")
        if event is not None or passed_solver_state or max_steps is None:
            raise ValueError("ReversibleAdjoint needs max_steps, and takes neither an event nor a solver_state")
        hollow = _constant(eqx.tree_at(lambda state: state.y, init_state, None))
        final, stats = _solve(
            (init_state.y, args, terms), self=self, save=save, hollow=hollow,
            solver=solver, saveat=saveat, event=event, max_steps=max_steps, **kwargs,
        )  # fmt: skip
        rest = eqxi.nondifferentiable_backward(final, symbolic=False)
        return eqx.tree_at(lambda state: state.save_state.ys, rest, final.save_state.ys), stats


def _constant(tree):
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree)


@eqx.filter_custom_vjp
def _solve(differentiable, **named):
    return _forward(differentiable, **named)[0]


@_solve.def_fwd
def _solve_forward(perturbed, differentiable, **named):
    del perturbed
    return _forward(differentiable, **named)


def _forward(differentiable, *, self, save, hollow, saveat, max_steps, **kwargs):
    """The solve, and what the backward pass starts from: times of all steps, their number, the solver's last state."""
    y0, args, terms = differentiable
    # A second, private output: the time of every accepted step (the value is empty).
    clock = diffrax.SubSaveAt(steps=True, fn=lambda t, y, args: jnp.zeros((0,)))
    times = jnp.full(max_steps, jnp.inf, jnp.result_type(kwargs["t0"]))
    state = eqx.tree_at(lambda state: state.y, hollow, y0, is_leaf=lambda x: x is None)
    empty = type(hollow.save_state)(saveat_ts_index=0, ts=times, ys=jnp.zeros((max_steps, 0)), save_index=0)
    state = eqx.tree_at(lambda state: state.save_state, state, (hollow.save_state, empty))
    whole = eqx.tree_at(lambda saveat: saveat.subs, saveat, (save, clock))
    loop = partial(eqxi.while_loop, kind="lax")
    final, stats = self._loop(
        args=args, terms=terms, init_state=state, saveat=whole, max_steps=max_steps,
        inner_while_loop=loop, outer_while_loop=loop, **kwargs,
    )  # fmt: skip
    saved, clock = final.save_state
    ends = (clock.ts, final.num_accepted_steps, final.y, final.solver_state[0])
    return (eqx.tree_at(lambda state: state.save_state, final, saved), stats), ends


@_solve.def_bwd
def _solve_backward(residuals, cotangents, perturbed, differentiable, *, save, t0, **named):
    del perturbed, named
    y0, args, terms = differentiable
    times, steps, y, y_hat = residuals
    output = jax.tree.map(
        lambda leaf, cotangent: jnp.zeros((save.t0 + 1, *leaf.shape)) if cotangent is None else cotangent,
        y0, cotangents[0].save_state.ys,
    )  # fmt: skip
    at = lambda n: jnp.where(n > 0, times[jnp.clip(n, 1, steps) - 1], t0)
    active, passive = eqx.partition((args, terms), eqx.is_inexact_array)

    def outputs_at(n):
        """The cotangent of what was saved after step n."""
        pick = lambda leaf, i, use: jnp.where(use, leaf[i], 0.0)
        zero = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), output)
        chosen = [jax.tree.map(lambda leaf: pick(leaf, 0, n == 0), output)] if save.t0 else []
        if save.steps:
            place = save.t0 + jnp.maximum(n - 1, 0)
            chosen.append(jax.tree.map(lambda leaf: pick(leaf, place, n > 0), output))
        elif save.t1:
            chosen.append(jax.tree.map(lambda leaf: pick(leaf, -1, n == steps), output))
        return jax.tree.map(lambda *leaves: sum(leaves), zero, *chosen)

    def node(n, active, w, y_hat):
        """From $(w_n,\\hat y_n)$ to $y_n$ and $(w_{n+1},\\hat y_{n+1})$; beside it what undoes the step."""
        args, terms = eqx.combine(active, passive)
        slope = terms.vf(at(n), y_hat, args)
        # Before the first node and after the last the control is that of an empty interval.
        before, after = (terms.prod(slope, terms.contr(at(m - 1), at(m))) for m in (n, n + 1))
        y = jax.tree.map(lambda w, b: w + 0.5 * b, w, before)
        w_next = jax.tree.map(lambda y, a: y + 0.5 * a, y, after)
        y_hat_next = jax.tree.map(lambda y, z, a: 2 * y - z + a, y, y_hat, after)
        return (y, w_next, y_hat_next), jax.tree.map(lambda b, a: 0.5 * (b + a), before, after)

    def back(carry):
        n, w_next, y_hat_next, pulled, total = carry
        y_hat = jax.tree.map(lambda w, z: 2 * w - z, w_next, y_hat_next)
        # The step is affine in w, so that its pullback may be taken at w_next in place of the unknown w.
        _, pull, undo = jax.vjp(partial(node, n), active, w_next, y_hat, has_aux=True)
        gradient, *pulled = pull((outputs_at(n), *pulled))
        w = jax.tree.map(jnp.subtract, w_next, undo)
        return n - 1, w, y_hat, tuple(pulled), jax.tree.map(jnp.add, total, gradient)

    nothing = jax.tree.map(jnp.zeros_like, y)
    start = (steps, y, jax.tree.map(lambda y, z: 2 * y - z, y, y_hat), (nothing, nothing))
    zeros = jax.tree.map(jnp.zeros_like, active)
    *_, pulled, total = jax.lax.while_loop(lambda carry: carry[0] >= 0, back, (*start, zeros))
    return jax.tree.map(jnp.add, *pulled), *total
