r"""Expected risks of regression algorithms from the eigenvalues of their prompts alone.

A prompt of noisy labels $y_j = w^\top x_j + \sigma\epsilon_j$, $w\sim N(0, I)$, has the matrix
$S = \frac1N\sum_jx_jx_j^\top$. Gradient descent, GD++, Newton's method and ridge regression all fit weights
$g(S)\frac1N\sum_jy_jx_j$ with some function $g$, and leave the share $q(s) = 1 - s\,g(s)$ of $w$ unlearned along an
eigenvector with eigenvalue $s$. Their squared error at a query of covariance $\Sigma$, over that of predicting 0, is

$$R = \mathbb E\Big[q(s)^2 + \frac{\sigma^2}{N}\,\frac{(1 - q(s))^2}{s}\Big],$$

a mean over one variable: $s$ is an eigenvalue of $S$, weighted by $v^\top\Sigma v/\operatorname{tr}\Sigma$ for its
eigenvector $v$. So algorithms can be compared, tuned and trained without drawing labels or queries, and since all but
ridge regression have polynomials for $q$, a Gauss rule of some tens of nodes stands for any number of prompts:

>>> law = prompt_spectrum(inputs)                              # inputs of many prompts, [tasks, N, d]
>>> few = gauss_rule(*law, 48)
>>> spectral_risk(few, unfitted(few.points, rates, curvatures))
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize_scalar

from reprise.numerics.quadrature import Rule


def prompt_spectrum(
    inputs: Float[np.ndarray, "tasks length dim"], covariance: Float[np.ndarray, "dim dim"] | None = None
) -> Rule:
    r"""Eigenvalues of $S$ over prompts, each with its share of the query's variance; all shares together sum to 1.

    Args:
        inputs: $x_j$ of every prompt.
        covariance: $\Sigma$ of the query; the identity if not given.
    """
    tasks, length, dim = inputs.shape
    second = np.einsum("tni,tnj->tij", inputs, inputs) / length
    if covariance is None:
        return Rule(np.linalg.eigvalsh(second).ravel(), np.full(tasks * dim, 1 / (tasks * dim)))
    values, vectors = np.linalg.eigh(second)
    shares = np.einsum("tik,ij,tjk->tk", vectors, covariance, vectors, optimize=True)
    return Rule(values.ravel(), shares.ravel() / (tasks * np.trace(covariance)))


def spectral_risk(
    spectrum: Rule, unfitted: Float[Array, " n"], noise: float | Float[Array, ""] = 0.0
) -> Float[Array, ""]:
    r"""The risk $R$ above, relative to predicting zero.

    Args:
        spectrum: eigenvalues $s$, positive if there is noise, and their weights.
        unfitted: $q(s)$ at each.
        noise: $\sigma^2/N$, variance of the labels' noise over the number of examples.
    """
    points, weights = spectrum
    risk = (weights * unfitted**2).sum()
    if isinstance(noise, float) and noise == 0:
        return risk
    return risk + noise * (weights * (1 - unfitted) ** 2 / points).sum()


def ridge_risk(spectrum: Rule, noise: float) -> float:
    r"""Risk of the posterior mean, ridge regression with $q = \nu/(s+\nu)$ for $\nu = \sigma^2/N$: the Bayes floor.

    Args:
        spectrum: eigenvalues and their weights; all of them, since this $q$ is no polynomial.
        noise: $\nu$.
    """
    return float(np.sum(spectrum.weights * noise / (spectrum.points + noise)))


def descent_risks(
    spectrum: Rule, steps: Float[np.ndarray, " n"], noise: float = 0.0
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    r"""Gradient descent with one rate for all its steps, the best for each number of steps: rates and risks.

    Args:
        spectrum: eigenvalues and their weights.
        steps: numbers of steps, whole and positive.
        noise: $\sigma^2/N$.
    """
    best = []
    for count in steps:
        risk = lambda rate, count=count: np.log(spectral_risk(spectrum, (1 - rate * spectrum.points) ** count, noise))
        best.append(minimize_scalar(risk, bounds=(0, 2 / (spectrum.weights @ spectrum.points)), method="bounded"))
    return np.array([found.x for found in best]), np.exp([found.fun for found in best])


def matching_steps(risks: Float[np.ndarray, " steps+1"], targets: Float[np.ndarray, "*shape"]) -> np.ndarray:
    """Steps that an algorithm needs for given risks, interpolated in the logarithm of the risk between whole steps.

    Args:
        risks: of the algorithm after 0, 1, ... steps, decreasing.
        targets: risks to reach; those out of range give NaN.
    """
    logs = -np.log(risks)
    if not np.all(np.diff(logs) > 0):
        raise ValueError("risks must decrease with the number of steps")
    return np.interp(-np.log(targets), logs, np.arange(len(logs)), left=np.nan, right=np.nan)
