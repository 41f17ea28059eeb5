r"""Linear self-attention: the layer token by token, its fast form on the Gram matrix, and hand-written weights.

A linear layer adds to token $e$, with sums over the $N$ context tokens $e_i$ and over heads $h$,

$$\sum_h P_h \frac1N\sum_i (W_{V,h}\,e_i)\,(W_{K,h}\,e_i)^\top(W_{Q,h}\,e) = A\,e,\qquad
  A = \sum_h U_h\,G\,M_h,\quad U_h = P_hW_{V,h},\; M_h = W_{K,h}^\top W_{Q,h},\; G = \frac1N\sum_i e_ie_i^\top,$$

so it depends on the context through $G$ alone, and on its four matrices a head through two products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float


class AttentionWeights(NamedTuple):
    """Weights of one linear self-attention layer, a leading axis for heads.

    Attributes:
        query: $W_Q$.
        key: $W_K$.
        value: $W_V$.
        projection: $P$, from values back to tokens.
    """

    query: Float[Array, "heads inner size"]
    key: Float[Array, "heads inner size"]
    value: Float[Array, "heads inner_v size"]
    projection: Float[Array, "heads size inner_v"]


class Products(NamedTuple):
    r"""What a linear self-attention layer computes with, a leading axis for heads.

    Attributes:
        output: $U_h = P_hW_{V,h}$, what is written for what was read.
        score: $M_h = W_{K,h}^\top W_{Q,h}$, how a token selects others.
    """

    output: Float[Array, "heads size size"]
    score: Float[Array, "heads size size"]


def linear_attention(
    weights: AttentionWeights, tokens: Float[Array, "*batch total size"], context: int
) -> Float[Array, "*batch total size"]:
    r"""One linear self-attention layer with residual connection, as attention is usually written.

    All tokens are queries; only the first ``context`` are keys and values, so a token placed behind them (the one to
    predict for) is never attended to. Scores are divided by ``context``.

    Args:
        weights: the layer's matrices.
        tokens: $e_1, \dots$, in rows.
        context: $N$.
    """
    queries = jnp.einsum("hij,...tj->...hti", weights.query, tokens)
    keys = jnp.einsum("hij,...cj->...hci", weights.key, tokens[..., :context, :])
    values = jnp.einsum("hij,...cj->...hci", weights.value, tokens[..., :context, :])
    scores = jnp.einsum("...hti,...hci->...htc", queries, keys) / context
    return tokens + jnp.einsum("hji,...htc,...hci->...tj", weights.projection, scores, values)


def gradient_step_weights(
    dim: int, rate: Float[Array, ""] | float, start: Float[Array, " dim"] | None = None
) -> AttentionWeights:
    r"""Weights with which a layer performs one gradient step of linear regression on tokens $(x, y)$.

    $$W_K = W_Q = \begin{pmatrix}I_d & 0\\ 0 & 0\end{pmatrix},\quad
      W_V = \begin{pmatrix}0 & 0\\ w_0^\top & -1\end{pmatrix},\quad P = \eta I$$

    map $y \mapsto y - \Delta w^\top x$ for every token, where $\Delta w = -\frac{\eta}{N}\sum_i(w_0^\top x_i - y_i)x_i$
    is the gradient step from $w_0$ (von Oswald et al. 2023, Proposition 1; the $1/N$ is in `linear_attention`). Feed
    the query as $(x_q, -w_0^\top x_q)$: minus its label is then the prediction after the step. The step is absorbed
    into the labels, so the layers after the first have $w_0 = 0$.

    Args:
        dim: $d$, the size of $x$.
        rate: $\eta$.
        start: $w_0$; zero if not given.
    """
    select = jnp.diag(jnp.ones(dim + 1).at[-1].set(0.0))
    value = jnp.zeros((dim + 1, dim + 1)).at[-1, -1].set(-1.0)
    if start is not None:
        value = value.at[-1, :-1].set(start)
    return AttentionWeights(select[None], select[None], value[None], rate * jnp.eye(dim + 1)[None])


def curvature_step_weights(
    dim: int, rate: Float[Array, ""] | float, curvature: Float[Array, ""] | float
) -> AttentionWeights:
    r"""Weights with which a layer performs one step of GD++ on tokens $(x, y)$.

    As `gradient_step_weights`, with $W_V = -\operatorname{diag}(\gamma, \dots, \gamma, \eta)$: next to the step of size
    $\eta$ on the labels, the layer maps all inputs by $x \mapsto (I - \frac{\gamma}{N}\sum_ix_ix_i^\top)x$. Several
    layers are `reprise.tasks.linear_regression.gradient_descent_pp`. (von Oswald et al. 2023, section 3.)

    Args:
        dim: $d$, the size of $x$.
        rate: $\eta$.
        curvature: $\gamma$.
    """
    select = jnp.diag(jnp.ones(dim + 1).at[-1].set(0.0))
    value = -jnp.diag(jnp.append(jnp.full(dim, curvature), rate))
    return AttentionWeights(select[None], select[None], value[None], jnp.eye(dim + 1)[None])


def newton_weights(dim: int, scale: float, iterations: int) -> list[AttentionWeights]:
    r"""Layers that perform Newton's method for $S^{-1}$, $S = \frac1N\sum_ix_ix_i^\top$, and predict with the result.

    A token is $(x, a, y)$, with $a = 0$ at the start and $y = 0$ for the query. The first layer writes
    $a = \alpha Sx$; each of the next $k$ performs `reprise.numerics.newton_schulz.newton_inverse`'s update
    $M \leftarrow 2M - MSM$ for $Mx$, and the last writes the prediction $x_q^\top M_k\frac1N\sum_iy_ix_i$ into the
    query's $y$:

    $$a \leftarrow a + \tfrac{\alpha}{N}\textstyle\sum_ix_i\,x_i^\top x,\qquad
      a \leftarrow a - \tfrac{2^{k-1}}{N}\sum_ia_i\,x_i^\top a,\qquad
      y_q \leftarrow y_q + \tfrac{2^k}{N}\sum_iy_i\,a_i^\top x_q .$$

    A residual connection carries $a$ along once where Newton's method takes $2M$. So $a$ is $2^{-k}M_kx$, not $M_kx$,
    and the factors in front of the sums make up for it, without rounding. (Fu et al. 2024 prove that $O(k)$ layers
    suffice, with a construction that keeps $M_kx$ itself.)

    Args:
        dim: $d$, the size of $x$; tokens have size $2d + 1$.
        scale: $\alpha$, below $2/\lVert S\rVert_2^2$ for convergence.
        iterations: $k$.

    Returns:
        The $k + 2$ layers, first to last, for `linear_attention`.
    """
    take_x, take_a, take_y = np.split(np.eye(2 * dim + 1), [dim, 2 * dim])

    def layer(query, key, value, written, gain):
        return AttentionWeights(query[None], key[None], gain * value[None], written.T[None])

    first = layer(take_x, take_x, take_x, take_a, scale)
    newton = [layer(take_a, take_x, take_a, take_a, -(2.0 ** (k - 1))) for k in range(iterations)]
    return [first, *newton, layer(take_x, take_a, take_y, take_y, 2.0**iterations)]


def products(weights: AttentionWeights) -> Products:
    r"""The products that a linear layer depends on: $U_h = P_hW_{V,h}$ and $M_h = W_{K,h}^\top W_{Q,h}$."""
    return Products(weights.projection @ weights.value, weights.key.mT @ weights.query)


class LinearAttention(nnx.Module):
    r"""A linear self-attention layer in Gram form, trained on the products $U_h$ and $M_h$ themselves.

    Training the two products a head rather than its four matrices spares the optimizer a saddle of fourth order at the
    origin. A call is `gram_attention`; several layers in a row are `linear_stack` on their ``products``.

    Args:
        size: entries of a token.
        heads: number of heads.
        std: standard deviation of the initial entries of $U$ and $M$.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, size: int, *, heads: int = 1, std: float = 0.1, rngs: nnx.Rngs):
        shape = (heads, size, size)
        self.output = nnx.Param(std * rngs.params.normal(shape))
        self.score = nnx.Param(std * rngs.params.normal(shape))

    @property
    def products(self) -> Products:
        """$U$ and $M$."""
        return Products(self.output[...], self.score[...])

    def __call__(
        self, gram: Float[Array, "size size"], token: Float[Array, " size"]
    ) -> tuple[Float[Array, "size size"], Float[Array, " size"]]:
        """The context's Gram matrix and a token outside the context, both after the layer."""
        return gram_attention(self.products, gram, token)


