"""How much two kernels, or a kernel and a target, look alike."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def centred_alignment(one: Float[Array, "n n"], two: Float[Array, "n n"]) -> Float[Array, ""]:
    r"""Centred kernel alignment (CKA): the cosine between two Gram matrices after centring their features.

    $\langle HK_1H, HK_2H\rangle_F / (\lVert HK_1H\rVert_F\lVert HK_2H\rVert_F)$ with $H = I - \tfrac1n 11^\top$; in
    $[0, 1]$ for positive semi-definite kernels (Cortes et al. 2012; Kornblith et al. 2019).

    Args:
        one: Gram matrix on n points.
        two: Gram matrix on the same points.
    """
    one, two = _centre(one), _centre(two)
    return jnp.vdot(one, two) / jnp.sqrt(jnp.vdot(one, one) * jnp.vdot(two, two))


def target_alignment(kernel: Float[Array, "n n"], targets: Float[Array, " n"]) -> Float[Array, ""]:
    r"""`centred_alignment` of a kernel with its target's ideal kernel $yy^\top$.

    It is large when the target lies along the kernel's leading eigenvectors, which gradient descent learns first.

    Args:
        kernel: Gram matrix on n points.
        targets: the target there.
    """
    return centred_alignment(kernel, jnp.outer(targets, targets))


def _centre(kernel):
    rows = kernel - kernel.mean(0, keepdims=True)
    return rows - rows.mean(1, keepdims=True)
