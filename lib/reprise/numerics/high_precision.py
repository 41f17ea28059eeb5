r"""Reference values in 50-digit decimal arithmetic, from the standard library alone.

Slow (about a millisecond a value) and independent of the float64 routines that they check: the functions here use their
definitions, a power series and an integral, with enough terms for some 30 correct digits.
"""

from __future__ import annotations

import functools
import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction

CONTEXT = Context(prec=50, Emin=-999_999_999, Emax=999_999_999)
_NEGLIGIBLE = Decimal("1e-38")


def log_iv_decimal(v: float, x: float) -> Decimal:
    r"""$\log I_v(x)$ by its power series, terms $(x/2)^{2k+v}/(k!\,\Gamma(k+v+1))$, outward from the largest one.

    Args:
        v: order, at least 0. Floats are taken exactly.
        x: argument, positive. Takes time in proportion to it.

    Raises:
        ValueError: outside that domain.
    """
    with localcontext(CONTEXT):
        v, x = _domain(v, x)
        q = x * x / 4
        peak = int(((x * x + v * v).sqrt() - v) / 2)
        total = Decimal(1)
        term, k = Decimal(1), peak
        while term > _NEGLIGIBLE:
            k += 1
            term *= q / (k * (k + v))
            total += term
        term, k = Decimal(1), peak
        while k and term > _NEGLIGIBLE:
            term *= k * (k + v) / q
            k -= 1
            total += term
        largest = (2 * peak + v) * (x / 2).ln() - log_gamma_decimal(peak + 1) - log_gamma_decimal(peak + v + 1)
        return largest + total.ln()


def log_kv_decimal(v: float, x: float) -> Decimal:
    r"""$\log K_v(x)$ from $K_v(x)=\tfrac12\int_{-\infty}^\infty e^{-x\cosh t+vt}dt$ by the trapezoidal rule.

    The nodes are centred on the integrand's maximum $t^*=\operatorname{asinh}(v/x)$, and their step resolves its width
    to 1e-33; arguments and errors are as in `log_iv_decimal`.
    """
    with localcontext(CONTEXT):
        v, x = _domain(v, x)
        r = (v * v + x * x).sqrt()
        start = (v + r) / x  # exp(t*)
        step = Decimal("0.45") / (r + 14).sqrt()
        total = Decimal(1)
        for direction in (1, -1):
            factor, t, node = (direction * step).exp(), Decimal(0), start
            while True:
                node *= factor
                t += direction * step
                term = (r + v * t - x * (node + 1 / node) / 2).exp()
                total += term
                if term < _NEGLIGIBLE:
                    break
        return v * start.ln() - r + (total * step / 2).ln()


def iv_ratio_decimal(v: float, x: float | Decimal) -> Decimal:
    r"""$I_{v+1}(x)/I_v(x)$ by Gauss's continued fraction $1/(b_0+1/(b_1+\dots))$, $b_k=2(v+1+k)/x$ (DLMF 10.33.1).

    Arguments and errors are as in `log_iv_decimal`; here ``x`` may be a Decimal. Evaluated forwards (Lentz's method).
    """
    with localcontext(CONTEXT):
        v, x = _domain(v, x)
        b = 2 * (v + 1) / x
        step, fraction, c, d = 2 / x, b, b, Decimal(0)
        while True:
            b += step
            d = 1 / (b + d)
            c = b + 1 / c
            fraction *= c * d
            if abs(c * d - 1) < _NEGLIGIBLE:
                return 1 / fraction


def log_gamma_decimal(z: Decimal | float) -> Decimal:
    r"""$\log\Gamma(z)$ for $z>0$ by Stirling's series at an argument raised to at least 40."""
    with localcontext(CONTEXT):
        z, product = Decimal(z), Decimal(1)
        if not z > 0:
            raise ValueError(f"z must be positive, not {z}")
        while z < 40:
            product *= z
            z += 1
        series, inverse = Decimal(0), 1 / (z * z)
        for c in reversed(_stirling()):
            series = series * inverse + c
        half_log_2pi = (2 * _pi()).ln() / 2
        return (z - Decimal("0.5")) * z.ln() - z + half_log_2pi + series / z - product.ln()


def _domain(v: float, x: float) -> tuple[Decimal, Decimal]:
    if not (v >= 0 and 0 < x < math.inf and v < math.inf):
        raise ValueError(f"needs v >= 0 and x > 0, both finite, not v = {v}, x = {x}")
    return Decimal(v), Decimal(x)


@functools.cache
def _stirling(terms: int = 30) -> tuple[Decimal, ...]:
    """B_{2m} / (2m (2m - 1)), m = 1 ... terms."""
    bernoulli = [Fraction(1)]
    for n in range(1, 2 * terms + 1):
        bernoulli.append(-sum(math.comb(n + 1, k) * b for k, b in enumerate(bernoulli)) / (n + 1))
    exact = [bernoulli[2 * m] / (2 * m * (2 * m - 1)) for m in range(1, terms + 1)]
    with localcontext(CONTEXT):
        return tuple(Decimal(c.numerator) / Decimal(c.denominator) for c in exact)


@functools.cache
def _pi() -> Decimal:
    """Machin's formula."""
    unit = 10**55

    def arctan_inverse(n: int) -> int:
        power, total, k, sign = unit // n, 0, 1, 1
        while power:
            total += sign * (power // k)
            power, k, sign = power // (n * n), k + 2, -sign
        return total

    with localcontext(CONTEXT):
        return Decimal(4 * (4 * arctan_inverse(5) - arctan_inverse(239))) / unit
