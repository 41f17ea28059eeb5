r"""Latent tokens: vectors computed from a transformer's key-value cache, and appended to it.

A *decoder* has read a prompt and keeps its cache. A second transformer, the *coprocessor*, reads that cache: its own
tokens are $N$ learned vectors (its vocabulary, one-hot inputs ``eye(N)``), they attend to the cache and causally to
each other, and its outputs are $N$ vectors $z$ of the decoder's width. The decoder goes on from the prompt, $z$ and
whatever follows (Liu et al. 2024, section 2).

One pass serves many prompts per sequence, all its prefixes at ``ends``: the prefixes share one cache, and masks keep
each one's latent tokens and the tokens ahead of it to themselves.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from reprise.networks.transformer import Cache, Transformer


def branch_mask(ends: Int[Array, "*batch branches"], time: int, own: int) -> Bool[Array, "*batch b_own keys"]:
    """Which tokens of several continuations may see what.

    Every branch continues a prefix of one sequence with ``own`` tokens. They see the prefix, and causally each other;
    the rest of the sequence and the other branches are hidden.

    Args:
        ends: lengths of the prefixes.
        time: length of the sequence.
        own: tokens in a branch.

    Returns:
        True where a branch's token (row; branch after branch) sees a key (column: the sequence, then all branches).
    """
    branches = ends.shape[-1]
    prefix = jnp.arange(time) < jnp.repeat(ends, own, axis=-1)[..., None]
    among = jnp.kron(jnp.eye(branches), jnp.tril(jnp.ones((own, own)))).astype(bool)
    return jnp.concatenate([prefix, jnp.broadcast_to(among, (*ends.shape[:-1], *among.shape))], -1)


def latent_tokens(
    coprocessor: Transformer, cache: Cache, ends: Int[Array, "*batch branches"], count: int
) -> Float[Array, "*batch branches count width"]:
    """A coprocessor's outputs for prefixes of a cached sequence, in one pass.

    Args:
        coprocessor: a transformer with ``count`` inputs and the decoder's width and heads. Its soft tokens take the
            positions after the prefix. Block $l$ reads the cache of the decoder's block $l$, and where it has more
            blocks than the decoder, that of the decoder's last one.
        cache: of the whole sequence.
        ends: lengths of the prefixes.
        count: $N$, latent tokens a prefix.
    """
    depth = coprocessor.blocks["attend"].shape[0]
    below = jnp.minimum(jnp.arange(depth), len(cache.keys) - 1)
    cache = jax.tree.map(lambda leaf: leaf[below], cache)
    at = ends[..., None] + jnp.arange(count)
    h = coprocessor.embed(jnp.eye(count), at)
    h = jnp.broadcast_to(h, (*at.shape, h.shape[-1])).reshape(*ends.shape[:-1], -1, h.shape[-1])
    h, _ = coprocessor.body(h, cache, branch_mask(ends, cache.keys.shape[-2], count))
    return coprocessor.read(h).reshape(*at.shape, -1)


def outputs_after_latents(
    decoder: Transformer, cache: Cache, x: Float[Array, "*batch time inputs"], ends: Int[Array, "*batch branches"],
    latents: Float[Array, "*batch branches count width"], ahead: int, visible: int | Int[Array, ""] | None = None,
) -> Float[Array, "*batch branches ahead outputs"]:  # fmt: skip
    """The decoder's outputs at the ``ahead`` tokens after each prefix, given the prefix and its latent tokens.

    The latent tokens are the residual stream's vectors as they are, without a position, and the tokens ahead keep
    the positions that they have in the sequence: hidden latent tokens would leave the decoder as it was.

    Args:
        decoder: the transformer that made the cache.
        cache: of the whole sequence.
        x: the sequence.
        ends: lengths of the prefixes, at most ``time - ahead``.
        latents: vectors in place of embedded tokens.
        ahead: outputs a prefix.
        visible: how many of the latent tokens, counted from the first, may be seen; all by default. As the coprocessor
            is causal, this is what it would say with so many tokens.
    """
    count, own = latents.shape[-2], latents.shape[-2] + ahead
    at = ends[..., None] + jnp.arange(ahead)
    later = jnp.take_along_axis(x[..., None, :, :], at[..., None], -2)
    h = jnp.concatenate([latents, decoder.embed(later, at)], -2)
    h = h.reshape(*ends.shape[:-1], -1, h.shape[-1])
    mask = branch_mask(ends, x.shape[-2], own)
    if visible is not None:
        slot = jnp.arange(mask.shape[-1]) - x.shape[-2]
        mask &= (slot < 0) | (slot % own < visible) | (slot % own >= count)
    h, _ = decoder.body(h, cache, mask)
    return decoder.read(h.reshape(*ends.shape, own, -1)[..., count:, :])
