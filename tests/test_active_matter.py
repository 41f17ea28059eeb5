"""Kinetic theory of active rods, and closures of its moment equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reprise.dynamics.active_matter import (
    Suspension,
    as_complex,
    as_real,
    fourth_moment,
    growth_rate,
    layered_rates,
    rotation_rates,
    shear_rate,
)
from reprise.dynamics.closures import (
    InvariantClosure,
    bingham,
    bingham_order,
    closed_rate,
    quadratic,
)
from reprise.statistics.von_mises_fisher import mean_resultant_length

MODES = 20
ANGLES = 2 * np.pi * np.arange(400) / 400
SUSPENSION = Suspension(-1.5, 0.8, 0.6, 0.1, 0.15)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def moments_of(density):
    """Circular moments of a density on ANGLES."""
    m = 2 * np.arange(MODES)
    return np.exp(1j * m[:, None] * ANGLES) @ density / density.sum()


def smooth_density(shift=0.0):
    return np.exp(0.8 * np.cos(2 * (ANGLES - shift)) + 0.3 * np.sin(4 * ANGLES))


def test_rates_are_those_of_the_smoluchowski_equation():
    strain, spin, crowding, noise = 0.7 - 0.4j, 0.3, 0.5, 0.2
    psi = smooth_density(0.3) / smooth_density(0.3).sum()
    z = moments_of(psi)
    # Turn and diffuse on the circle itself, with spectral derivatives.
    wave = np.fft.fftfreq(400, 1 / 400)
    derivative = lambda f: np.fft.ifft(1j * wave * np.fft.fft(f)).real
    turning = spin + np.imag((strain + crowding * z[1]) * np.exp(-2j * ANGLES))
    change = -derivative(turning * psi) + noise * derivative(derivative(psi))
    expected = np.exp(2j * np.arange(MODES)[:, None] * ANGLES) @ change
    found = rotation_rates(z, strain, spin, crowding, noise)
    np.testing.assert_allclose(found[:-1], expected[:-1], atol=1e-10)


def test_growth_rate_is_the_linearisation_of_the_full_theory():
    points, wave = 16, 0.7
    rest = np.zeros((points, MODES), complex)
    rest[:, 0] = 1
    bump = np.zeros_like(rest)
    bump[:, 1] = 1j * np.cos(2 * np.pi * np.arange(points) / points)
    rate = lambda x: as_real(layered_rates(as_complex(x), SUSPENSION, wave))
    _, change = jax.jvp(rate, (as_real(rest),), (as_real(bump),))
    np.testing.assert_allclose(as_complex(change), growth_rate(wave, SUSPENSION) * bump, atol=1e-12)


def test_shear_balances_the_stress_tensor():
    points = [moments_of(smooth_density(shift)) for shift in (0.0, 0.4, 1.1, 2.0)]
    shear = np.asarray(shear_rate(np.stack(points), SUSPENSION))
    assert abs(shear.mean()) < 1e-12
    total = []
    for z, rate in zip(points, shear, strict=True):
        d = 0.5 * np.array([[1 + z[1].real, z[1].imag], [z[1].imag, 1 - z[1].real]])
        s = np.asarray(fourth_moment(z[1], z[2]))
        e = np.array([[0, rate / 2], [rate / 2, 0]])
        contract = lambda m, s=s: np.einsum("ijkl,kl->ij", s, m)
        stress = SUSPENSION.active * d + SUSPENSION.particle * contract(e)
        stress -= 2 * SUSPENSION.alignment * SUSPENSION.particle * (d @ d - contract(d))
        total.append(rate + stress[0, 1])
    np.testing.assert_allclose(total, total[0], atol=1e-12)


def test_fourth_moment_is_the_mean_of_products():
    psi = smooth_density(0.2) / smooth_density(0.2).sum()
    p = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
    expected = np.einsum("in,jn,kn,ln,n->ijkl", p, p, p, p, psi)
    z = moments_of(psi)
    np.testing.assert_allclose(fourth_moment(z[1], z[2]), expected, atol=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 0.01, 1.0, 8.0, 60.0])
def test_binghams_closure_is_exact_for_binghams_distribution(kappa):
    z = moments_of(np.exp(kappa * (np.cos(2 * (ANGLES - 0.5)) - 1)))
    np.testing.assert_allclose(bingham_order(np.array(kappa)), np.abs(z[1:3]), atol=1e-10)
    if kappa > 0:  # in the plane it is von Mises' distribution of the doubled angle
        np.testing.assert_allclose(bingham_order(np.array(kappa))[0], mean_resultant_length(2, kappa), rtol=1e-12)
    np.testing.assert_allclose(bingham(jnp.asarray(z[1])), z[2], atol=1e-6)


def test_the_closed_equation_is_the_kinetic_one_when_the_closure_is_right():
    z = moments_of(smooth_density(0.3))
    strain, spin, crowding, noise = 0.7 - 0.4j, 0.3, 0.5, 0.2
    found = closed_rate(lambda second, strain: z[2], z[1], strain, spin, crowding, noise)
    np.testing.assert_allclose(found, rotation_rates(z, strain, spin, crowding, noise)[1], atol=1e-14)
    assert abs(closed_rate(quadratic, z[1], strain, spin, crowding, noise) - found) > 1e-3


def test_the_learned_closure_turns_and_mirrors_with_the_plane():
    closure = InvariantClosure(8, rngs=nnx.Rngs(0))
    second, strain = jnp.array([0.3 + 0.4j, 0.0j]), jnp.array([1.0 - 2.0j, 0.5 + 0.1j])
    turn = jnp.exp(2j * 0.7)
    np.testing.assert_allclose(closure(turn * second, turn * strain), turn**2 * closure(second, strain), atol=1e-6)
    np.testing.assert_allclose(closure(second.conj(), strain.conj()), closure(second, strain).conj(), atol=1e-6)
