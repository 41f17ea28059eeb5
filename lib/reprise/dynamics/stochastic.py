r"""Stochastic differential equations with diagonal noise: classes that are stable by construction, and Euler's scheme.

All equations are in the sense of Itô. A `DiagonalSDE` holds drift and diffusion and hands them to Diffrax as terms;
`solve_on_grid` drives a Diffrax solver along a fixed grid with given Brownian increments, so that solutions of
different equations, or from different starts, can share their noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Float, PyTree

from reprise.dynamics.fixed_steps import fixed_steps

# A function of time, state and whatever else drives the equation, with values of the state's shape.
Coefficient = Callable[[Float[Array, ""], Float[Array, "*shape"], Any], Float[Array, "*shape"]]


class DiagonalSDE(NamedTuple):
    r"""The Itô equation $\mathrm dz=f(t,z,x)\,\mathrm dt+g(t,z,x)\odot\mathrm dW$, one Brownian motion a component.

    Attributes:
        drift: ``f(t, z, x)``; ``x`` is the value of a driving path, or None.
        diffusion: ``g(t, z, x)``, a value for every component (or one that broadcasts to them).
    """

    drift: Coefficient
    diffusion: Coefficient

    def terms(self, control: diffrax.AbstractPath | Callable) -> diffrax.MultiTerm:
        """The equation as Diffrax terms; ``control`` is a Brownian path, or a function that gives its increments."""

        def diagonal(t, z, x):
            return lineax.DiagonalLinearOperator(jnp.broadcast_to(self.diffusion(t, z, x), z.shape))

        return diffrax.MultiTerm(diffrax.ODETerm(self.drift), diffrax.ControlTerm(diagonal, control))


def langevin(gamma: Callable, sigma: Callable) -> DiagonalSDE:
    r"""Langevin-type: $\mathrm dz=\gamma(z,x)\,\mathrm dt+\sigma(t)\,\mathrm dW$ (Oh et al. 2024, arXiv:2402.14989).

    With $\gamma=-\nabla U$ and constant $\sigma$ its stationary density is $\propto e^{-2U/\sigma^2}$; if $U$ is
    $m$-strongly convex, two solutions under the same noise approach each other at least as $e^{-mt}$.

    Args:
        gamma: ``gamma(z, x)``; time does not enter.
        sigma: ``sigma(t)``.
    """
    return DiagonalSDE(lambda t, z, x: gamma(z, x), lambda t, z, x: sigma(t))


def linear_noise(gamma: Callable, sigma: Callable) -> DiagonalSDE:
    r"""Linear noise: $\mathrm dz=\gamma(t,z,x)\,\mathrm dt+\sigma(t)\,z\,\mathrm dW$ (Oh et al. 2024).

    With $\gamma=az$ and constant $\sigma$ its Lyapunov exponent is $a-\sigma^2/2$: noise stabilises.

    Args:
        gamma: ``gamma(t, z, x)``.
        sigma: ``sigma(t)``.
    """
    return DiagonalSDE(gamma, lambda t, z, x: sigma(t) * z)


def geometric(gamma: Callable, sigma: Callable) -> DiagonalSDE:
    r"""Geometric: $\mathrm dz/z=\gamma(t,z,x)\,\mathrm dt+\sigma(t)\,\mathrm dW$ (Oh et al. 2024).

    Its solutions keep the signs of their components, and zero is absorbing.

    Args:
        gamma: ``gamma(t, z, x)``.
        sigma: ``sigma(t)``.
    """
    return DiagonalSDE(lambda t, z, x: gamma(t, z, x) * z, lambda t, z, x: sigma(t) * z)


def solve_on_grid(
    sde: DiagonalSDE,
    z0: Float[Array, "*shape"],
    times: Float[Array, " steps_plus_1"],
    increments: Float[Array, "steps ..."],
    inputs: PyTree[Array] | None = None,
    *,
    solver: diffrax.AbstractSolver | None = None,
    save: Callable[[Float[Array, "*shape"]], Any] | None = lambda z: z,
) -> tuple[Float[Array, "*shape"], Any]:
    r"""Solve along an equally spaced grid with given Brownian increments: `fixed_steps` with tables of noise and path.

    The default solver is Euler-Maruyama, $z_{n+1}=z_n+f\,h+g\odot\Delta W_n$, with coefficients at the start of the
    step.

    Args:
        sde: the equation.
        z0: where to start; leading axes are batches. (Solvers that differentiate the diffusion, like
            `diffrax.ItoMilstein`, would differentiate across them: map over the batch with `jax.vmap` instead.)
        times: the grid, shape ``[steps + 1]``.
        increments: $\Delta W_n\sim N(0,h)$, shape ``[steps, ...]``, where ``...`` broadcasts to the shape of ``z0``.
        inputs: if given, a pytree with leading axis ``steps``: the driving path $x$ in each step.
        solver: a Diffrax solver of Itô equations that looks at the noise and the path once a step.
        save: what to keep of the state after every step; None keeps nothing.

    Returns:
        The state at the last time, and what was saved, with a leading axis ``steps`` (or None).

    Raises:
        ValueError: times and increments do not fit.
    """
    steps = len(increments)
    if len(times) != steps + 1:
        raise ValueError(f"{steps} increments need {steps + 1} times, not {len(times)}")
    times, increments, inputs = jax.tree.map(jnp.asarray, (times, increments, inputs))
    index = lambda t: jnp.round((t - times[0]) * (steps / (times[-1] - times[0]))).astype(int)
    now = lambda t: jax.tree.map(lambda table: table[index(t)], inputs)
    looked_up = DiagonalSDE(lambda t, z, _: sde.drift(t, z, now(t)), lambda t, z, _: sde.diffusion(t, z, now(t)))
    terms = looked_up.terms(lambda t0, t1: jnp.broadcast_to(increments[index(t0)], z0.shape))
    return fixed_steps(terms, diffrax.Euler() if solver is None else solver, times, z0, save=save)


def lyapunov_exponents(
    sde: DiagonalSDE,
    z0: Float[Array, "*batch dim"],
    times: Float[Array, " steps_plus_1"],
    increments: Float[Array, "steps ..."],
    *,
    solver: diffrax.AbstractSolver | None = None,
) -> Float[Array, "*batch"]:
    r"""Finite-time Lyapunov exponents $\frac1T\log\frac{\|z_T\|}{\|z_0\|}$ of an equation that is linear in $z$.

    Whenever the state has grown or shrunk a millionfold it is scaled back to norm 1 and the logarithm is added up, so
    that neither a growing nor a decaying solution leaves the range of floating-point numbers (Benettin et al. 1980).
    Between these times the equation is left alone: a term that is not linear in ``z`` shows in the result.

    Args:
        sde: an equation with coefficients linear in ``z``.
        z0: where to start.
        times, increments, solver: as for `solve_on_grid`; the grid may have any spacing.
    """
    solver = diffrax.Euler() if solver is None else solver
    norm = lambda z: jnp.sqrt(jnp.sum(z**2, axis=-1))

    def step(carry, now):
        (z, total), (ends, dw) = carry, now
        terms = sde.terms(lambda t0, t1: jnp.broadcast_to(dw, z.shape))
        z, _ = fixed_steps(terms, solver, ends, z)
        size = norm(z)
        scale = jnp.where(jnp.abs(jnp.log(size)) > jnp.log(1e6), size, 1.0)
        return (z / scale[..., None], total + jnp.log(scale)), None

    pairs = jnp.stack([times[:-1], times[1:]], axis=1)
    start = norm(z0)
    (z, total), _ = jax.lax.scan(step, (z0 / start[..., None], jnp.zeros_like(start)), (pairs, increments))
    return (total + jnp.log(norm(z))) / (times[-1] - times[0])
