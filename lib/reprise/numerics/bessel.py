r"""Logarithms of the modified Bessel functions $I_v(x)$ and $K_v(x)$, and their ratios in the order, without overflow.

Real orders $v\ge 0$, arguments $x>0$, float64 (run under ``with jax.enable_x64(True):``). Each function comes twice:

- `log_iv`, `log_kv`, `iv_ratio`, `kv_ratio` are plain JAX: safe under `jax.jit`, `jax.vmap` and `jax.grad` (in $x$).
  They evaluate every rule on every point and select, as a traced program must.
- `log_iv_partitioned`, `log_kv_partitioned` sort the points by region on the host first, so that each is served by
  the cheapest rule that is accurate there, and only by that one. They take and return NumPy arrays.

The rules, after Plesner, Sørensen and Hauberg (2024, arXiv:2409.08729), with $r=\sqrt{v^2+x^2}$:

- $r$ large: the uniform (Debye) expansion. Written in $1/r$ and $w=v^2/r^2$ rather than in $1/v$ and $p=v/r$ it has no
  singularity at $v=0$, where it *is* Hankel's expansion for large $x$, so that one rule replaces the paper's two; and
  its coefficients are those of the logarithm of the series, so that no logarithm of a sum is left to take.
- $r$ small: the power series for $I$; for $K$ Temme's series when $x$ is small and the trapezoidal rule on
  $\int_0^\infty e^{-x\cosh t}\cosh(vt)\,dt$ otherwise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, ArrayLike, Float, Int

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
HALF_LOG_HALF_PI = 0.5 * math.log(math.pi / 2)


# --- the expansion's coefficients ------------------------------------------------------------------------------------


@functools.cache
def debye_log_coefficients(terms: int) -> tuple[tuple[Fraction, ...], ...]:
    r"""Coefficients of the logarithm of Debye's uniform expansion, exactly.

    With Debye's polynomials $u_k(p)$ (NIST DLMF 10.41.9) and $p=v/r$,
    $\log\sum_k u_k(p)/v^k=\sum_{k\ge1}r^{-k}\sum_{j=0}^k c_{kj}\,p^{2j}$ as formal series. Putting $e^L$ for the sum
    into the recursion of the $u_k$ gives one for $L=\sum_k d_k(p)/v^k$:
    $d_{k+1}'=\tfrac12(p^2-p^4)\big(d_k''+\sum_{i+j=k}d_i'd_j'\big)+(p-2p^3)d_k'$, started by $d_1'=(1-5p^2)/8$.

    Args:
        terms: highest power of $1/r$, at least 1.

    Returns:
        ``c[k - 1][j]``, for $k$ = 1 ... ``terms`` and $j$ = 0 ... $k$.
    """
    slopes = [[Fraction(1, 8), Fraction(-5, 8)]]  # slopes[k - 1][j]: coefficient of p^(k - 1 + 2j) in d_k'
    for k in range(1, terms):
        new = [Fraction(0)] * (k + 2)
        for j, a in enumerate(slopes[k - 1]):
            power = k - 1 + 2 * j
            new[j] += a * (Fraction(power, 2) + 1)
            new[j + 1] -= a * (Fraction(power, 2) + 2)
        for i in range(1, k):
            for m, a in enumerate(slopes[i - 1]):
                for n, b in enumerate(slopes[k - i - 1]):
                    new[m + n] += a * b / 2
                    new[m + n + 1] -= a * b / 2
        slopes.append(new)
    return tuple(tuple(a / (k + 2 * j) for j, a in enumerate(slope)) for k, slope in enumerate(slopes, start=1))


def _double_sum(coefficients, step: Array, w: Array) -> Array:
    """Horner's scheme for sum_k step^k sum_j coefficients[k - 1][j] w^j, k from 1."""
    total = 0.0
    for row in reversed(coefficients):
        total = step * (total + _polynomial(row, w))
    return total


