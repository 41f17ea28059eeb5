r"""Fractional Brownian motion, and its Markov approximation by Ornstein-Uhlenbeck processes with one common driver.

Type II fractional Brownian motion of Hurst index $H$ is $B^H_t=\int_0^tk(t-s)\,\mathrm dW_s$ with the kernel
$k(\tau)=\tau^{H-1/2}/\Gamma(H+\frac12)$. Replacing $k$ by a sum of exponentials,
$\hat k(\tau)=\sum_k\omega_ke^{-\gamma_k\tau}$, gives $\hat B_t=\sum_k\omega_kY^k_t$ with
$\mathrm dY^k=-\gamma_kY^k\mathrm dt+\mathrm dW$ (Daems et al. 2023, arXiv:2310.12975). Everything here is on the host,
in double precision: the linear system for the weights needs it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import gamma, gammainc, hyp2f1

from reprise.numerics.quadrature import gauss_legendre


class WeightSystem(NamedTuple):
    r"""The quadratic $\omega^\top A\omega-2b^\top\omega+c$ that a Markov approximation's error is in its weights.

    Attributes:
        matrix: $A$, positive definite and badly conditioned for rates close together.
        vector: $b$.
        constant: $c=\int_0^T\mathbb E(B^H_t)^2\,\mathrm dt$, the error of no approximation at all.
    """

    matrix: Float[np.ndarray, "K K"]
    vector: Float[np.ndarray, " K"]
    constant: float


def geometric_rates(count: int, ratio: float) -> Float[np.ndarray, " count"]:
    r"""Mean-reversion rates $\gamma_k=r^{k-n}$, $k=1,\dots,K$, $n=\frac{K+1}2$: geometric around 1."""
    return ratio ** (np.arange(1, count + 1) - (count + 1) / 2)


def fractional_kernel(lags: ArrayLike, hurst: float) -> np.ndarray:
    r"""$k(\tau)=\tau^{H-1/2}/\Gamma(H+\frac12)$."""
    return np.asarray(lags, float) ** (_index(hurst) - 0.5) / gamma(hurst + 0.5)


def exponential_kernel(lags: ArrayLike, weights: ArrayLike, rates: ArrayLike) -> np.ndarray:
    r"""$\hat k(\tau)=\sum_k\omega_ke^{-\gamma_k\tau}$."""
    return np.exp(-np.multiply.outer(np.asarray(lags, float), np.asarray(rates, float))) @ np.asarray(weights, float)


def weight_system(hurst: float, rates: ArrayLike, horizon: float) -> WeightSystem:
    r"""The error $\int_0^T\mathbb E(\hat B_t-B^H_t)^2\,\mathrm dt$ as a quadratic in the weights (Daems et al. 2023).

    With $P$ the regularised lower incomplete gamma function,
    $$A_{ij}=\frac T{\gamma_i+\gamma_j}+\frac{e^{-(\gamma_i+\gamma_j)T}-1}{(\gamma_i+\gamma_j)^2},\qquad
    b_k=\frac T{\gamma_k^{H+1/2}}P(H+\tfrac12,\gamma_kT)-\frac{H+\frac12}{\gamma_k^{H+3/2}}P(H+\tfrac32,\gamma_kT).$$

    Args:
        hurst: $H\in(0,1)$.
        rates: $\gamma_k>0$.
        horizon: $T$.
    """
    rates, half = np.asarray(rates, float), _index(hurst) + 0.5
    total = rates[:, None] + rates
    matrix = horizon / total + np.expm1(-total * horizon) / total**2
    vector = (
        horizon / rates**half * gammainc(half, rates * horizon)
        - half / rates ** (half + 1) * gammainc(half + 1, rates * horizon)
    )  # fmt: skip
    constant = horizon ** (2 * hurst + 1) / (2 * hurst * (2 * hurst + 1) * gamma(half) ** 2)
    return WeightSystem(matrix, vector, constant)


def optimal_weights(hurst: float, rates: ArrayLike, horizon: float) -> Float[np.ndarray, " K"]:
    r"""The weights $\omega^*=A^{-1}b$ of least error.

    $A$ is scaled to a unit diagonal first. Directions below $10^{-14}$ of its largest eigenvalue, which are rounding
    errors, are left out.

    Args:
        hurst, rates, horizon: as for `weight_system`.
    """
    system = weight_system(hurst, rates, horizon)
    scale = np.sqrt(np.diag(system.matrix))
    values, vectors = np.linalg.eigh(system.matrix / np.outer(scale, scale))
    kept = values > 1e-14 * values[-1]
    inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
    return vectors @ (inverse * (vectors.T @ (system.vector / scale))) / scale


def quadrature_weights(hurst: float, rates: ArrayLike) -> Float[np.ndarray, " K"]:
    r"""Weights by quadrature of the kernel's integral representation.

    $$k(\tau)=\frac1{\Gamma(H+\frac12)\Gamma(\frac12-H)}\int_0^\infty\gamma^{-H-1/2}e^{-\gamma\tau}\,\mathrm d\gamma$$
    by the rectangle rule in $\log\gamma$ on geometric rates of ratio $r$ (in the spirit of Carmona and Coutin 1998 and
    Harms 2020): $\omega_k=\gamma_k^{1/2-H}\ln r\,/\,\Gamma(H+\frac12)\Gamma(\frac12-H)$.

    Args:
        hurst: $H<\frac12$: the integral diverges otherwise.
        rates: geometric, at least two.
    """
    if not 0 < hurst < 0.5:
        raise ValueError(f"the integral representation needs 0 < H < 1/2, not {hurst}")
    rates = np.asarray(rates, float)
    return rates ** (0.5 - hurst) * np.log(rates[1] / rates[0]) / (gamma(hurst + 0.5) * gamma(0.5 - hurst))


def approximation_error(weights: ArrayLike, hurst: float, rates: ArrayLike, horizon: float) -> float:
    r"""The error by quadrature over the kernels, $\int_0^T(T-\tau)\,(\hat k(\tau)-k(\tau))^2\,\mathrm d\tau$.

    This is $\int_0^T\mathbb E(\hat B_t-B^H_t)^2\,\mathrm dt$ by Itô's isometry. Independent of `weight_system`, and
    free of its cancellation: a sum of positive terms. The nodes are those of Gauss and Legendre in $\log\tau$, since
    the kernel has a singularity at zero and the exponentials have many scales.

    Args:
        weights: $\omega_k$.
        hurst, rates, horizon: as for `weight_system`.
    """
    lags, measure = _lags(horizon, _index(hurst))
    miss = exponential_kernel(lags, weights, rates) - fractional_kernel(lags, hurst)
    return float(measure @ miss**2)


def error_gradient(weights: ArrayLike, hurst: float, rates: ArrayLike, horizon: float) -> Float[np.ndarray, " K"]:
    r"""Gradient of `approximation_error`, $2\int_0^T(T-\tau)(\hat k-k)\,e^{-\gamma_k\tau}\,\mathrm d\tau$.

    Args:
        weights, hurst, rates, horizon: as for `approximation_error`.
    """
    lags, measure = _lags(horizon, _index(hurst))
    miss = exponential_kernel(lags, weights, rates) - fractional_kernel(lags, hurst)
    return 2 * np.exp(-np.multiply.outer(np.asarray(rates, float), lags)) @ (measure * miss)


def fractional_covariance(times: ArrayLike, hurst: float) -> Float[np.ndarray, "n n"]:
    r"""Covariance of type II fractional Brownian motion.

    For $s\le t$ it is
    $$\frac{s^{H+1/2}\,t^{H-1/2}}{(H+\frac12)\,\Gamma(H+\frac12)^2}\;{}_2F_1(\tfrac12-H,1;H+\tfrac32;\tfrac st) ,$$
    with $t^{2H}/2H\,\Gamma(H+\frac12)^2$ on the diagonal. (Type I has stationary increments; this one starts at zero.)

    Args:
        times: positive, shape ``[n]``.
        hurst: $H\in(0,1)$.
    """
    times, half = np.asarray(times, float), _index(hurst) + 0.5
    early, late = np.minimum.outer(times, times), np.maximum.outer(times, times)
    upper = np.triu_indices(len(times))
    s, t = early[upper], late[upper]
    values = s**half * t ** (half - 1) / (half * gamma(half) ** 2) * hyp2f1(1 - half, 1.0, half + 1, s / t)
    covariance = np.zeros(early.shape)
    covariance[upper] = values
    return covariance + np.triu(covariance, 1).T


def markov_covariance(times: ArrayLike, weights: ArrayLike, rates: ArrayLike) -> Float[np.ndarray, "n n"]:
    r"""Covariance of the approximation $\hat B_t=\sum_k\omega_kY^k_t$ with $Y^k_0=0$.

    For $s\le t$ it is
    $\sum_{ij}\omega_i\omega_j\,e^{-\gamma_i(t-s)}\,\bigl(1-e^{-(\gamma_i+\gamma_j)s}\bigr)/(\gamma_i+\gamma_j)$.

    Args:
        times: shape ``[n]``.
        weights: $\omega_k$.
        rates: $\gamma_k$.
    """
    times, weights, rates = (np.asarray(values, float) for values in (times, weights, rates))
    total = rates[:, None] + rates
    shared = -np.expm1(-np.multiply.outer(times, total)) / total @ weights  # [n, K]: Cov(Y_i(s), B(s))
    lag = np.abs(np.subtract.outer(times, times))
    first = np.minimum.outer(np.arange(len(times)), np.arange(len(times)))
    decay = np.exp(-np.multiply.outer(rates, lag))
    return np.einsum("k,kst,kst->st", weights, decay, shared.T[:, first])


def augmented_system(
    weights: ArrayLike, rates: ArrayLike, reversion: float, scale: float
) -> tuple[Float[np.ndarray, "1_plus_K 1_plus_K"], Float[np.ndarray, " 1_plus_K"]]:
    r"""The fractional Ornstein-Uhlenbeck equation as a linear Markov system.

    It is $\mathrm dX=-\theta X\,\mathrm dt+\sigma\,\mathrm d\hat B$. With $Z=(X,Y^1,\dots,Y^K)$ it reads
    $\mathrm dZ=FZ\,\mathrm dt+g\,\mathrm dW$ with one scalar $W$, because
    $\mathrm d\hat B=-\sum_k\omega_k\gamma_kY^k\,\mathrm dt+\bar\omega\,\mathrm dW$, $\bar\omega=\sum_k\omega_k$.

    Args:
        weights, rates: of the approximation.
        reversion: $\theta$.
        scale: $\sigma$.

    Returns:
        $F$ and $g$.
    """
    weights, rates = np.asarray(weights, float), np.asarray(rates, float)
    matrix = np.diag(np.r_[-reversion, -rates])
    matrix[0, 1:] = -scale * weights * rates
    return matrix, np.r_[scale * weights.sum(), np.ones(len(rates))]


@lru_cache(maxsize=64)
def _lags(horizon: float, hurst: float) -> tuple[np.ndarray, np.ndarray]:
    """Lags and their weights for integrals against $(T-\\tau)\\,d\\tau$ of functions like $\\tau^{2H-1}$ at zero."""
    panels = np.linspace(0, max(36 / (2 * hurst), 36), 41)
    parts = [gauss_legendre(12, start, end) for start, end in zip(panels, panels[1:], strict=False)]
    x, w = (np.concatenate([np.asarray(part[i], float) for part in parts]) for i in (0, 1))
    lags = horizon * np.exp(-x)
    return lags, w * lags * (horizon - lags)


def _index(hurst: float) -> float:
    if not 0 < hurst < 1:
        raise ValueError(f"the Hurst index must be in (0, 1), not {hurst}")
    return float(hurst)
