r"""Integral equations of the second kind: Picard's iteration and learnable operators.

$$y(t) = f(t) + \int G(y(s), t, s)\,ds$$

The solution depends on itself at all times, not at the present one alone. With a fixed range of integration the
equation is Fredholm's, with $s\le t$ Volterra's. Functions are arrays of their values at the points of a quadrature
rule.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from reprise.networks.mlp import MLP

Operator = Callable[[PyTree], PyTree]


def picard(operator: Operator, free: PyTree, iterations: int, smoothing: float | Array = 0.0) -> PyTree:
    r"""Iterates of $y^{k+1} = r\,y^k + (1-r)\,(f + Ty^k)$ from $y^0 = f$, for the fixed point $y = f + Ty$.

    Where $T$ is linear with eigenvalue $\mu$, the error along its eigenfunction changes by $r + (1-r)\mu$ an iteration.
    For Volterra operators with Lipschitz constant $L$ and $r = 0$ it is at most $C\,(Lt)^k/k!$. Everything is
    traced: gradients go back through all iterations (Zappala et al. 2022, section 3).

    Args:
        operator: $T$, usually an integral.
        free: $f$, the free function.
        iterations: number of iterations.
        smoothing: $r$, at least 0 and below 1.

    Returns:
        All iterates along a new leading axis of size ``iterations + 1``; the first is the free function.
    """

    def step(y, _):
        mix = lambda old, f, integral: smoothing * old + (1 - smoothing) * (f + integral)
        y = jax.tree.map(mix, y, free, operator(y))
        return y, y

    _, later = jax.lax.scan(step, free, length=iterations)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), free, later)


def time_features(t: Float[Array, "*shape"], frequencies: int) -> Float[Array, "*shape 2*frequencies+1"]:
    r"""$2t-1$ and $\sin 2\pi jt, \cos 2\pi jt$ for $j = 1, \dots$, what networks see of a time in [0, 1]."""
    angles = 2 * jnp.pi * t[..., None] * jnp.arange(1, frequencies + 1)
    return jnp.concatenate([2 * t[..., None] - 1, jnp.sin(angles), jnp.cos(angles)], -1)


class SeparableOperator(nnx.Module):
    r"""A learnable integrand $G(y, t, s) = \sum_{p\le P} A_p(t)\,B_p(s)\,F_p(y)$, with three small tanh networks.

    Sums of products are dense in the continuous functions of $(y, t, s)$ on a compact set (Stone-Weierstrass), and the
    integral of a product costs a row for each point where a general $G$ costs one for each pair.

    Args:
        terms: $P$.
        hidden: units of the one hidden layer of each network.
        frequencies: as in `time_features`.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, terms: int = 8, *, hidden: int = 16, frequencies: int = 2, rngs: nnx.Rngs):
        self.frequencies = frequencies
        over_time = lambda: MLP([2 * frequencies + 1, hidden, terms], activation=jnp.tanh, rngs=rngs)
        self.source, self.target = over_time(), over_time()
        self.value = MLP([1, hidden, terms], activation=jnp.tanh, rngs=rngs)

    def __call__(
        self, y: Float[Array, "*batch nodes"], points: Float[Array, " nodes"], weights: Float[Array, " nodes"]
    ) -> Float[Array, "*batch nodes"]:
        r"""$\int G(y(s), t, s)\,ds$ at the points of a quadrature rule.

        Args:
            y: values at the points.
            points: in [0, 1].
            weights: of the rule.
        """
        a, b = (net(time_features(points, self.frequencies)) for net in (self.target, self.source))
        moments = jnp.einsum("...sp,sp->...p", self.value(y[..., None]), weights[:, None] * b)
        return moments @ a.T

    def integrand(
        self, y: Float[Array, "*shape"], t: Float[Array, "*shape"], s: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        """$G(y, t, s)$, elementwise."""
        a, b = self.target(time_features(t, self.frequencies)), self.source(time_features(s, self.frequencies))
        return jnp.sum(a * b * self.value(y[..., None]), -1)


class AttentionOperator(nnx.Module):
    r"""A learnable integral operator made of softmax attention, over tokens $(y(s_i), s_i)$:

    $$(Ty)(t) = \sum_h \sum_i \mathrm{softmax}_i\Big(\frac{q_h(t)^\top k_h(y(s_i), s_i)}{\sqrt d} + \log w_i\Big)\,
      v_h(y(s_i), s_i)$$

    With the logarithms of a quadrature rule's weights on the scores, sums over tokens are integrals in numerator and
    denominator, whatever the points; random points need none. (Zappala et al. 2022, section 3.2, one layer, with tanh
    networks for $q$, $k$ and $v$.)

    Args:
        heads: attention heads $h$, summed.
        channels: $d$, entries of a key.
        hidden: units of the one hidden layer of each network.
        frequencies: as in `time_features`.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, heads: int = 4, channels: int = 3, *, hidden: int = 12, frequencies: int = 2, rngs: nnx.Rngs):
        self.heads, self.frequencies = heads, frequencies
        seen = 2 * frequencies + 1
        self.key = MLP([seen + 1, hidden, heads * channels], activation=jnp.tanh, rngs=rngs)
        self.query = MLP([seen, hidden, heads * channels], activation=jnp.tanh, rngs=rngs)
        self.value = MLP([seen + 1, hidden, heads], activation=jnp.tanh, rngs=rngs)

    def __call__(
        self, y: Float[Array, "*batch nodes"], points: Float[Array, " nodes"], weights: Float[Array, " nodes"]
    ) -> Float[Array, "*batch nodes"]:
        """$Ty$ at the points of a quadrature rule; arguments as in `SeparableOperator`."""
        features = time_features(points, self.frequencies)
        tokens = jnp.concatenate([y[..., None], jnp.broadcast_to(features, (*y.shape, features.shape[-1]))], -1)
        split = lambda x: x.reshape(*x.shape[:-1], self.heads, -1)
        queries, keys = split(self.query(features)), split(self.key(tokens))
        scores = jnp.einsum("thd,...shd->...hts", queries, keys) / keys.shape[-1] ** 0.5
        return jnp.einsum("...hts,...sh->...t", jax.nn.softmax(scores + jnp.log(weights), -1), self.value(tokens))


def kernel_integral(
    kernel: Float[Array, "times nodes"], weights: Float[Array, " nodes"], values: Float[Array, "*batch nodes"]
) -> Float[Array, "*batch times"]:
    r"""$\int K(t, s)\,g(s)\,ds$ by quadrature.

    Args:
        kernel: $K(t_i, s_j)$.
        weights: of the rule with points $s_j$.
        values: $g(s_j)$.
    """
    return (values * weights) @ kernel.T