def _polynomial(coefficients, x: Array) -> Array:
    value = float(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * x + float(c)
    return value


# --- logarithm and exponential ---------------------------------------------------------------------------------------
# XLA's float64 log and exp on a CPU are an order of magnitude slower than the arithmetic around them; these two
# consist of additions and multiplications on the bits' two halves, which compile to vector instructions.

with localcontext() as context:
    context.prec = 40
    LN2_HIGH = float(int(Decimal(2).ln() * 2**32)) / 2**32  # times an exponent, this is exact
    LN2_LOW = float(Decimal(2).ln() - Decimal(LN2_HIGH))

_SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
_ATANH = [2.0 / (2 * k + 1) for k in range(1, 12)]
_EXP = [1.0 / math.factorial(k) for k in range(14)]
# Added to a small integer, this leaves it in the lowest bits: a conversion that every vector unit has.
_SHIFTER = 1.5 * 2.0**52
_SHIFTER_BITS = np.float64(_SHIFTER).view(np.int64)


def _bits(x: Array) -> Array:
    return jax.lax.bitcast_convert_type(x, jnp.int64)


def _from_bits(bits: Array) -> Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float64)


def _log(x: Array) -> Array:
    """Logarithm of positive normal numbers: exponent times log 2 plus log(1 + f) = 2 atanh(f / (2 + f))."""
    exponent_bits = (_bits(x) - _SQRT_HALF_BITS) >> 52
    f = _from_bits(_bits(x) - (exponent_bits << 52)) - 1.0
    exponent = _from_bits(exponent_bits + _SHIFTER_BITS) - _SHIFTER
    s = f / (2.0 + f)
    z = s * s
    return exponent * LN2_HIGH + (f - (s * (f - z * _polynomial(_ATANH, z)) - exponent * LN2_LOW))


def _exp(x: Array) -> Array:
    """Exponential below 700, at least exp(-700)."""
    x = jnp.maximum(x, -700.0)
    n = jnp.round(x * (1 / math.log(2)))
    return _from_bits((_bits(n + _SHIFTER) + 1023) << 52) * _polynomial(_EXP, (x - n * LN2_HIGH) - n * LN2_LOW)


# --- rule: uniform expansion -----------------------------------------------------------------------------------------


def _crossing(terms: int = 15) -> tuple[Decimal, list[float]]:
    """The root q of sqrt(1 + q^2) = asinh(1 / q), where r = v asinh(v / x), and the difference's Taylor series there.

    The derivative is sqrt(1 + q^2) / q, whose series follows from squaring the root and multiplying by q.
    """
    with localcontext() as context:
        context.prec = 40
        q = Decimal("0.66")
        for _ in range(8):
            h = (1 + q * q).sqrt()
            q -= (h - ((1 + h) / q).ln()) * q / h
        h = [(1 + q * q).sqrt()]
        slope = [h[0] / q]
        for n in range(1, terms):
            square = (0, 2 * q, Decimal(1))[n] if n < 3 else Decimal(0)
            h.append((square - sum(h[i] * h[n - i] for i in range(1, n))) / (2 * h[0]))
            slope.append((h[n] - slope[n - 1]) / q)
        return q, [float(c / (n + 1)) for n, c in enumerate(slope)]


_CROSSING, _AT_CROSSING = _crossing()
_CROSSING_HIGH = math.floor(float(_CROSSING) * 2**26) / 2**26  # times half of the bits of v, this is exact
_CROSSING_LOW = float(_CROSSING - Decimal(_CROSSING_HIGH))
_HIGH_BITS = np.int64(-(1 << 27))


def _exponent(v: Array, x: Array, r: Array) -> Array:
    """r - v asinh(v / x), accurately where the two are nearly equal, too."""
    tiny = x < 1e-200  # (v + r) / x would overflow
    angle = _log((v + r) / jnp.where(tiny, x * 2.0**400, x)) + jnp.where(tiny, 400 * math.log(2), 0.0)
    # Near the line x = q v on which they cross: the distance from the line, exactly, and a Taylor series.
    upper = _from_bits(_bits(v) & _HIGH_BITS)
    distance = ((x - _CROSSING_HIGH * upper) - _CROSSING_HIGH * (v - upper)) - _CROSSING_LOW * v
    series = distance * _polynomial(_AT_CROSSING, distance / v)
    return jnp.where(jnp.abs(distance) < 0.06 * v, series, r - v * angle)


def _uniform(sign: int, terms: int, v: Array, x: Array) -> Array:
    """log I (sign 1) or log K (sign -1) by ``terms`` terms of the uniform expansion."""
    r = jnp.sqrt(v * v + x * x)
    s = 1.0 / r
    w = (v * s) * (v * s)
    coefficients = debye_log_coefficients(terms)
    constant = HALF_LOG_2PI if sign == 1 else -HALF_LOG_HALF_PI
    return sign * _exponent(v, x, r) + (_double_sum(coefficients, sign * s, w) - (0.5 * _log(r) + constant))


