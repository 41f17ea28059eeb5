"""Elastic bodies against energies, closed forms, SciPy and motions that are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from reprise.dynamics.elasticity import (
    clamped_block,
    deformation_gradients,
    elastic_acceleration,
    elastic_forces,
    linear_elastic,
    motion,
    neo_hookean,
    padded,
    saint_venant_kirchhoff,
    separable,
    spline_law,
)
from reprise.numerics.plane_matrices import cofactor, determinant, polar, rotation

BODY = clamped_block(3, 2, 0.5, density=2.0)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def matrices(count: int, seed: int = 0) -> np.ndarray:
    f = np.eye(2) + 0.3 * np.random.default_rng(seed).normal(size=(2 * count, 2, 2))
    return f[np.linalg.det(f) > 0.2][:count]


def test_plane_matrices_against_lapack():
    f = matrices(50)
    np.testing.assert_allclose(determinant(f), np.linalg.det(f), rtol=1e-12)
    np.testing.assert_allclose(
        cofactor(f), np.linalg.det(f)[:, None, None] * np.linalg.inv(f).swapaxes(1, 2), rtol=1e-9
    )
    turns, stretches = polar(f)
    expected = [scipy.linalg.polar(one) for one in f]
    np.testing.assert_allclose(turns, [u for u, _ in expected], atol=1e-12)
    np.testing.assert_allclose(stretches, [p for _, p in expected], atol=1e-12)
    np.testing.assert_allclose(rotation(np.pi / 2), [[0, -1], [1, 0]], atol=1e-15)


def test_a_block_has_its_area_and_mass_and_one_edge_is_held():
    assert BODY.areas.sum() == pytest.approx(1.5)
    assert (BODY.areas > 0).all()
    assert BODY.masses.sum() == pytest.approx(3.0)
    assert BODY.free.sum() == 9
    assert (BODY.rest[BODY.free == 0, 0] == 0).all()


def test_affine_maps_have_their_matrix_as_deformation_gradient():
    f = matrices(1)[0]
    found = deformation_gradients(BODY, BODY.rest @ f.T + np.array([3.0, -1.0]))
    np.testing.assert_allclose(found, np.broadcast_to(f, found.shape), atol=1e-12)


@pytest.mark.parametrize("law", ["neo-hookean", "saint venant-kirchhoff"])
def test_forces_are_minus_the_gradient_of_the_energy(law):
    mu, lam = 0.7, 1.3

    def energy(x):
        f = deformation_gradients(BODY, x)
        c = f.mT @ f
        if law == "neo-hookean":
            log = 0.5 * jnp.log(determinant(c))
            density = 0.5 * mu * (jnp.trace(c, axis1=1, axis2=2) - 2 - 2 * log) + 0.5 * lam * log**2
        else:
            e = 0.5 * (c - jnp.eye(2))
            density = mu * jnp.sum(e**2, (1, 2)) + 0.5 * lam * jnp.trace(e, axis1=1, axis2=2) ** 2
        return jnp.sum(BODY.areas * density)

    stress = neo_hookean if law == "neo-hookean" else saint_venant_kirchhoff
    x = jnp.asarray(BODY.rest + 0.05 * np.random.default_rng(1).normal(size=BODY.rest.shape))
    forces = elastic_forces(BODY, stress(deformation_gradients(BODY, x), mu, lam))
    np.testing.assert_allclose(forces, -jax.grad(energy)(x), atol=1e-12)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-12)


def test_all_laws_agree_for_small_strains():
    h = 1e-5 * np.random.default_rng(2).normal(size=(5, 2, 2))
    small = linear_elastic(np.eye(2) + h, 0.7, 1.3)
    for law in (neo_hookean, saint_venant_kirchhoff):
        np.testing.assert_allclose(law(np.eye(2) + h, 0.7, 1.3), small, atol=1e-8)


def test_motion_of_a_spring_is_the_closed_form_of_symplectic_euler():
    """x'' = -x with damping: every step is one 2 x 2 matrix."""
    dt, c, steps = 0.1, 0.3, 40
    start = BODY.rest * 0 + 1.0
    moved = motion(lambda body, x, v: -x, BODY, jnp.asarray(start), 0 * start, dt=dt, steps=steps, damping=c)
    kept = 1 - c * dt
    matrix = np.array([[1 - kept * dt**2, kept * dt], [-kept * dt, kept]])
    expected = [(np.linalg.matrix_power(matrix, k + 1) @ [1, 0])[0] for k in range(steps)]
    np.testing.assert_allclose(moved[:, BODY.free == 1, 0], np.repeat(np.array(expected)[:, None], 9, 1), atol=1e-12)
    np.testing.assert_array_equal(moved[:, BODY.free == 0], 1.0)


def test_padding_changes_nothing_and_observed_states_replace_computed_ones():
    rng, steps = np.random.default_rng(3), 12
    velocities = 0.3 * rng.normal(size=BODY.rest.shape) * BODY.free[:, None]
    run = jax.jit(
        lambda body, x, v, seen: motion(
            elastic_acceleration(neo_hookean), body, x, v, dt=0.02, steps=steps, observed=seen
        )
    )  # fmt: skip
    whole = run(BODY, BODY.rest, velocities, None)
    larger = padded(BODY, len(BODY.rest) + 2, len(BODY.areas) + 3)
    fill = ((0, 2), (0, 0))
    with_padding = run(larger, larger.rest, np.pad(velocities, fill), None)
    np.testing.assert_allclose(with_padding[:, : len(BODY.rest)], whole, atol=1e-14)
    before = np.concatenate([BODY.rest[None], whole[:-1]])
    speeds = np.concatenate([velocities[None], np.diff(before, axis=0) / 0.02])
    restart = np.arange(steps) % 5 == 4
    wrong_start = run(BODY, BODY.rest, 0 * velocities, (restart, before, speeds))
    np.testing.assert_allclose(wrong_start[4:], whole[4:], atol=1e-12)
    assert np.abs(wrong_start[:4] - whole[:4]).max() > 1e-3


def test_neo_hookean_and_saint_venant_kirchhoff_without_lambda_are_separable():
    f = np.concatenate([matrices(40), np.eye(2)[None], 1.1 * np.eye(2)[None]])

    @jax.jit
    def pairs(f):
        rubber = separable(f, lambda s: 0.7 * (s - 1 / s), lambda j: 1.3 * jnp.log(j) / j), neo_hookean(f, 0.7, 1.3)
        cubic = separable(f, lambda s: 0.7 * (s**3 - s), jnp.zeros_like), saint_venant_kirchhoff(f, 0.7, 0.0)
        return rubber, cubic

    for found, expected in pairs(f):
        np.testing.assert_allclose(found, expected, atol=1e-13)


def test_spline_laws_turn_with_the_body_rest_without_stress_and_have_an_energy():
    rng = np.random.default_rng(4)
    along, volume = rng.normal(size=(2, 9))
    law = lambda f: spline_law(f, along, volume)
    f, turns = matrices(40), np.asarray(rotation(rng.uniform(-np.pi, np.pi, 40)))
    stress, turned, before, rigid = np.split(jax.jit(law)(np.concatenate([f, turns @ f, f @ turns, turns])), 4)
    np.testing.assert_allclose(turned, turns @ stress, atol=1e-12)
    np.testing.assert_allclose(before, stress @ turns, atol=1e-12)  # isotropic
    np.testing.assert_allclose(rigid, 0, atol=1e-12)
    # A stress that has an energy has a symmetric derivative, also where the stretches coincide.
    tangent = jax.jit(jax.vmap(jax.jacfwd(law)))(np.concatenate([f[:5], np.eye(2)[None]])).reshape(-1, 4, 4)
    np.testing.assert_allclose(tangent, tangent.swapaxes(1, 2), atol=1e-6)


def test_a_law_in_the_span_of_splines_is_recovered_from_its_stresses():
    """Cubic e' and linear w' are splines: least squares on stresses finds a law that agrees on other deformations."""
    count = 8
    truth = lambda f: separable(f, lambda s: 0.7 * (s**3 - s), lambda j: 1.3 * (j - 1))

    @jax.jit
    def evaluate(f, units):
        # The law is linear in its coefficients: the design is its value for every unit vector.
        return jax.vmap(lambda c: spline_law(f, c[:count], c[count:], 0.0, 3.5))(units), truth(f)

    found = [evaluate(matrices(200, seed), np.eye(2 * count)) for seed in (0, 1)]
    (design, stress), (other, expected) = (
        (np.reshape(units, (2 * count, -1)).T, np.ravel(truth)) for units, truth in found
    )
    np.testing.assert_allclose(other @ np.linalg.lstsq(design, stress)[0], expected, atol=1e-9)
