r"""Closures of the moment equations of active rods: the fourth circular moment $Z_4$ from the second and the flow.

A closure is a function ``(second, strain) -> fourth`` of complex arrays, in the notation of
`reprise.dynamics.active_matter`. Rotating the plane by $\varphi$ multiplies $Z_2$ and the strain rate by
$e^{2i\varphi}$ and $Z_4$ by $e^{4i\varphi}$: a closure that is made of tensors must do the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Complex, Float
from scipy.special import ive

from reprise.networks.mlp import MLP

Closure = Callable[[Complex[Array, "*batch"], Complex[Array, "*batch"]], Complex[Array, "*batch"]]


def bingham_order(concentration: Float[np.ndarray, "*shape"]) -> tuple[np.ndarray, np.ndarray]:
    r"""Means of $\cos2\theta$ and $\cos4\theta$, $I_1/I_0$ and $I_2/I_0$, of $\psi\propto e^{\kappa\cos2\theta}$."""
    bottom = ive(0, concentration)
    return ive(1, concentration) / bottom, ive(2, concentration) / bottom


@functools.cache
def _bingham_table() -> tuple[np.ndarray, np.ndarray]:
    """Orders from 0 to 1 and $Z_4/Z_2^2$ there: both follow from the concentration, which need not be solved for."""
    second, fourth = bingham_order(np.geomspace(1e-3, 1e5, 8000))
    return np.r_[0.0, second], np.r_[0.5, fourth / second**2]


def bingham(second: Complex[Array, "*batch"], strain: Any = None) -> Complex[Array, "*batch"]:
    r"""Bingham's closure (Chaubal and Leal 1998): $Z_4$ of the density $\propto e^{\kappa\cos2(\theta-\theta_0)}$.

    It is interpolated in a table of 8000 orders (error below $10^{-6}$) and needs no eigenvectors: $Z_4/Z_2^2$ is a
    function of $|Z_2|^2$ and smooth where the frame is undefined. ``strain`` is ignored.
    """
    q = jnp.abs(second)
    return jnp.interp(q, *_bingham_table()).astype(q.dtype) * second**2


def quadratic(second: Complex[Array, "*batch"], strain: Any = None) -> Complex[Array, "*batch"]:
    r"""Doi's closure, $S=DD$, in this notation: $Z_4=Z_2^2$, exact if all rods are parallel."""
    return second**2


class InvariantClosure(nnx.Module):
    r"""A learned closure that commutes with rotations and reflections: $Z_4=aZ_2^2+bZ_2\hat e+c\hat e^2$.

    $\hat e=e/\sqrt{1+|e|^2}$, and a tanh perceptron gives the real $a,b,c$ from the invariants
    $|Z_2|^2$, $\ln(1+|e|^2)$ and $\operatorname{Re}(Z_2\bar{\hat e})$ (Maddu et al. 2023: an isotropic tensor basis
    with learned coefficients).
    """

    def __init__(self, hidden: int, *, rngs: nnx.Rngs):
        self.coefficients = MLP([3, hidden, hidden, 3], activation=jnp.tanh, rngs=rngs)

    def __call__(self, second: Complex[Array, "*batch"], strain: Complex[Array, "*batch"]) -> Complex[Array, "*batch"]:
        """The fourth moment."""
        size = jnp.real(strain * strain.conj())
        hat = strain * jax.lax.rsqrt(1 + size)
        invariants = jnp.real(second * second.conj()), jnp.log1p(size), jnp.real(second * hat.conj())
        a, b, c = jnp.moveaxis(self.coefficients(jnp.stack(invariants, -1)), -1, 0)
        return a * second**2 + b * second * hat + c * hat**2


class UnconstrainedClosure(nnx.Module):
    """A perceptron from the components of second moment and scaled strain rate to those of the fourth moment."""

    def __init__(self, hidden: int, *, rngs: nnx.Rngs):
        self.components = MLP([4, hidden, hidden, 2], activation=jnp.tanh, rngs=rngs)

    def __call__(self, second: Complex[Array, "*batch"], strain: Complex[Array, "*batch"]) -> Complex[Array, "*batch"]:
        """The fourth moment."""
        hat = strain * jax.lax.rsqrt(1 + jnp.real(strain * strain.conj()))
        out = self.components(jnp.stack([second.real, second.imag, hat.real, hat.imag], -1))
        return out[..., 0] + 1j * out[..., 1]


def closed_rate(
    closure: Closure, second: Complex[Array, "*batch"], strain: Complex[Array, "*batch"], spin: Float[Array, "*batch"],
    alignment: Float[Array, "*batch"], rotation: Float[Array, "*batch"],
) -> Complex[Array, "*batch"]:  # fmt: skip
    r"""$\dot Z_2=2iwZ_2+g-\bar gZ_4-4d_RZ_2$ with the closure's $Z_4$: the closed equation without space."""
    turn = strain + alignment * second
    return 2j * spin * second + turn - turn.conj() * closure(second, strain) - 4 * rotation * second