def _uniform_ratio(sign: int, terms: int, v: Array, x: Array) -> Array:
    """I_{v+1} / I_v (sign 1) or K_{v+1} / K_v (sign -1) from the derivative in x, without logs or cancellation."""
    r = jnp.sqrt(v * v + x * x)
    s = 1.0 / r
    w = (v * s) * (v * s)
    slopes = [
        [(k + 2 * j) * c for j, c in enumerate(row)]
        for k, row in enumerate(debye_log_coefficients(terms), start=1)
    ]  # fmt: skip
    correction = (x * s) * s * (0.5 + _double_sum(slopes, sign * s, w))
    return x / (r + v) - correction if sign == 1 else (r + v) / x + correction


# --- rule: power series of I -----------------------------------------------------------------------------------------

_SHIFT = 8  # the gamma function is taken at v + 8, where 8 terms of Stirling's series are exact
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)


def _series_fraction(terms: int, v: Array, x: Array) -> tuple[Array, Array]:
    """sum_k (x/2)^{2k} / (k! (v+1)_k) as numerator and denominator (``terms`` is even)."""
    q = (0.5 * x) * (0.5 * x)
    numerator, denominator = jnp.ones_like(q), jnp.ones_like(q)
    for k in range(terms - 1, 0, -2):  # two terms at a time, for a shorter chain of dependent operations
        inner = (k + 1) * v + float((k + 1) ** 2)
        both = inner * (k * v + float(k * k))
        numerator = denominator * (both + q * inner) + (q * q) * numerator
        denominator = denominator * both
    return numerator, denominator


def _series(terms: int, v: Array, x: Array) -> Array:
    """log I by its power series, whose terms are all positive."""
    numerator, denominator = _series_fraction(terms, v, x)
    y = v + _SHIFT
    rising = functools.reduce(jnp.multiply, [v + k for k in range(1, _SHIFT)])  # Gamma(y) / Gamma(v + 1)
    stirling = _polynomial(_STIRLING, 1.0 / (y * y)) / y
    # The half-integer power of y is split off, so that two logarithms do for the whole.
    power = functools.reduce(jnp.multiply, [y] * (_SHIFT - 1)) * jnp.sqrt(y)
    return v * _log(0.5 * x / y) + (_log(numerator * (rising / (denominator * power))) + (y - HALF_LOG_2PI - stirling))


def _series_ratio(terms: int, v: Array, x: Array) -> Array:
    """I_{v+1} / I_v by two power series."""
    above, below = _series_fraction(terms, v + 1, x)[0], _series_fraction(terms, v, x)[0]
    return 0.5 * x * above / (below * (v + terms + 1))


# --- rule: trapezoidal rule for K ------------------------------------------------------------------------------------


def _integral_sums(step: float, nodes: int, v: Array, x: Array) -> tuple[Array, Array]:
    """Sums of exp(-x (cosh t - 1)) cosh(vt), plain and times cosh t, over t = 0, step, ...; the first counts half."""
    up, total, weighted = jnp.ones_like(x), jnp.full_like(x, 0.5), jnp.full_like(x, 0.5)
    growth = _exp(v * step)
    decay, down = 1.0 / growth, up
    for k in range(1, nodes):
        up, down = up * growth, down * decay
        term = 0.5 * (up + down) * _exp(-x * (math.cosh(k * step) - 1.0))
        total, weighted = total + term, weighted + math.cosh(k * step) * term
    return total, weighted


def _integral(step: float, nodes: int, v: Array, x: Array) -> Array:
    """log K by the trapezoidal rule, which converges geometrically here."""
    return _log(_integral_sums(step, nodes, v, x)[0]) + math.log(step) - x


def _integral_ratio(step: float, nodes: int, v: Array, x: Array) -> Array:
    """K_{v+1} / K_v = v/x - K_v'/K_v, the derivative taken under the integral."""
    total, weighted = _integral_sums(step, nodes, v, x)
    return weighted / total + v / x


# --- rule: Temme's series for K --------------------------------------------------------------------------------------

