import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import eval_legendre, hyp2f1

from reprise.dynamics.singular import (
    accretion_brackets,
    accretion_profile,
    chebyshev_points,
    hypergeometric,
    jet,
    legendre,
    legendre_residual_floor,
    mach_number,
    polynomial_solution,
    sonic_point,
)


def residual(coefficients, function, x, h=1e-4):
    """p y'' + q y' + r y by central differences."""
    below, here, above = function(x - h), function(x), function(x + h)
    p, q, r = coefficients
    return p * (above - 2 * here + below) / h**2 + q * (above - below) / (2 * h) + r * here


def test_known_solutions_solve_the_equations():
    x = np.linspace(-0.9, 0.9, 7)
    assert np.abs(residual(legendre(x, 3.0), lambda x: eval_legendre(3, x), x)).max() < 1e-6
    z = np.linspace(0.1, 0.9, 7)
    assert np.abs(residual(hypergeometric(z, 0.5, 0.7, 2.5), lambda z: hyp2f1(0.5, 0.7, 2.5, z), z)).max() < 1e-6


def test_jet_is_the_derivatives():
    with jax.enable_x64(True):
        value, slope, curvature = jax.jit(lambda x: jet(lambda x: jnp.tanh(2 * x), x))(jnp.asarray(0.3))
    t = np.tanh(0.6)
    np.testing.assert_allclose([value, slope, curvature], [t, 2 * (1 - t**2), -8 * t * (1 - t**2)], rtol=1e-13)


def test_chebyshev_points():
    x = chebyshev_points(5, 0.0, 2.0)
    np.testing.assert_allclose(x, 1 - np.cos(np.pi * np.arange(5) / 4))


def test_polynomials_solve_legendres_equation_where_a_regular_solution_exists():
    polynomial, left = polynomial_solution(lambda x: legendre(x, 4.0), 8, 1.0, 1.0)
    x = np.linspace(-1, 1, 50)
    np.testing.assert_allclose(polynomial(x), eval_legendre(4, x), atol=1e-12)
    assert left < 1e-11
    assert polynomial_solution(lambda x: legendre(x, 4.5), 8, 1.0, 1.0)[1] > 0.01


@pytest.mark.parametrize("degree", [0.3, 1.5, 2.25])
def test_no_polynomial_gets_below_the_residual_floor_and_large_degrees_come_close(degree):
    floor = legendre_residual_floor(degree)
    small, large = (polynomial_solution(lambda x: legendre(x, degree), n, 1.0, 1.0)[1] for n in (6, 40))
    assert floor < large < 1.02 * floor
    assert large < small
    assert legendre_residual_floor(3.0) < 1e-12


def test_polynomials_on_another_interval():
    polynomial, left = polynomial_solution(lambda z: hypergeometric(z, 0.5, 0.5, 1.5), 12, 0.0, 1.0, 0.0, 0.5)
    z = np.linspace(0, 0.5, 20)
    np.testing.assert_allclose(polynomial(z), hyp2f1(0.5, 0.5, 1.5, z), rtol=1e-7)
    assert left < 1e-5


def test_brackets_vanish_at_the_sonic_point():
    radius, speed = sonic_point(0.1)
    assert radius == pytest.approx(6.5)
    np.testing.assert_allclose(accretion_brackets(radius, speed, 0.1), 0, atol=1e-15)
    assert mach_number(radius, speed, 0.1) == pytest.approx(1)


@pytest.mark.parametrize("wind", [False, True])
def test_profile_solves_the_differential_equation_on_either_side(wind):
    def slope(r, u):
        flow, pull = accretion_brackets(r, u, 0.1)
        return u * pull / flow

    for ends in ((4.0, 3.0), (10.0, 20.0)):  # away from the sonic point at 6.5
        start = accretion_profile(np.array(ends[:1]), 0.1, wind)
        marched = solve_ivp(slope, ends, start, rtol=1e-10, atol=1e-12).y[0, -1]
        np.testing.assert_allclose(accretion_profile(np.array(ends[1:]), 0.1, wind)[0], marched, rtol=1e-7)
    mach = mach_number(np.array([3.0, 20.0]), accretion_profile(np.array([3.0, 20.0]), 0.1, wind), 0.1)
    assert ((mach > 1) == ([False, True] if wind else [True, False])).all()
