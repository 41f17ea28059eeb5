r"""Neural controlled differential equations: networks that read a time series as the path that drives them."""

from __future__ import annotations

import diffrax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from reprise.dynamics.explicit import method
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.dynamics.looped import Looped
from reprise.networks.mlp import MLP, Dense


class NeuralCDE(nnx.Module):
    r"""The controlled equation $\mathrm dz=f_\theta(z)\,\mathrm dX$, $z(t_0)=\zeta(X(t_0))$, read out at $t_1$.

    $f_\theta(z)$ is a matrix ``[hidden, channels]``, bounded by a final tanh; $\zeta$ is affine (Kidger et al. 2020,
    arXiv:2005.08926). The path enters through its derivative only, as in $\dot z=f_\theta(z)\dot X(t)$, here tabulated
    where the classical Runge-Kutta method looks: see `half_step_slopes`.

    Args:
        channels: channels of the path $X$; time among them, unless the answer shall not depend on the speed.
        hidden: number of components of $z$.
        width: hidden units of the one hidden layer of $f_\theta$.
        outputs: number of outputs.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, channels: int, hidden: int, width: int, outputs: int = 1, *, rngs: nnx.Rngs):
        self.field = MLP([hidden, width, hidden * channels], activation=jnp.tanh, rngs=rngs)
        self.initial, self.readout = Dense(channels, hidden, rngs=rngs), Dense(hidden, outputs, rngs=rngs)

    def slope(
        self, z: Float[Array, "*batch hidden"], dx: Float[Array, "*batch channels"]
    ) -> Float[Array, "*batch hidden"]:
        r"""$f_\theta(z)\,\dot X$."""
        matrix = jnp.tanh(self.field(z)).reshape(*z.shape, -1)
        return jnp.einsum("...hc,...c->...h", matrix, dx)

    def __call__(
        self, start: Float[Array, "*batch channels"], slopes: Float[Array, "points *batch channels"]
    ) -> Float[Array, "*batch outputs"]:
        r"""The output for paths that start at ``start`` and have the derivatives ``slopes`` at all half steps.

        Args:
            start: $X(t_0)$.
            slopes: derivatives with respect to $s=(t-t_0)/(t_1-t_0)$ at ``points = 2 * steps + 1`` equally spaced
                times from $t_0$ to $t_1$; the equation is solved in that number of steps.

        Raises:
            ValueError: the number of points is even or below 3.
        """
        points = len(slopes)
        if points < 3 or points % 2 == 0:
            raise ValueError(f"slopes must be given at 2 * steps + 1 times, not {points}")
        at = lambda s: slopes[jnp.round(s * (points - 1)).astype(int)]
        terms = diffrax.ODETerm(lambda s, z, _: self.slope(z, at(s)))
        times = np.linspace(0, 1, points // 2 + 1)
        z, _ = fixed_steps(terms, Looped(method(4)), times, self.initial(start))
        return self.readout(z)


def half_step_slopes(
    times: Float[np.ndarray, "batch n"], values: Float[np.ndarray, "batch n channels"], steps: int
) -> Float[np.ndarray, "points batch channels"]:
    r"""Derivatives of interpolated series at all half steps, for `NeuralCDE`; on the host, many series at once.

    Between the observations runs the cubic Hermite spline whose slope at each of them is the difference quotient to the
    one before: continuously differentiable, and causal, as it looks no further ahead than the next observation (Morrill
    et al. 2021, arXiv:2106.11028). With $m$ the difference quotient of an interval, $d$ that of the one before and
    $u\in[0,1]$ the place in it, the slope is $m+(1-u)(1-3u)(d-m)$. The same path as `diffrax.CubicInterpolation` of
    `diffrax.backward_hermite_coefficients`.

    Args:
        times: of the observations, increasing; all series begin together and end together.
        values: the observations.
        steps: solver steps; ``points = 2 * steps + 1``.

    Returns:
        Derivatives with respect to the time over the length of the whole interval, in the precision of ``values``.

    Raises:
        ValueError: shapes do not fit, or the series differ in where they begin or end.
    """
    times, values = np.asarray(times), np.asarray(values)
    if times.ndim != 2 or values.shape[:2] != times.shape or times.shape[1] < 2:
        raise ValueError(
            f"times and values must have shapes [batch, n, ...], n >= 2, not {times.shape}, {values.shape}"
        )
    if np.ptp(times[:, 0]) or np.ptp(times[:, -1]):
        raise ValueError("all series must begin at the same time and end at the same time")
    length = times[0, -1] - times[0, 0]
    at = times[0, 0] + length * np.arange(2 * steps + 1) / (2 * steps)
    interval = np.clip((times[:, None] <= at[:, None]).sum(-1) - 1, 0, times.shape[1] - 2)  # [batch, points]
    dt = np.diff(times, axis=1)
    quotient = np.diff(values, axis=1) / dt[..., None]
    before = np.concatenate([quotient[:, :1], quotient[:, :-1]], axis=1)
    pick = lambda x: np.take_along_axis(x, interval.reshape(*interval.shape, *(1,) * (x.ndim - 2)), axis=1)
    u = ((at - pick(times)) / pick(dt))[..., None]
    slopes = pick(quotient) + (1 - u) * (1 - 3 * u) * (pick(before) - pick(quotient))
    return np.swapaxes(length * slopes, 0, 1).astype(values.dtype)