# Taylor coefficients of 1 / Gamma(1 + z) (NIST DLMF 5.7.1, shifted by one).
_RECIPROCAL_GAMMA = (
    1.0, 0.57721566490153286061, -0.65587807152025388108, -0.04200263503409523553, 0.16653861138229148950,
    -0.04219773455554433675, -0.00962197152787697356, 0.00721894324666309954, -0.00116516759185906511,
    -0.00021524167411495097, 0.00012805028238811619, -0.00002013485478078824, -0.00000125049348214267,
    0.00000113302723198170, -0.00000020563384169776, 0.00000000611609510448, 0.00000000500200764447,
    -0.00000000118127457049, 0.00000000010434267117,
)  # fmt: skip
_SINHC = [1.0 / math.factorial(2 * k + 1) for k in range(9)]


def _temme_pair(terms: int, steps: int, v: Array, x: Array) -> tuple[Array, Array, Array, Array]:
    """(x/2)^n K_v and (x/2)^{n+1} K_{v+1} with n = v rounded, n, and log(x/2); ``steps`` is the largest n."""
    n = jnp.floor(v + 0.5)
    mu = v - n
    mu2 = mu * mu
    log_half = _log(0.5 * x)
    q = (0.5 * x) * (0.5 * x)
    sigma = -mu * log_half
    power = _exp(sigma)
    inverse = 1.0 / power
    even, odd = _polynomial(_RECIPROCAL_GAMMA[::2], mu2), _polynomial(_RECIPROCAL_GAMMA[1::2], mu2)
    small = jnp.abs(sigma) < 1.0
    away = jnp.where(small, 1.0, sigma)
    sinhc = jnp.where(small, _polynomial(_SINHC, jnp.where(small, sigma, 0.0) ** 2), 0.5 * (power - inverse) / away)
    # 1 / Gamma(1 +- mu) = even +- mu odd, and their product is sin(pi mu) / (pi mu).
    plus, minus = even + mu * odd, even - mu * odd
    f = (-odd * 0.5 * (power + inverse) - sinhc * log_half * even) / (plus * minus)
    p, q_ = 0.5 * power / plus, 0.5 * inverse / minus
    weight, low, high = jnp.ones_like(x), f, p
    for k in range(1, terms):
        scale = 1.0 / (k * k - mu2)
        f = (k * f + p + q_) * scale
        p, q_ = p * (k + mu) * scale, q_ * (k - mu) * scale
        weight = weight * q * (1.0 / k)
        low, high = low + weight * f, high + weight * (p - k * f)
    # Upwards in the order, scaled so that nothing overflows: (x/2)^j K_{mu+j}.
    for j in range(1, steps + 1):
        go = j <= n
        low, high = jnp.where(go, high, low), jnp.where(go, q * low + (mu + j) * high, high)
    return low, high, n, log_half


def _temme(terms: int, steps: int, v: Array, x: Array) -> Array:
    """log K by Temme's series for the order's fractional part and the upward recurrence."""
    low, _, n, log_half = _temme_pair(terms, steps, v, x)
    return _log(low) - n * log_half


def _temme_ratio(terms: int, steps: int, v: Array, x: Array) -> Array:
    """K_{v+1} / K_v from the same recurrence."""
    low, high, _, _ = _temme_pair(terms, steps, v, x)
    return (high / low) * (2.0 / x)  # XLA would turn two divisions into one that overflows


