r"""Kinetic theory of active rods in the plane: orientational moments, homogeneous or varying along one direction.

Rods point along $p=(\cos\theta,\sin\theta)$ with density $\psi(\theta)$, $\int\psi=1$. Head and tail count alike, so
that only the even circular moments $Z_m=\langle e^{im\theta}\rangle$ matter: $Z_0=1$, $Z_2$ holds the second moment
$D=\langle pp\rangle$ and $Z_4$ what the fourth, $S=\langle pppp\rangle$, has besides. With strain rate
$e=E_{xx}+iE_{xy}$, half vorticity $w$, alignment $\zeta$ and rotational diffusion $d_R$, a rod turns at
$\dot\theta=w+\operatorname{Im}(g\,e^{-2i\theta})$, $g=e+\zeta Z_2$, and the Smoluchowski equation reads

$$\dot Z_m=imwZ_m+\tfrac m2\,(gZ_{m-2}-\bar gZ_{m+2})-d_Rm^2Z_m$$

(Saintillan and Shelley 2008; Maddu, Weady and Shelley 2023, section 2, in Fourier modes of $\theta$). Solvers see
complex moments as real arrays with a leading axis of real and imaginary parts.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float


class Suspension(NamedTuple):
    """Parameters of a suspension; each a number or an array that broadcasts against what it acts on.

    ``active`` $\\alpha$ (negative: extensile) and ``particle`` $\\beta$ weigh the dipolar and the constraint stress,
    ``alignment`` is $\\zeta$, ``translation`` and ``rotation`` are the diffusion coefficients $d_T$ and $d_R$.
    """

    active: ArrayLike
    particle: ArrayLike
    alignment: ArrayLike
    translation: ArrayLike
    rotation: ArrayLike


def as_complex(x: Float[Array, "parts *batch modes"]) -> Complex[Array, "*batch modes"]:
    """The complex numbers with these real and imaginary parts."""
    return x[0] + 1j * x[1]


def as_real(z: Complex[Array, "*batch modes"]) -> Float[Array, "parts *batch modes"]:
    """Real and imaginary parts along a new leading axis."""
    return jnp.stack([z.real, z.imag])


def rotation_rates(
    moments: Complex[Array, "*batch modes"],
    strain: Complex[ArrayLike, "*batch"],
    spin: Float[ArrayLike, "*batch"],
    alignment: Float[ArrayLike, "*batch"],
    rotation: Float[ArrayLike, "*batch"],
) -> Complex[Array, "*batch modes"]:
    r"""$\dot Z_0,\dot Z_2,\dots$ of rods that the flow, their neighbours and rotational noise turn.

    Args:
        moments: $Z_0,Z_2,\dots,Z_{2(\text{modes}-1)}$; the next one is taken as zero.
        strain: $E_{xx}+iE_{xy}$ of the symmetric velocity gradient.
        spin: half the vorticity.
        alignment: $\zeta$.
        rotation: $d_R$.
    """
    m = 2 * jnp.arange(moments.shape[-1])
    strain, spin, alignment, rotation = (jnp.asarray(x)[..., None] for x in (strain, spin, alignment, rotation))
    turn = strain + alignment * moments[..., 1:2]
    below = jnp.concatenate([moments[..., 1:2].conj(), moments[..., :-1]], axis=-1)
    above = jnp.concatenate([moments[..., 1:], jnp.zeros_like(moments[..., :1])], axis=-1)
    return (1j * m * spin - rotation * m**2) * moments + m / 2 * (turn * below - turn.conj() * above)


def shear_rate(moments: Complex[Array, "points modes"], suspension: Suspension) -> Float[Array, " points"]:
    r"""$\partial_yu_x$ of the Stokes flow that rods drive if everything depends on $y$ alone and mean shear is zero.

    The momentum equation: viscous and particle stress add up to a constant, $\partial_yu_x+\Sigma_{xy}=c$, with
    $\Sigma=\alpha D+\beta S{:}E-2\zeta\beta(D\cdot D-S{:}D)$; $\Sigma$ itself contains the shear rate, linearly.
    """
    second, fourth = moments[..., 1], moments[..., 2]
    resistance = 1 + suspension.particle * (1 - fourth.real) / 8
    fourth_on_second = second.imag / 4 + (second.real * fourth.imag + second.imag * (1 - fourth.real)) / 8
    steric = 2 * suspension.alignment * suspension.particle * (second.imag / 2 - fourth_on_second)
    stress = suspension.active * second.imag / 2 - steric
    constant = jnp.mean(stress / resistance, -1, keepdims=True) / jnp.mean(1 / resistance, -1, keepdims=True)
    return (constant - stress) / resistance


def layered_rates(
    moments: Complex[Array, "points modes"], suspension: Suspension, wavenumber: Float[ArrayLike, ""]
) -> Complex[Array, "points modes"]:
    r"""$\partial_tZ_m(y)$ of the full kinetic theory where fields depend on $y$ alone, pseudo-spectral in $y$.

    Nothing is carried by the flow then, which runs along $x$; layers interact through the flow and by diffusion.

    Args:
        moments: on equally spaced points of one period.
        suspension: its parameters.
        wavenumber: $2\pi$ over the period.
    """
    shear = shear_rate(moments, suspension)
    turned = rotation_rates(moments, 0.5j * shear, -shear / 2, suspension.alignment, suspension.rotation)
    k = wavenumber * jnp.fft.fftfreq(len(moments), 1 / len(moments))
    spread = jnp.fft.ifft(-(k**2)[:, None] * jnp.fft.fft(moments, axis=0), axis=0)
    return turned + suspension.translation * spread


def growth_rate(wavenumber: Float[ArrayLike, "*shape"], suspension: Suspension) -> Float[ArrayLike, "*shape"]:
    r"""Rate at which a small $D_{xy}(y)$ of this wavenumber grows in an isotropic suspension at rest:

    $$\sigma(k)=\zeta-4d_R-d_Tk^2-\frac{\alpha-\zeta\beta/2}{4(1+\beta/8)} .$$

    Linearise `layered_rates`: $Z_4$ is of second order, and the shear rate is
    $-(\alpha-\zeta\beta/2)D_{xy}/(1+\beta/8)$.
    """
    active, particle, alignment, translation, rotation = suspension
    driven = (active - alignment * particle / 2) / (4 * (1 + particle / 8))
    return alignment - 4 * rotation - translation * wavenumber**2 - driven


def fourth_moment(second: Complex[Array, "*batch"], fourth: Complex[Array, "*batch"]) -> Float[Array, "*batch 2 2 2 2"]:
    r"""The tensor $S=\langle pppp\rangle$ with these moments $Z_2$ and $Z_4$.

    An entry with $n$ indices $y$ is $\langle\cos^{4-n}\theta\sin^n\theta\rangle$.
    """
    c2, s2, c4, s4 = second.real, second.imag, fourth.real, fourth.imag
    by_count = jnp.stack(
        [(3 + 4 * c2 + c4) / 8, (2 * s2 + s4) / 8, (1 - c4) / 8, (2 * s2 - s4) / 8, (3 - 4 * c2 + c4) / 8], axis=-1
    )
    count = sum(jnp.meshgrid(*[jnp.arange(2)] * 4, indexing="ij"))
    return by_count[..., count]