def gram_attention(
    layer: Products, gram: Float[Array, "size size"], token: Float[Array, " size"]
) -> tuple[Float[Array, "size size"], Float[Array, " size"]]:
    r"""`linear_attention` in Gram form: $(G, e) \mapsto \big((I+A)G(I+A)^\top, (I+A)e\big)$, $A = \sum_h U_hGM_h$.

    No context token is carried, so the layer costs nothing in the length of the prompt. Written for one prompt: map it
    over a batch with `jax.vmap`.

    Args:
        layer: $U$ and $M$.
        gram: $G$, the mean of $e_ie_i^\top$ over the context.
        token: a token outside the context, such as the query.
    """
    step = jnp.eye(gram.shape[-1]) + (layer.output @ gram @ layer.score).sum(0)
    return step @ gram @ step.T, step @ token


def linear_stack(
    layers: Sequence[Products], gram: Float[Array, "size size"], token: Float[Array, " size"]
) -> Float[Array, " size"]:
    """A token outside the context after a stack of layers; the same as applying `gram_attention` layer by layer.

    The last two layers are applied as matrix-vector products, without forming a Gram matrix between them, which makes
    stacks of one and two layers several times faster to train.

    Args:
        layers: the layers, first to last; repeat one for a looped (weight-tied) stack.
        gram: as in `gram_attention`, for one prompt.
        token: the token to follow.
    """
    for layer in layers[:-2]:
        gram, token = gram_attention(layer, gram, token)
    product = lambda v: v @ gram
    for layer in layers[-2:]:
        token, product = token + _attend(layer, product, token), _moved(layer, product)
    return token


def _attend(layer: Products, product, v):
    """$A v$, for vectors along the last axis."""
    return jnp.einsum("hij,...hj->...i", layer.output, product(jnp.einsum("hij,...j->...hi", layer.score, v)))


def _moved(layer: Products, product):
    """The product with $(I+A)G(I+A)^T$."""
    transposed = Products(layer.score.mT, layer.output.mT)

    def moved(v):
        v = product(v + _attend(transposed, product, v))
        return v + _attend(layer, product, v)

    return moved