# --- which rule where ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A rule with the region it serves: of a list of rules, a point belongs to the first whose bounds it meets.

    Attributes:
        name: what the rule is, for figures and tables.
        value: ``value(v, x)``, the logarithm of the function.
        ratio: ``ratio(v, x)``, the function at order v + 1 over the function at order v.
        radius: smallest $r=\\sqrt{v^2+x^2}$ served.
        argument: largest $x$ served.
    """

    name: str
    value: Callable[[Array, Array], Array]
    ratio: Callable[[Array, Array], Array]
    radius: float = 0.0
    argument: float = math.inf


# Radii from the size of the first omitted terms against the result's rounding error.
_EXPANSIONS = ((5, 300.0), (10, 50.0), (16, 25.5))
_RADIUS = _EXPANSIONS[-1][1]


def _rule(name: str, value, ratio, *settings, **bounds) -> Rule:
    return Rule(name, functools.partial(value, *settings), functools.partial(ratio, *settings), **bounds)


def _uniform_rules(sign: int) -> tuple[Rule, ...]:
    return tuple(
        _rule(f"uniform, {terms} terms", _uniform, _uniform_ratio, sign, terms, radius=radius)
        for terms, radius in _EXPANSIONS
    )


#: Rules for $I_v$ and for $K_v$, cheapest first.
RULES_I = (
    *_uniform_rules(1),
    _rule("series, 14 terms", _series, _series_ratio, 14, argument=3.0),
    _rule("series, 46 terms", _series, _series_ratio, 46),
)
RULES_K = (
    *_uniform_rules(-1),
    _rule("Temme, 12 terms", _temme, _temme_ratio, 12, int(_RADIUS + 0.5), argument=1.5),
    _rule("trapezoid, 39 nodes", _integral, _integral_ratio, 0.13, 39),
)


# --- traceable functions ---------------------------------------------------------------------------------------------


def log_iv(v: Float[ArrayLike, "*shape"], x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\log I_v(x)$, the modified Bessel function of the first kind.

    Args:
        v: order, at least 0; broadcasts against ``x``. Not differentiable in ``v`` (`NotImplementedError`).
        x: argument, positive (and normal). The derivative is $I_{v+1}/I_v+v/x$, computed by `iv_ratio`.

    Returns:
        The logarithm; NaN outside the domain, and where $v$ or $x$ exceeds 1e150.

    Raises:
        TypeError: float64 is not enabled.
    """
    return _log_iv(*_arguments(v, x))


