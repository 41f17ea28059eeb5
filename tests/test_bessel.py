from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special

from reprise.numerics import bessel
from reprise.numerics.high_precision import iv_ratio_decimal, log_gamma_decimal, log_iv_decimal, log_kv_decimal

RADIUS = 25.5  # inside it the uniform expansion does not serve


def scattered(count=60, seed=0):
    """Points in every region, on both sides of every boundary, at integer orders and at order 0."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi / 2, (4, 8))
    rings = np.array([RADIUS - 0.1, RADIUS + 0.1, 50.1, 300.1])[:, None]
    v = [10 ** rng.uniform(-3, 2.2, count), (rings * np.sin(angle)).ravel(), [0, 0, 1, 5, 20, 0, 0, 2 + 1e-13]]
    x = [10 ** rng.uniform(-3, 2.2, count), (rings * np.cos(angle)).ravel(), [0.1, 40, 1, 1.4, 1.1, 1e-12, 1e-200, 0.3]]
    return np.concatenate(v), np.concatenate(x)


@pytest.fixture(scope="module")
def references():
    """Values of mpmath at the scattered points: log I, log K, and both ratios."""
    v, x = scattered()
    with mpmath.workdps(60):
        i0, i1 = ([mpmath.besseli(mpmath.mpf(a) + n, mpmath.mpf(b)) for a, b in zip(v, x, strict=True)] for n in (0, 1))
        k0, k1 = ([mpmath.besselk(mpmath.mpf(a) + n, mpmath.mpf(b)) for a, b in zip(v, x, strict=True)] for n in (0, 1))
        log = lambda values: np.array([float(mpmath.log(abs(value))) for value in values])
        ratio = lambda up, down: np.array([float(abs(a / b)) for a, b in zip(up, down, strict=True)])
        return {"log_iv": log(i0), "log_kv": log(k0), "iv_ratio": ratio(i1, i0), "kv_ratio": ratio(k1, k0)}


@pytest.fixture(scope="module")
def computed():
    """The traceable functions and their derivatives at the scattered points, compiled together."""

    @jax.jit
    def everything(v, x):
        slope = lambda function: jax.vmap(jax.grad(function, argnums=1))(v, x)
        names = ("log_iv", "log_kv", "iv_ratio", "kv_ratio")
        values = {name: getattr(bessel, name)(v, x) for name in names}
        return values | {"slope_i": slope(bessel.log_iv), "slope_k": slope(bessel.log_kv)}

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, everything(*scattered()))


@pytest.mark.parametrize("name", ["log_iv", "log_kv"])
def test_logarithms_against_mpmath(name, references, computed):
    scale = np.maximum(1, np.abs(references[name]))
    assert np.max(np.abs(computed[name] - references[name]) / scale) < 1e-14
    partitioned = getattr(bessel, f"{name}_partitioned")(*scattered())
    assert np.max(np.abs(partitioned - references[name]) / scale) < 1e-14
    assert partitioned.dtype == np.float64


@pytest.mark.parametrize("name", ["iv_ratio", "kv_ratio"])
def test_ratios_against_mpmath_to_full_relative_precision(name, references, computed):
    np.testing.assert_allclose(computed[name], references[name], rtol=5e-15)


def test_derivatives_are_the_recurrences_and_never_nan(references, computed):
    v, x = scattered()
    np.testing.assert_allclose(computed["slope_i"], references["iv_ratio"] + v / x, rtol=5e-15)
    np.testing.assert_allclose(computed["slope_k"], v / x - references["kv_ratio"], rtol=3e-14)


@pytest.mark.parametrize("away", [0.0, 1e-6, 0.04, 0.0599, 0.0601, 0.3])
def test_no_digits_are_lost_where_the_logarithms_vanish(away):
    v = np.array([100.0, 1234.56789, 2999.999])
    x = v * (0.6627434193491815 + away)
    for function, exact in ((bessel.log_iv_partitioned, log_iv_decimal), (bessel.log_kv_partitioned, log_kv_decimal)):
        truth = np.array([float(exact(a, b)) for a, b in zip(v, x, strict=True)])
        assert np.max(np.abs(function(v, x) - truth) / np.maximum(1, np.abs(truth))) < 4e-15


def test_second_derivative_solves_bessels_equation():
    v, x = np.array([0.5, 3.0, 40.0]), np.array([0.7, 30.0, 20.0])
    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(bessel.log_iv, argnums=1))
        first, second = jax.jit(lambda v, x: jax.jvp(lambda x: slope(v, x), (x,), (jnp.ones_like(x),)))(v, x)
    first, second = np.asarray(first), np.asarray(second)
    # With L = log y, x^2 y'' + x y' = (x^2 + v^2) y reads x^2 (L'' + L'^2) + x L' = x^2 + v^2.
    np.testing.assert_allclose(x**2 * (second + first**2) + x * first, x**2 + v**2, rtol=1e-12)


def test_the_order_is_not_differentiable():
    with jax.enable_x64(True), pytest.raises(NotImplementedError, match="order"):
        jax.grad(bessel.log_iv)(2.0, 3.0)


def test_float64_is_demanded_and_the_domain_kept():
    with pytest.raises(TypeError, match="enable_x64"):
        bessel.log_iv(1.0, 1.0)
    v, x = np.array([1.0, -1.0, 1.0, np.nan, 1.0]), np.array([2.0, 2.0, -2.0, 2.0, 0.0])
    for function in (bessel.log_iv_partitioned, bessel.log_kv_partitioned):
        np.testing.assert_array_equal(np.isnan(function(v, x)), [False, True, True, True, True])


def test_partition_keeps_order_and_shape_of_large_mixed_arrays():
    v, x = 10 ** np.random.default_rng(1).uniform(-1, 4, (2, 150, 150))
    pieces = [bessel.log_iv_partitioned(a, b) for a, b in zip(v.reshape(10, -1), x.reshape(10, -1), strict=True)]
    np.testing.assert_array_equal(bessel.log_iv_partitioned(v, x).ravel(), np.concatenate(pieces))
    assert bessel.log_iv_partitioned(3.0, x[0]).shape == (150,)
    assert bessel.log_iv_partitioned(v[:0], x[:0]).shape == (0, 150)


def test_regions_cover_the_corner_by_its_own_rules():
    names = [
        bessel.RULES_K[i].name for i in bessel.regions(bessel.RULES_K, [1.0, 1.0, 30.0, 400.0], [1.0, 5.0, 0.1, 1.0])
    ]
    assert [name.split(",")[0] for name in names] == ["Temme", "trapezoid", "uniform", "uniform"]


def test_debye_coefficients_exponentiate_to_the_polynomials_of_the_recursion():
    terms = 6
    polynomials = [[Fraction(1)]]  # u_k by DLMF 10.41.9, coefficients of powers of p
    for _ in range(terms):
        u = polynomials[-1] + [Fraction(0)] * 4
        new = [Fraction(0)] * (len(u) + 2)
        for n, c in enumerate(u):
            if not c:
                continue
            new[n + 1] += c * n / 2 + c / (8 * (n + 1))
            new[n + 3] -= c * n / 2 + 5 * c / (8 * (n + 3))
        polynomials.append(new)
    p = Fraction(3, 7)
    u = [sum(c * p**n for n, c in enumerate(row)) for row in polynomials]
    logs = [
        sum(c * p ** (k + 2 * j) for j, c in enumerate(row))
        for k, row in enumerate(bessel.debye_log_coefficients(terms), 1)
    ]
    for k in range(1, terms + 1):  # k u_k = sum_j j d_j u_{k-j}: the series' logarithm, differentiated
        assert k * u[k] == sum(j * logs[j - 1] * u[k - j] for j in range(1, k + 1))


def test_log_and_exp_to_an_ulp():
    x = np.concatenate([np.random.default_rng(0).uniform(0.5, 2, 1000), 10.0 ** np.arange(-300, 300)])
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(bessel._log)(x), np.log(x), rtol=3e-16, atol=1e-18)
        y = np.linspace(-690, 690, 2001)
        np.testing.assert_allclose(jax.jit(bessel._exp)(y), np.exp(y), rtol=5e-16)


def test_decimal_references_against_mpmath_and_the_wronskian():
    rng = np.random.default_rng(2)
    with mpmath.workdps(50):
        for v, x in zip(rng.uniform(0, 60, 8), 10 ** rng.uniform(-2, 2, 8), strict=True):
            big_v, big_x = mpmath.mpf(v), mpmath.mpf(x)
            exact = lambda value: mpmath.mpf(str(value))
            assert abs(exact(log_iv_decimal(v, x)) - mpmath.log(mpmath.besseli(big_v, big_x))) < 1e-30
            assert abs(exact(log_kv_decimal(v, x)) - mpmath.log(mpmath.besselk(big_v, big_x))) < 1e-30
            ratio = mpmath.besseli(big_v + 1, big_x) / mpmath.besseli(big_v, big_x)
            assert abs(exact(iv_ratio_decimal(v, x)) / ratio - 1) < 1e-30
            assert abs(exact(log_gamma_decimal(v + 0.1)) - mpmath.loggamma(mpmath.mpf(v + 0.1))) < 1e-40
    v, x = 1024, 777.25
    up, across = log_iv_decimal(v, x) + log_kv_decimal(v + 1, x), log_iv_decimal(v + 1, x) + log_kv_decimal(v, x)
    assert abs(float(up.exp() + across.exp()) * x - 1) < 1e-15
    with pytest.raises(ValueError, match="x > 0"):
        log_iv_decimal(1.0, 0.0)


def test_scipy_agrees_where_it_has_values():
    v, x = 10 ** np.random.default_rng(3).uniform(-1, 1.9, (2, 100))
    np.testing.assert_allclose(
        bessel.log_iv_partitioned(v, x), np.log(scipy.special.ive(v, x)) + x, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        bessel.log_kv_partitioned(v, x), np.log(scipy.special.kve(v, x)) - x, rtol=1e-12, atol=1e-12
    )
