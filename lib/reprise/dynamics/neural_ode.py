r"""Neural ordinary differential equations between two affine maps, and adaptive solves whose cost is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax.numpy as jnp
import optimistix
from flax import nnx
from jaxtyping import Array, Bool, Float, Num, PyTree

from reprise.dynamics.vector_fields import TimeMLP
from reprise.networks.mlp import Dense


class ODEClassifier(nnx.Module):
    r"""Logits $D\big(z(1)\big)$ with $\dot z=f_\theta(t,z)$ and $z(0)=E(x)$, for affine $D$, $E$ (Chen et al. 2018,
    arXiv:1806.07366).

    How the equation is solved is not the network's business: it is called with the solve to use, so that one set of
    weights can be trained and tested by different solvers.

    Args:
        inputs: number of components of an input $x$.
        dim: number of components of the state $z$.
        hidden: width of the hidden layer of the field, a `reprise.dynamics.vector_fields.TimeMLP`.
        classes: number of classes.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, inputs: int, dim: int, hidden: int, classes: int, *, rngs: nnx.Rngs):
        self.encoder = Dense(inputs, dim, rngs=rngs)
        self.field = TimeMLP(dim, hidden, rngs=rngs)
        self.decoder = Dense(dim, classes, rngs=rngs)

    def __call__(
        self, x: Float[Array, "*batch inputs"], solve: Callable[..., tuple[Float[Array, "*batch dim"], Any]]
    ) -> tuple[Float[Array, "*batch classes"], Any]:
        """Logits, and whatever else ``solve(field, z0)`` returns beside the final state."""
        z1, record = solve(self.field, self.encoder(x))
        return self.decoder(z1), record


def solve_adaptively(
    term: diffrax.AbstractTerm,
    solver: diffrax.AbstractAdaptiveSolver,
    y0: PyTree[Array],
    args: Any = None,
    *,
    tolerance: float | Float[Array, ""],
    max_steps: int,
    t0: float | Float[Array, ""] = 0.0,
    t1: float | Float[Array, ""] = 1.0,
    first_step: float = 0.1,
    norm: Callable[[PyTree[Array]], Float[Array, ""]] = optimistix.rms_norm,
    **options: Any,
) -> diffrax.Solution:
    r"""`diffrax.diffeqsolve` with the usual step size control, for solves whose number of steps is the subject.

    A step is accepted if the norm of its error estimate over $\text{tol}\,(1+|y|)$ is below 1. Everybody starts with
    the same first step, so that none is spent on finding it; and a solve that runs out of steps says so (see
    `evaluations`) and raises nothing, which inside a compiled training would be of no use.

    Args:
        term: the equation.
        solver: a solver with an error estimate.
        y0: initial state.
        args: passed on to the term.
        tolerance: both relative and absolute.
        max_steps: most steps, accepted and rejected.
        t0, t1: the interval.
        first_step: size of the first step tried.
        norm: in which errors are measured; root mean square over everything by default.
        options: more arguments of `diffrax.diffeqsolve`, such as ``adjoint`` and ``saveat``.
    """
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=norm)
    return diffrax.diffeqsolve(
        term, solver, t0, t1, first_step, y0, args, stepsize_controller=controller, max_steps=max_steps, throw=False,
        **options,
    )  # fmt: skip


def finished(solution: diffrax.Solution) -> Bool[Array, "*batch"]:
    """Whether a solve got to its end within its steps."""
    return solution.result == diffrax.RESULTS.successful


def evaluations(solution: diffrax.Solution, solver: diffrax.AbstractERK) -> Num[Array, "*batch"]:
    """Number of evaluations of the right-hand side (NFE) in a solve, rejected steps included.

    A step costs one for each stage, except that the last slope of pairs such as `diffrax.Tsit5` is the first of the
    next step ("first same as last"): these pay one less for each step, and one more to begin with. (Diffrax makes that
    one again if it rejects the first step of all, which is not counted.)

    Args:
        solution: of a solve.
        solver: the explicit Runge-Kutta method that it was solved with.

    Returns:
        The number, or infinity if the solve did not finish.
    """
    stages, handed_on = len(solver.tableau.b_sol), int(solver.tableau.fsal)
    count = (stages - handed_on) * solution.stats["num_steps"] + handed_on
    return jnp.where(finished(solution), count, jnp.inf)
