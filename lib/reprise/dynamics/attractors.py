r"""Long-run properties of an orbit: where it spends its time, and its power spectrum.

For a chaotic system these are what can be compared. Two orbits of one and the same system, started a rounding error
apart, soon disagree at every single time.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d


def occupation(points: Float[np.ndarray, "n dim"], bins: int, extent: float = 3.0) -> Float[np.ndarray, " cells"]:
    r"""Share of the points in each cell of a regular grid over $[-\text{extent},\text{extent}]^{dim}$.

    Points outside count in the cell at the edge that is nearest in every coordinate, infinite ones as well; NaN counts
    as $-\infty$. So an orbit that runs away piles up where the attractor is not, and is never dropped.

    Args:
        points: in units of the standard deviations of the data.
        bins: cells along each axis.
        extent: half the side of the box.

    Returns:
        Shares that add up to 1, ``bins ** dim`` of them.
    """
    inside = np.nan_to_num(np.clip(np.asarray(points, float), -extent, extent), nan=-extent)
    cell = np.minimum((bins * (inside + extent) / (2 * extent)).astype(int), bins - 1)
    flat = np.ravel_multi_index(tuple(cell.T), (bins,) * cell.shape[1])
    return np.bincount(flat, minlength=bins ** cell.shape[1]) / len(cell)


def state_space_divergence(
    reference: Float[np.ndarray, "n dim"],
    generated: Float[np.ndarray, "m dim"],
    bins: int = 20,
    extent: float = 3.0,
    smoothing: float = 1e-6,
) -> float:
    r"""$D_{stsp}=\sum_ip_i\ln(p_i/q_i)$, the divergence of two orbits' occupation of state space, in nats.

    Koppe et al. (2019, arXiv:1902.07186); Hess et al. (2023, arXiv:2306.04406).

    Args:
        reference: the true orbit ($p$), in units of standard deviations.
        generated: the other one ($q$).
        bins, extent: the grid, see `occupation`.
        smoothing: added to the share in every cell before both are normalised again, so that a cell which only the
            true orbit visits costs much, but not infinitely much.
    """
    p, q = (occupation(points, bins, extent) + smoothing for points in (reference, generated))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


def power_spectrum(orbit: Float[np.ndarray, "n dim"], width: float = 20.0) -> Float[np.ndarray, "frequencies dim"]:
    """Power spectrum of each standardised component, smoothed by a Gaussian and normalised to sum 1.

    Frequencies are those of `numpy.fft.rfftfreq`. A component that stands still has all its power at frequency zero.

    Args:
        orbit: equally spaced samples.
        width: standard deviation of the Gaussian, in frequency bins.
    """
    orbit = np.asarray(orbit, float)
    spread = orbit.std(0)
    still = ~(spread > 1e-12) | ~np.isfinite(spread)
    scaled = np.where(still, 0.0, (np.nan_to_num(orbit) - np.nan_to_num(orbit).mean(0)) / np.where(still, 1.0, spread))
    power = np.abs(np.fft.rfft(scaled, axis=0)) ** 2
    power[0] += still
    power = gaussian_filter1d(power, width, axis=0)
    return power / power.sum(0)


def spectral_distance(
    reference: Float[np.ndarray, "n dim"], generated: Float[np.ndarray, "n dim"], width: float = 20.0
) -> float:
    r"""$D_H$, mean over components of the Hellinger distance $\lVert\sqrt p-\sqrt q\rVert_2/\sqrt2$ of power spectra.

    Between 0 (equal) and 1 (no common frequency). Mikhaeil et al. (2022, arXiv:2110.07238).

    Args:
        reference, generated: orbits of the same length.
        width: of the smoothing, see `power_spectrum`.
    """
    p, q = power_spectrum(reference, width), power_spectrum(generated, width)
    return float(np.mean(np.sqrt(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2, axis=0) / 2)))
