r"""Softmax attention with a prefix of extra keys and values, exact and compressed into two sums.

A query $q$ attends to its context and to $m$ prefix tokens. The prefix enters through two sums over its tokens,

$$\sum_i e^{q^\top k_i/\sqrt d}\,v_i \approx \phi(q)^\top Z, \qquad
  \sum_i e^{q^\top k_i/\sqrt d} \approx \phi(q)^\top k, \qquad
  Z = \sum_i\phi(k_i)\,v_i^\top, \quad k = \sum_i\phi(k_i),$$

so a feature map with $\phi(q)^\top\phi(k) \approx e^{q^\top k/\sqrt d}$ stores a prefix of any length in $r(d_v + 1)$
numbers, $r$ the number of features (Katharopoulos et al. 2020; Liang et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Maps queries or keys [..., d] to features [..., r].
FeatureMap = Callable[[Float[Array, "*batch d"]], Float[Array, "*batch r"]]


class Summary(NamedTuple):
    r"""What is kept of a prefix.

    Attributes:
        values: $Z = \sum_i\phi(k_i)v_i^\top$.
        weights: $k = \sum_i\phi(k_i)$.
    """

    values: Float[Array, "r v"]
    weights: Float[Array, " r"]


def summarise(keys: Float[Array, "m d"], values: Float[Array, "m v"], features: FeatureMap) -> Summary:
    """The two sums over a prefix.

    Args:
        keys: of the prefix tokens.
        values: of the prefix tokens.
        features: the feature map, `elu_features` or one of `taylor_features`.
    """
    mapped = features(keys)
    return Summary(jnp.matmul(mapped.T, values, precision="highest"), mapped.sum(0))


def prefix_attention(
    queries: Float[Array, "*batch t d"],
    keys: Float[Array, "*batch l d"],
    values: Float[Array, "*batch l v"],
    prefix_keys: Float[Array, "m d"] | None = None,
    prefix_values: Float[Array, "m v"] | None = None,
) -> Float[Array, "*batch t v"]:
    r"""Softmax attention to the context and to a prefix shared by the whole batch, with scores $q^\top k/\sqrt d$.

    Args:
        queries: one a token.
        keys, values: of the context.
        prefix_keys, prefix_values: of the prefix; none for plain attention. Costs $O((m + l)\,t\,d)$.
    """
    root = queries.shape[-1] ** 0.5
    scores = queries @ keys.mT / root
    if prefix_keys is None:
        return jax.nn.softmax(scores, -1) @ values
    extra = queries @ prefix_keys.T / root
    highest = jnp.maximum(scores.max(-1, keepdims=True), extra.max(-1, keepdims=True))
    highest = jax.lax.stop_gradient(highest)
    context, prefix = jnp.exp(scores - highest), jnp.exp(extra - highest)
    total = context.sum(-1, keepdims=True) + prefix.sum(-1, keepdims=True)
    return (context @ values + prefix @ prefix_values) / total


def compressed_attention(
    queries: Float[Array, "*batch t d"],
    keys: Float[Array, "*batch l d"],
    values: Float[Array, "*batch l v"],
    summary: Summary,
    features: FeatureMap,
) -> Float[Array, "*batch t v"]:
    r"""`prefix_attention` with the prefix replaced by its summary:

    $$\frac{\sum_j e^{q^\top k_j/\sqrt d}\,v_j + \phi(q)^\top Z}{\sum_j e^{q^\top k_j/\sqrt d} + \phi(q)^\top k}.$$

    The largest context score, if positive, is subtracted before exponentials are taken, and the prefix terms are scaled
    with it. The
    denominator is positive if the features and ``summary.weights`` are not negative; nothing here enforces that.

    Args:
        queries, keys, values: as in `prefix_attention`.
        summary: from `summarise`, or trained.
        features: the feature map that the summary belongs to.
    """
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    highest = jax.lax.stop_gradient(jnp.maximum(scores.max(-1, keepdims=True), 0))
    context, shrink, mapped = jnp.exp(scores - highest), jnp.exp(-highest), features(queries)
    numerator = context @ values + shrink * (mapped @ summary.values)
    denominator = context.sum(-1) + shrink[..., 0] * (mapped @ summary.weights)
    return numerator / denominator[..., None]


def elu_features(x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    r"""$\phi(x) = \mathrm{elu}(x/d^{1/4}) + 1$: positive, as many features as dimensions.

    It does not approximate the exponential; it is meant for summaries that are trained.
    """
    return jax.nn.elu(x / x.shape[-1] ** 0.25) + 1


def taylor_features(degree: int) -> FeatureMap:
    r"""Features whose inner product is the exponential's Taylor polynomial.

    $\phi(q)^\top\phi(k) = \sum_{j\le g}u^j/j!$ with $u = q^\top k/\sqrt d$, from all monomials
    $\phi_\alpha(x) = \prod_i(x_i/d^{1/4})^{\alpha_i}/\sqrt{\alpha!}$, $|\alpha|\le g$, sorted by degree: the first
    $\binom{d+j}{j}$ features are those of degree $j$ and below. The error is at most
    $\frac{|u|^{g+1}}{(g+1)!}e^{\max(u, 0)}$, Lagrange's remainder.

    Args:
        degree: $g$; there are $\binom{d+g}{g}$ features.
    """
    if degree < 0:
        raise ValueError(f"degree must be 0 or more, not {degree}")

    def features(x):
        d = x.shape[-1]
        scaled = x / d**0.25
        parts, position = [jnp.ones((*x.shape[:-1], 1), x.dtype)], {(): 0}
        scales = [np.ones(1)]
        for j in range(1, degree + 1):
            monomials = list(combinations_with_replacement(range(d), j))
            # Every monomial is one of the degree below times its last variable.
            parent = np.array([position[monomial[:-1]] for monomial in monomials])
            final = np.array([monomial[-1] for monomial in monomials])
            parts.append(parts[-1][..., parent] * scaled[..., final])
            scales.append(np.array([_inverse_root_factorial(monomial) for monomial in monomials]))
            position = {monomial: i for i, monomial in enumerate(monomials)}
        return jnp.concatenate(parts, -1) * np.concatenate(scales).astype(x.dtype)

    return features


def _inverse_root_factorial(monomial):
    """1 / sqrt(alpha!) of a monomial given as its variables, sorted, with repetition."""
    counts = [monomial.count(variable) for variable in set(monomial)]
    return 1 / math.sqrt(math.prod(math.factorial(count) for count in counts))


def softmax_readout(
    prefix: Float[Array, "m d"], signs: Float[Array, " m"], queries: Float[Array, "n d"]
) -> Float[Array, "n d"]:
    r"""What a query reads from trained prefix vectors that are keys and, with fixed signs, values:

    $$F(x) = \sqrt m\,\sum_ra_r\,\frac{e^{w_r^\top x}}{\sum_se^{w_s^\top x}}\,w_r.$$

    The prefix vectors play the part of hidden units and $\sqrt m$ makes the sum, with shares of order $1/m$ and
    signs of either kind, of order one: the scaling in which a long prefix trains in the lazy regime.

    Args:
        prefix: $w_1, \dots, w_m$.
        signs: $a_r = \pm1$.
        queries: $x$, one a row.
    """
    shares = jax.nn.softmax(queries @ prefix.T, -1)
    return len(prefix) ** 0.5 * (shares * signs) @ prefix


def softmax_readout_limit(queries: Float[Array, "n d"], std: float) -> Float[Array, "n n d d"]:
    r"""The tangent kernel of `softmax_readout` as the prefix grows, from $w_r\sim N(0, s^2I)$ and balanced signs.

    $$H_{ij} = e^{s^2x_i^\top x_j}\bigl[(1 + s^2x_i^\top x_j)\,I + \mu x_i^\top + x_j\mu^\top
        + (x_i^\top x_j)\,\mu\mu^\top\bigr], \qquad \mu = s^2(x_i + x_j).$$

    The gradient of $F_a(x_i)$ in $w_r$ is $\sqrt m\,p_r\,[a_r(e_a + w_{ra}x_i) - x_iF_a/\sqrt m]$ with the share $p_r$.
    $F/\sqrt m$ vanishes if there are as many signs of one kind as of the other. The sum over $r$ becomes a mean over
    $w$, in which the shares' exponentials shift the Gaussian to the mean $\mu$. Derived here; constant kernels are what
    the convergence theorem of Liang et al. 2024 rests on. The layout is that of
    `reprise.kernels.empirical.jacobian_ntk` for all outputs.

    Args:
        queries: $x$, one a row.
        std: $s$.
    """
    inner = std**2 * jnp.matmul(queries, queries.T, precision="highest")
    mean = std**2 * (queries[:, None] + queries)
    outer = lambda a, b: a[..., :, None] * b[..., None, :]
    rows, columns = queries[:, None] + 0 * mean, queries[None] + 0 * mean
    unit = (1 + inner)[..., None, None] * jnp.eye(queries.shape[1], dtype=queries.dtype)
    square = (inner / std**2)[..., None, None] * outer(mean, mean)
    return jnp.exp(inner)[..., None, None] * (unit + outer(mean, rows) + outer(columns, mean) + square)