def log_kv(v: Float[ArrayLike, "*shape"], x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\log K_v(x)$, the modified Bessel function of the second kind; arguments as for `log_iv`.

    The derivative in $x$ is $v/x-K_{v+1}/K_v$, computed by `kv_ratio`.
    """
    return _log_kv(*_arguments(v, x))


def iv_ratio(v: Float[ArrayLike, "*shape"], x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\rho=I_{v+1}(x)/I_v(x)$, between 0 and 1, to full relative precision; arguments as for `log_iv`.

    The derivative in $x$ is Riccati's $1-\rho^2-(2v+1)\rho/x$.
    """
    return _iv_ratio(*_arguments(v, x))


def kv_ratio(v: Float[ArrayLike, "*shape"], x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\rho=K_{v+1}(x)/K_v(x)$, above 1, to full relative precision; arguments as for `log_iv`.

    The derivative in $x$ is Riccati's $\rho^2-(2v+1)\rho/x-1$.
    """
    return _kv_ratio(*_arguments(v, x))


def _arguments(v, x) -> tuple[Array, Array]:
    if not jax.config.jax_enable_x64:
        raise TypeError("log-Bessel functions need float64: call them inside `with jax.enable_x64(True):`")
    return tuple(jnp.broadcast_arrays(jnp.asarray(v, jnp.float64), jnp.asarray(x, jnp.float64)))


def _select(rules: tuple[Rule, ...], kind: str, v: Array, x: Array) -> Array:
    """Every needed rule on every point, each fed with a harmless point where it does not apply."""
    square = v * v + x * x
    out, free = jnp.full_like(x, jnp.nan), _valid(v, x)
    for rule in (rules[len(_EXPANSIONS) - 1], *rules[len(_EXPANSIONS) :]):  # one expansion serves all radii
        mine = free & (square >= rule.radius**2) & (x <= rule.argument)
        free = free & ~mine
        safe_v = jnp.where(mine, v, rule.radius)
        safe_x = jnp.where(mine, x, min(1.0, rule.argument))
        out = jnp.where(mine, getattr(rule, kind)(safe_v, safe_x), out)
    return out


def _differentiable(rules: tuple[Rule, ...], kind: str, derivative: Callable) -> Callable:
    """The selected rule as a function whose derivative in x is ``derivative(v, x, value)``."""
    function = jax.custom_jvp(functools.partial(_select, rules, kind))

    def jvp(primals, tangents):
        v, x = primals
        if not isinstance(tangents[0], SymbolicZero):
            raise NotImplementedError("the derivative of a Bessel function in its order v is not available")
        value = function(v, x)
        if isinstance(tangents[1], SymbolicZero):
            return value, jnp.zeros_like(value)
        return value, derivative(v, x, value) * tangents[1]

    function.defjvp(jvp, symbolic_zeros=True)
    return function


_iv_ratio = _differentiable(RULES_I, "ratio", lambda v, x, rho: 1 - rho**2 - (2 * v + 1) * rho / x)
_kv_ratio = _differentiable(RULES_K, "ratio", lambda v, x, rho: rho**2 - (2 * v + 1) * rho / x - 1)
_log_iv = _differentiable(RULES_I, "value", lambda v, x, _: _iv_ratio(v, x) + v / x)
_log_kv = _differentiable(RULES_K, "value", lambda v, x, _: v / x - _kv_ratio(v, x))


# --- host-partitioned functions --------------------------------------------------------------------------------------


def log_iv_partitioned(v: Float[ArrayLike, "*shape"], x: Float[ArrayLike, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """As `log_iv`, for values known on the host: points are sorted by region and each rule runs only on its own.

    Not traceable (the sorting needs values), and several times faster than the compiled `log_iv`. Rules are compiled
    once for each of a few padded numbers of points, and the one that serves most of a larger array for its shape.

    Args:
        v: orders, at least 0, broadcasting against ``x``.
        x: arguments, positive.

    Returns:
        A NumPy array, so that it stays float64 outside `jax.enable_x64`; like any view of a JAX array, read-only.
    """
    return _partitioned(RULES_I, v, x)


def log_kv_partitioned(v: Float[ArrayLike, "*shape"], x: Float[ArrayLike, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """As `log_kv`, for values known on the host; see `log_iv_partitioned`."""
    return _partitioned(RULES_K, v, x)


def regions(rules: tuple[Rule, ...], v: ArrayLike, x: ArrayLike) -> Int[np.ndarray, "*shape"]:
    """Index into ``rules`` (`RULES_I` or `RULES_K`) of the rule that serves each point."""
    with jax.enable_x64(True):
        return np.asarray(_sorter(rules)(*_arguments(v, x)))


@functools.cache
def _sorter(rules: tuple[Rule, ...]) -> Callable[[Array, Array], Array]:
    @jax.jit
    def index(v, x):
        square, found = v * v + x * x, len(rules) - 1
        for i in reversed(range(len(rules) - 1)):
            found = jnp.where((square >= rules[i].radius ** 2) & (x <= rules[i].argument), i, found)
        return found.astype(jnp.int8)

    return index


@functools.cache
def _kernel(rule: Rule) -> Callable[[Array, Array], Array]:
    return jax.jit(lambda v, x: jnp.where(_valid(v, x), rule.value(v, x), jnp.nan))


def _partitioned(rules: tuple[Rule, ...], v: ArrayLike, x: ArrayLike) -> np.ndarray:
    with jax.enable_x64(True):
        v, x = _arguments(v, x)
        index = np.asarray(_sorter(rules)(v, x))
        counts = [int(np.count_nonzero(index == i)) for i in range(len(rules))]
        # An expansion with more terms serves the points of those with fewer, for less than the price of sorting.
        longest = max((i for i in range(len(_EXPANSIONS)) if counts[i]), default=0)
        points = {longest: index <= longest} | {i: index == i for i in range(len(_EXPANSIONS), len(rules)) if counts[i]}
        counts[longest] = sum(counts[: longest + 1])
        # A rule that serves most of the points runs on all of them, in place; the others overwrite theirs.
        most = max(points, key=lambda i: counts[i])
        whole = _kernel(rules[most])(v, x) if max(_padded(0), index.size // 2) <= counts[most] else None
        if whole is not None and counts[most] == index.size:
            return np.asarray(whole)
        v, x = np.asarray(v), np.asarray(x)
        pending = []
        for i, mine in points.items():
            if counts[i] and (whole is None or i != most):
                gathered = np.ones((2, _padded(counts[i])))
                gathered[0, : counts[i]], gathered[1, : counts[i]] = v[mine], x[mine]
                pending.append((mine, counts[i], _kernel(rules[i])(*gathered)))  # runs while the next are gathered
        out = np.empty(x.shape) if whole is None else np.array(whole)
        for mine, count, values in pending:
            out[mine] = np.asarray(values)[:count]
        return out


def _padded(count: int) -> int:
    """The next larger power of two, from 8192 up: few sizes, as every size is compiled for."""
    return max(2**13, 1 << (count - 1).bit_length())


def _valid(v: Array, x: Array) -> Array:
    return (v >= 0) & (x > 0) & (v <= 1e150) & (x <= 1e150)
