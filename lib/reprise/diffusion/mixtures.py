r"""Exact velocity fields: paths between the components of two Gaussian mixtures, paired in any way.

With $X_0\sim N(a_i,\sigma_0^2I)$ and $X_1\sim N(b_j,\sigma_1^2I)$, independent given the components $(i, j)$, which are
drawn with probability $\pi_{ij}$, the point $X_t=\alpha_tX_1+\beta_tX_0$ is again a mixture,

$$p_t=\sum_{ij}\pi_{ij}N(m_{ij},\sigma_t^2I),\quad m_{ij}=\alpha_tb_j+\beta_ta_i,\quad
  \sigma_t^2=\alpha_t^2\sigma_1^2+\beta_t^2\sigma_0^2,$$

and Gaussian conditioning in each component gives, with posteriors $w_{ij}\propto\pi_{ij}N(x;m_{ij},\sigma_t^2I)$,

$$v^*(x,t)=E[\dot X_t|X_t=x]=\sum_{ij}w_{ij}\,u_{ij},\qquad u_{ij}=\dot m_{ij}+c_t\,(x-m_{ij}),\qquad
  c_t=\frac{\dot\alpha_t\alpha_t\sigma_1^2+\dot\beta_t\beta_t\sigma_0^2}{\sigma_t^2}.$$
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, ArrayLike, Float, Key

from reprise.diffusion.interpolants import STRAIGHT, Interpolant


class MixtureCoupling(NamedTuple):
    r"""A pair of random points, each from a Gaussian mixture, with any joint law of their components.

    Methods take points ``x`` of shape ``[*batch, d]`` and one time ``t`` for all of them.

    Attributes:
        starts: $a_i$, centres of the base.
        ends: $b_j$, centres of the target.
        weights: $\pi_{ij}\ge0$, of sum 1.
        start_std: $\sigma_0$.
        end_std: $\sigma_1$.
        path: $\alpha_t$ and $\beta_t$.
    """

    starts: Float[Array, "k d"]
    ends: Float[Array, "l d"]
    weights: Float[Array, "k l"]
    start_std: Float[ArrayLike, ""]
    end_std: Float[ArrayLike, ""]
    path: Interpolant = STRAIGHT

    def sample(
        self, key: Key[Array, ""], count: int, stratified: bool = False
    ) -> tuple[Float[Array, "count d"], Float[Array, "count d"]]:
        r"""Draws of the pair $(X_0, X_1)$, independent unless ``stratified``.

        Args:
            key: randomness.
            count: number of pairs.
            stratified: whether each pair of components is drawn $\pi_{ij}$ times ``count``, rounded, in random order;
                averages are then free of the accident of how many came from where.
        """
        choice_key, noise_key = jax.random.split(key)
        size, columns = self.starts.shape[1], self.weights.shape[1]
        uniform = jax.random.uniform(choice_key, (count,))
        if stratified:
            rank = jnp.argsort(jnp.argsort(uniform))
            uniform = (rank + uniform[0]) / count
        below = jnp.cumsum(jnp.ravel(self.weights))
        chosen = jnp.sum(uniform[:, None] * below[-1] >= below[:-1], -1)
        i, j = jnp.divmod(chosen, columns)
        noise = jax.random.normal(noise_key, (2, count, size))
        starts, ends = jnp.asarray(self.starts, noise.dtype), jnp.asarray(self.ends, noise.dtype)
        return starts[i] + self.start_std * noise[0], ends[j] + self.end_std * noise[1]

    def log_density(self, x: Float[Array, "*batch d"], t: Float[ArrayLike, ""]) -> Float[Array, "*batch"]:
        r"""$\log p_t(x)$, the density of $X_t$."""
        _, log_terms, variance, _, _ = self._components(x, t)
        return logsumexp(log_terms, axis=-1) - x.shape[-1] / 2 * jnp.log(2 * jnp.pi * variance)

    def velocity(self, x: Float[Array, "*batch d"], t: Float[ArrayLike, ""]) -> Float[Array, "*batch d"]:
        r"""$v^*(x,t)=E[\dot X_t|X_t=x]$."""
        offset, log_terms, _, speed, slope = self._components(x, t)
        posterior = jax.nn.softmax(log_terms, axis=-1)
        return jnp.einsum("...c,...cd->...d", posterior, speed + slope * offset)

    def divergence(self, x: Float[Array, "*batch d"], t: Float[ArrayLike, ""]) -> Float[Array, "*batch"]:
        r"""$\nabla\cdot v^*(x,t)=d\,c_t-\sigma_t^{-2}\sum_{ij}w_{ij}\,u_{ij}\cdot(x-m_{ij}-\overline{x-m})$.

        The bar is the mean under $w$: besides the components' own expansion, a covariance of speed and offset, because
        the posterior weights move with $x$.
        """
        offset, log_terms, variance, speed, slope = self._components(x, t)
        posterior = jax.nn.softmax(log_terms, axis=-1)
        centred = offset - jnp.einsum("...c,...cd->...d", posterior, offset)[..., None, :]
        covariance = jnp.einsum("...c,...cd,...cd->...", posterior, speed + slope * offset, centred)
        return x.shape[-1] * slope - covariance / variance

    def _components(self, x, t):
        """Offsets x - m, log of weighted exponentials, variance, speeds of the centres and c_t, pairs flattened."""
        starts, ends, weights = (jnp.asarray(array, x.dtype) for array in self[:3])
        alpha, beta, alpha_rate, beta_rate = self.path.coefficients(jnp.asarray(t, x.dtype))
        pairs = lambda c, e: (c * ends[None] + e * starts[:, None]).reshape(-1, x.shape[-1])
        variance = (alpha * self.end_std) ** 2 + (beta * self.start_std) ** 2
        slope = (alpha_rate * alpha * self.end_std**2 + beta_rate * beta * self.start_std**2) / variance
        offset = x[..., None, :] - pairs(alpha, beta)
        log_terms = jnp.log(weights).ravel() - jnp.sum(offset**2, -1) / (2 * variance)
        return offset, log_terms, variance, pairs(alpha_rate, beta_rate), slope
