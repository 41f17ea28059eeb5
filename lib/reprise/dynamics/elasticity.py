r"""Large deformations of elastic bodies in the plane: linear triangles, stress laws, symplectic motion.

A body occupies $\Omega$ at rest, and $\phi(X, t)$ is where the point $X$ is at time $t$. With the deformation gradient
$F = \partial\phi/\partial X$ and the first Piola-Kirchhoff stress $P$, momentum balance in the rest configuration is
$\rho\,\ddot\phi = \nabla\cdot P(F)$. On triangles with positions linear in between, $F$ and $P$ are constants of a
triangle, and the principle of virtual work gives the force on every node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from reprise.numerics.plane_matrices import cofactor, determinant, polar
from reprise.numerics.splines import cubic_b_splines

Law = Callable[[Float[Array, "*batch 2 2"]], Float[Array, "*batch 2 2"]]


class Body(NamedTuple):
    """A triangulated body. Bodies padded to the same shapes can be stacked and mapped over.

    Attributes:
        rest: positions at rest.
        triangles: indices of every triangle's nodes, anticlockwise.
        gradient: the operator that gives $F$ from positions, see `deformation_gradients`.
        areas: of the triangles at rest; zero for padding.
        masses: of the nodes, a third of each triangle around; one for padding.
        free: 1 for nodes that move, 0 for those that are held (and padding).
    """

    rest: Float[np.ndarray, "nodes 2"]
    triangles: Int[np.ndarray, "triangles 3"]
    gradient: Float[np.ndarray, "triangles nodes 2"]
    areas: Float[np.ndarray, " triangles"]
    masses: Float[np.ndarray, " nodes"]
    free: Float[np.ndarray, " nodes"]


def clamped_block(across: int, up: int, cell: float, density: float = 1.0) -> Body:
    """A rectangle of square cells, two triangles each, held along its left edge.

    The rectangle starts at $x = 0$ and is centred on $y = 0$. Nodes are numbered column by column.
    """
    columns, rows = np.meshgrid(np.arange(across + 1), np.arange(up + 1), indexing="ij")
    rest = np.stack([columns.ravel() * cell, (rows.ravel() - up / 2) * cell], -1)
    corner = (np.arange(across)[:, None] * (up + 1) + np.arange(up)).ravel()
    right, above, opposite = corner + up + 1, corner + 1, corner + up + 2
    triangles = np.concatenate([np.stack([corner, right, opposite], -1), np.stack([corner, opposite, above], -1)])
    return _assembled(rest, triangles, rest[:, 0] > 0, density)


def _assembled(rest, triangles, free: Bool[np.ndarray, " nodes"], density) -> Body:
    edges = np.swapaxes(rest[triangles[:, 1:]] - rest[triangles[:, :1]], 1, 2)  # columns are edges
    inverse = np.linalg.inv(edges)
    shape_gradients = np.concatenate([-inverse.sum(1, keepdims=True), inverse], 1)  # [triangle, corner, 2]
    gradient, areas = np.zeros((len(triangles), len(rest), 2)), np.linalg.det(edges) / 2
    np.put_along_axis(gradient, triangles[..., None].repeat(2, -1), shape_gradients, 1)
    masses = np.zeros(len(rest))
    np.add.at(masses, triangles, density * areas[:, None] / 3)
    return Body(rest, triangles, gradient, areas, masses, free.astype(float))


def padded(body: Body, nodes: int, triangles: int) -> Body:
    """The same body with nodes that never move, at the origin, and triangles without area, at the end.

    Such a triangle shares the deformation of the first one, so that no stress law is asked about an impossible one.
    """
    more, extra = nodes - len(body.rest), triangles - len(body.areas)
    pad = lambda a, *by, value=0: np.pad(a, by, constant_values=value)
    return Body(
        pad(body.rest, (0, more), (0, 0)), pad(body.triangles, (0, extra), (0, 0)),
        pad(np.concatenate([body.gradient, body.gradient[:1].repeat(extra, 0)]), (0, 0), (0, more), (0, 0)),
        pad(body.areas, (0, extra)),
        pad(body.masses, (0, more), value=1), pad(body.free, (0, more)),
    )  # fmt: skip


def mesh_edges(body: Body) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"]]:
    """From and to: all edges of the mesh, each in both directions."""
    pairs = body.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    both = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    return both[:, 0], both[:, 1]


def deformation_gradients(
    body: Body, positions: Float[Array, "*batch nodes 2"]
) -> Float[Array, "*batch triangles 2 2"]:
    r"""$F_{ij} = \sum_n x_{n,i}\,\partial_j N_n$ in every triangle, with $N_n$ the hat function of node $n$."""
    return jnp.einsum("tnj,...ni->...tij", body.gradient, positions)


def elastic_forces(body: Body, stresses: Float[Array, "*batch triangles 2 2"]) -> Float[Array, "*batch nodes 2"]:
    r"""Force on every node, $f_n = -\sum_t A_t\,P_t\,\nabla N_n$; minus the derivative of the energy if $P$ has one."""
    return -jnp.einsum("t,...tij,tnj->...ni", body.areas, stresses, body.gradient)


def elastic_acceleration(law: Law) -> Callable[[Body, Array, Array], Float[Array, "*batch nodes 2"]]:
    """Acceleration of every node under a stress law $P(F)$, as `motion` wants it."""

    def acceleration(body, positions, velocities):
        return elastic_forces(body, law(deformation_gradients(body, positions))) / body.masses[:, None]

    return acceleration


def motion(
    acceleration: Callable[[Body, Array, Array], Float[Array, "*batch nodes 2"]],
    body: Body,
    positions: Float[Array, "*batch nodes 2"],
    velocities: Float[Array, "*batch nodes 2"],
    *,
    dt: float,
    steps: int,
    damping: float = 0.0,
    observed: tuple[Bool[Array, " steps"], Float[Array, "steps nodes 2"], Float[Array, "steps nodes 2"]] | None = None,
) -> Float[Array, "steps *batch nodes 2"]:
    r"""Positions after every step of symplectic Euler,
    $v \leftarrow (1 - c\,\Delta t)(v + \Delta t\,a(x, v))$, then $x \leftarrow x + \Delta t\,v$.

    Args:
        acceleration: function of body, positions and velocities; held nodes stay where they are whatever it says.
        body: masses, and which nodes are free.
        positions, velocities: at the start.
        dt: time step.
        steps: number of steps.
        damping: $c$, per unit time.
        observed: if given, whether to begin a step from an observed state in the place of the computed one, and the
            observed positions and velocities before every step: teacher forcing at chosen steps.
    """
    free = body.free[:, None]

    def step(state, seen):
        x, v = state
        if seen is not None:
            restart, seen_x, seen_v = seen
            x, v = jnp.where(restart, seen_x, x), jnp.where(restart, seen_v, v)
        v = free * (1 - damping * dt) * (v + dt * acceleration(body, x, v))
        x = x + dt * v
        return (x, v), x

    return jax.lax.scan(step, (positions, velocities), observed, steps)[1]


def neo_hookean(f: Float[Array, "*batch 2 2"], mu: float = 1.0, lam: float = 1.0) -> Float[Array, "*batch 2 2"]:
    r"""$P = \mu(F - F^{-\top}) + \lambda\ln(\det F)\,F^{-\top}$ (compressible neo-Hookean, plane strain)."""
    det = determinant(f)[..., None, None]
    return mu * f + (lam * jnp.log(det) - mu) * cofactor(f) / det


def saint_venant_kirchhoff(
    f: Float[Array, "*batch 2 2"], mu: float = 1.0, lam: float = 1.0
) -> Float[Array, "*batch 2 2"]:
    r"""$P = F(2\mu E + \lambda\,\mathrm{tr}(E)\,I)$ with the Green strain $E = \frac12(F^\top F - I)$."""
    strain = 0.5 * (f.mT @ f - jnp.eye(2, dtype=f.dtype))
    return f @ _hooke(strain, mu, lam)


def linear_elastic(f: Float[Array, "*batch 2 2"], mu: float = 1.0, lam: float = 1.0) -> Float[Array, "*batch 2 2"]:
    r"""$P = 2\mu\varepsilon + \lambda\,\mathrm{tr}(\varepsilon)\,I$ with $\varepsilon = \frac12(F + F^\top) - I$.

    The limit of the others for small strains and small rotations.
    """
    return _hooke(0.5 * (f + f.mT) - jnp.eye(2, dtype=f.dtype), mu, lam)


def _hooke(strain, mu, lam):
    trace = (strain[..., 0, 0] + strain[..., 1, 1])[..., None, None]
    return 2 * mu * strain + lam * trace * jnp.eye(2, dtype=strain.dtype)


def separable(
    f: Float[Array, "*batch 2 2"], along: Callable[[Array], Array], volume: Callable[[Array], Array]
) -> Float[Array, "*batch 2 2"]:
    r"""Stress of an isotropic body whose energy is a sum, $\Psi = e(\lambda_1) + e(\lambda_2) + w(\lambda_1\lambda_2)$.

    The principal stretches $\lambda_i$ are the singular values of $F = RS$, and with $J = \det F$ follows
    $P = R\,e'(S) + w'(J)\,J F^{-\top}$, where $e'$ of the symmetric matrix $S$ acts on its eigenvalues (Valanis and
    Landel 1967; with a term of the volume Xu et al. 2015, there in space with a third term, of areas). Objective and
    hyperelastic whatever the functions; free of stress at rest if both are zero at 1.

    Where the stretches coincide they have no derivative. They are taken as $m \pm \sqrt{d^2 + \epsilon}$ with their
    mean $m$, half their difference $d$ and the rounding unit $\epsilon$, which is smooth and changes the stress by as
    much as rounding.

    Args:
        f: deformation gradients with positive determinants.
        along: $e'$, elementwise.
        volume: $w'$, elementwise.
    """
    return _separable(f, lambda stretches, ratio: (*along(stretches), volume(ratio)))


def _separable(f, slopes):
    """As `separable`, with one function for $e'$ at both stretches and $w'$ at the volume ratio."""
    turn, stretch = polar(f)
    mean = 0.5 * (stretch[..., 0, 0] + stretch[..., 1, 1])
    deviator = stretch - mean[..., None, None] * jnp.eye(2, dtype=f.dtype)
    half = jnp.sqrt(deviator[..., 0, 0] ** 2 + deviator[..., 0, 1] ** 2 + jnp.finfo(f.dtype).eps)
    larger, smaller, pressure = slopes(jnp.stack([mean + half, mean - half]), determinant(f))
    even, odd = ((larger + sign * smaller)[..., None, None] for sign in (1, -1))
    of_stretch = 0.5 * (even * jnp.eye(2, dtype=f.dtype) + odd * deviator / half[..., None, None])
    return turn @ of_stretch + pressure[..., None, None] * cofactor(f)


def spline_law(
    f: Float[Array, "*batch 2 2"], along: Float[Array, " coefficients"], volume: Float[Array, " coefficients"],
    low: float = 0.4, high: float = 1.8,
) -> Float[Array, "*batch 2 2"]:  # fmt: skip
    r"""A `separable` law whose two functions are cubic splines, so that the energy is a sum of quartic ones.

    $e'(\lambda) = \sum_k a_k\,(B_k(\lambda) - B_k(1))$ with the B-splines $B_k$ of [low, high], and $w'(J)$ alike: any
    coefficients give a body that is free of stress at rest. Beyond the interval $e'$ and $w'$ stay what they are at its
    ends. (Since $\ln\lambda_1 + \ln\lambda_2 = \ln J$, the coefficients of a law are not unique.)

    Args:
        f: deformation gradients with positive determinants.
        along, volume: coefficients, three more than there are intervals between low and high.
        low, high: range of principal stretches and of volume ratios.
    """

    values = lambda x: cubic_b_splines(x, low, high, len(along) - 3)
    coefficients = jnp.stack([along, along, volume])

    def slopes(stretches, ratio):
        both = jnp.concatenate([stretches, ratio[None]])  # one evaluation of the basis: it costs the most
        return jnp.einsum("s...k,sk->s...", values(both) - values(jnp.ones((), f.dtype)), coefficients)

    return _separable(f, slopes)
