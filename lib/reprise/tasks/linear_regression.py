r"""In-context linear regression: prompts of labelled examples with a query, and the predictors a prompt admits.

A `LinearTasks` family draws a `Prompt` a task; every predictor maps prompts (one, or a batch by leading axes) to
predictions at their queries, so that a trained network and an algorithm are compared on the same arrays:

>>> tasks = LinearTasks(dim=5, length=10)
>>> prompts = tasks.sample(jax.random.key(0), 1000)
>>> predictions = gradient_descent(prompts, jnp.array([tasks.optimal_rate()]))
>>> loss = squared_error(predictions, prompts)                          # close to tasks.one_step_loss()
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from scipy.special import gammaln


class Prompt(NamedTuple):
    """Labelled examples and a query, with any leading batch axes.

    Attributes:
        x: inputs of the examples.
        y: their labels.
        query: the input to predict at.
        target: the noise-free label of the query, which no predictor sees.
    """

    x: Float[Array, "*batch length dim"]
    y: Float[Array, "*batch length"]
    query: Float[Array, "*batch dim"]
    target: Float[Array, "*batch"]


Predictor = Callable[[Prompt], Float[Array, "*batch"]]


class Draws(NamedTuple):
    """The randomness behind prompts, in standard units: what `LinearTasks.prompts` turns into prompts.

    Attributes:
        inputs: entries of the examples' inputs, and last the query's.
        weights: standard normal.
        noise: standard normal.
    """

    inputs: Float[Array, "tasks length+1 dim"]
    weights: Float[Array, "tasks dim"]
    noise: Float[Array, "tasks length"]


@dataclass(frozen=True, eq=False)
class LinearTasks:
    r"""Linear regression tasks: $y_j = g(w^\top x_j) + \sigma\epsilon_j$ with a fresh $w$ for every prompt.

    Unless told otherwise $g$ is the identity, $w\sim N(0, I_d)$ and inputs are isotropic.

    Attributes:
        dim: $d$, the number of inputs.
        length: $N$, labelled examples in a prompt.
        inputs: entries of $x$ are uniform on $[-1, 1]$ ("uniform", as in von Oswald et al.) or standard "normal".
        noise: $\sigma$, standard deviation of the labels' noise.
        covariance: $\Sigma$, for inputs $\Sigma^{1/2}x$ with entries of $x$ as above; the identity if not given.
        prior: $W$, the covariance of the weights; the identity if not given.
        link: $g$, elementwise; the identity if not given.
    """

    dim: int
    length: int
    inputs: Literal["uniform", "normal"] = "uniform"
    noise: float = 0.0
    covariance: Float[np.ndarray, "dim dim"] | None = None
    prior: Float[np.ndarray, "dim dim"] | None = None
    link: Callable[[Array], Array] | None = None

    def __post_init__(self):
        if self.inputs not in _MOMENTS:
            raise ValueError(f"inputs must be 'uniform' or 'normal', not {self.inputs!r}")
        for name in ("covariance", "prior"):
            matrix = getattr(self, name)
            if matrix is not None and np.shape(matrix) != (self.dim, self.dim):
                raise ValueError(f"{name} must have shape {(self.dim, self.dim)}, not {np.shape(matrix)}")

    def sample(self, key: Key[Array, ""], tasks: int) -> Prompt:
        """Draw prompts, one a task: a `Prompt` with one leading axis of size ``tasks``."""
        return self.prompts(self.draw(key, tasks))

    def draw(self, key: Key[Array, ""], tasks: int) -> Draws:
        """Randomness for prompts, which families of the same ``dim``, ``length`` and ``inputs`` can share."""
        shapes = Draws((tasks, self.length + 1, self.dim), (tasks, self.dim), (tasks, self.length))
        # Flat draws are several times faster on a CPU, and a single one compiles in a third of the time of three.
        if self.inputs == "normal":
            sizes = [math.prod(shape) for shape in shapes]
            parts = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
        else:
            keys = jax.random.split(key, 3)
            draw = (partial(jax.random.uniform, minval=-1.0), jax.random.normal, jax.random.normal)
            parts = [one(key, (math.prod(shape),)) for one, key, shape in zip(draw, keys, shapes, strict=True)]
        return Draws(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))

    def prompts(self, draws: Draws) -> Prompt:
        """The prompts of this family with given randomness."""
        x = draws.inputs if self.covariance is None else draws.inputs @ _root(self.covariance)
        w = draws.weights if self.prior is None else draws.weights @ _root(self.prior)
        y = jnp.einsum("tnd,td->tn", x, w)
        y = y if self.link is None else self.link(y)
        labels = y[:, :-1]
        if self.noise:
            labels += self.noise * draws.noise
        return Prompt(x[:, :-1], labels, x[:, -1], y[:, -1])

    def posterior_mean(self, prompt: Prompt) -> Float[Array, "*batch"]:
        r"""Predict with $\mathbb E[w\mid D]$, which no predictor beats: `ridge` with penalty $\sigma^2 W^{-1}$.

        For labels without a link. Without noise it is least squares, and with fewer examples than inputs as well the
        interpolant of smallest $w^\top W^{-1}w$.
        """
        if self.link is not None:
            raise ValueError("the posterior mean in closed form is that of linear labels: link must be None")
        if self.prior is None:
            return ridge(prompt, self.noise**2)
        whitened = prompt._replace(x=prompt.x @ _root(self.prior), query=prompt.query @ _root(self.prior))
        return ridge(whitened, self.noise**2)

    def one_step_loss(self, rate: Float[Array, ...] | float | None = None) -> Float[Array, ...] | float:
        r"""Expected squared error at the query after one gradient step from $w_0 = 0$, in closed form.

        It is a parabola, $L(\eta) = z - 2\eta a + \eta^2 b$. For isotropic inputs with $s_2, m_4$ the second and
        fourth moment of an entry

        $$z = d\,s_2,\qquad a = d\,s_2^2,\qquad
          b = d\,s_2\big(s_2^2 + \tfrac1N(m_4 + (d-2)s_2^2 + \sigma^2 s_2)\big),$$

        for normal inputs of covariance $\Sigma$ and weights of covariance $W$

        $$z = \operatorname{tr}W\Sigma,\qquad a = \operatorname{tr}W\Sigma^2,\qquad
          b = \tfrac{N+1}{N}\operatorname{tr}W\Sigma^3
            + \tfrac1N(\operatorname{tr}W\Sigma + \sigma^2)\operatorname{tr}\Sigma^2,$$

        and for standard normal inputs with a link $g$, over $t\sim N(0, 1)$ and $r = \lVert w\rVert$,

        $$z = \mathbb E\,g(rt)^2,\qquad a = \mathbb E_r\big(\mathbb E_t\,g(rt)\,t\big)^2,\qquad
          b = \tfrac{N-1}{N}a + \tfrac1N\big(\mathbb E\,g(rt)^2(t^2 + d - 1) + \sigma^2 d\big).$$

        The query's own noise, which would add $\sigma^2$, is not in it. (Wick's theorem; the last is the step size of
        Mahankali et al. 2024, theorem 3, evaluated for $f(x) = g(w^\top x)$.)

        Args:
            rate: $\eta$ of `gradient_descent`; the optimal one if not given.
        """
        rate = self.optimal_rate() if rate is None else rate
        constant, linear, quadratic = self._one_step_parabola()
        return constant - 2 * rate * linear + rate**2 * quadratic

    def optimal_rate(self) -> float:
        r"""$\eta^* = a/b$ that minimises `one_step_loss`; for normal inputs $N/(N + d + 1 + \sigma^2)$."""
        _, linear, quadratic = self._one_step_parabola()
        return linear / quadratic

    def preconditioned_loss(self, matrix: Float[np.ndarray, "dim dim"] | None = None) -> float:
        r"""Expected squared error at the query after one preconditioned step, for normal inputs and linear labels.

        $$L(P) = \operatorname{tr}W\Sigma - 2\operatorname{tr}W\Sigma P\Sigma
          + \tfrac{N+1}{N}\operatorname{tr}W\Sigma P\Sigma P^\top\Sigma
          + \tfrac1N(\operatorname{tr}W\Sigma + \sigma^2)\operatorname{tr}P\Sigma P^\top\Sigma .$$

        Args:
            matrix: $P$ of `preconditioned_step`; the optimal one if not given.
        """
        sigma, weights = self._normal_covariances()
        p = self.optimal_preconditioner() if matrix is None else np.asarray(matrix, float)
        step = p @ sigma @ p.T @ sigma
        constant = np.trace(weights @ sigma)
        return float(
            constant
            - 2 * np.trace(weights @ sigma @ p @ sigma)
            + (1 + 1 / self.length) * np.trace(weights @ sigma @ step)
            + (constant + self.noise**2) / self.length * np.trace(step)
        )

    def optimal_preconditioner(self) -> Float[np.ndarray, "dim dim"]:
        r"""$P^*$ that minimises `preconditioned_loss`, for normal inputs and linear labels.

        $$P^* = \Big[\tfrac{N+1}{N}W\Sigma + \tfrac1N(\operatorname{tr}W\Sigma + \sigma^2)I\Big]^{-1}W$$

        With the matched prior $W = \Sigma^{-1}$ it is $\eta^*\Sigma^{-1}$ (Mahankali et al. 2024, theorem 2), with
        $W = I$ and no noise it is $\Gamma^{-1}$ of Zhang et al. 2024, theorem 4.1.
        """
        sigma, weights = self._normal_covariances()
        product = weights @ sigma
        ridge = (np.trace(product) + self.noise**2) * np.eye(self.dim)
        return np.linalg.solve(((self.length + 1) * product + ridge) / self.length, weights)

    def _one_step_parabola(self) -> tuple[float, float, float]:
        n, d = self.length, self.dim
        if self.link is not None:
            if self.inputs != "normal" or self.covariance is not None or self.prior is not None:
                raise ValueError("with a link the closed form is that of standard normal inputs and weights")
            power, linear, spread = _link_moments(self.link, d)
            return power, linear, linear * (n - 1) / n + (spread + self.noise**2 * d) / n
        if self.covariance is None and self.prior is None:
            second, fourth = _MOMENTS[self.inputs]
            quadratic = second**2 + (fourth + (d - 2) * second**2 + self.noise**2 * second) / n
            return d * second, d * second**2, d * second * quadratic
        sigma, weights = self._normal_covariances()
        first, *higher = (float(np.trace(weights @ np.linalg.matrix_power(sigma, k))) for k in (1, 2, 3))
        return first, higher[0], ((n + 1) * higher[1] + (first + self.noise**2) * float((sigma**2).sum())) / n

    def _normal_covariances(self) -> tuple[np.ndarray, np.ndarray]:
        if self.inputs != "normal" or self.link is not None:
            raise ValueError("this closed form is that of normal inputs and of labels without a link")
        identity = np.eye(self.dim)
        return tuple(identity if m is None else np.asarray(m, float) for m in (self.covariance, self.prior))


# Second and fourth moment of one input entry.
_MOMENTS = {"uniform": (1 / 3, 1 / 5), "normal": (1.0, 3.0)}


def _root(matrix: Float[np.ndarray, "dim dim"]) -> Float[np.ndarray, "dim dim"]:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(np.asarray(matrix, float))
    if values[0] < 0:
        raise ValueError(f"a covariance has no negative eigenvalues, but one here is {values[0]:.3g}")
    return (vectors * np.sqrt(values)) @ vectors.T


@functools.cache
def _link_moments(link: Callable[[Array], Array], dim: int) -> tuple[float, float, float]:
    """E g(rt)^2, E_r (E_t g(rt) t)^2 and E g(rt)^2 (t^2 + d - 1), by Gauss-Legendre rules on either side of zero.

    Halves, because links like the sign are smooth away from zero only; both distributions are cut where they are
    below 1e-20.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    t = 5 * (nodes + 1)
    t, t_weights = np.r_[t, -t], np.tile(5 * weights * np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi), 2)
    top = np.sqrt(dim) + 10
    r = top / 2 * (nodes + 1)
    log_density = (dim - 1) * np.log(r) - 0.5 * r**2 - (dim / 2 - 1) * np.log(2) - gammaln(dim / 2)
    r_weights = top / 2 * weights * np.exp(log_density)
    with jax.enable_x64(True):
        g = np.asarray(jax.jit(link)(jnp.asarray(r[:, None] * t)))
    mean = lambda values: float(r_weights @ values)
    return mean(g**2 @ t_weights), mean((g @ (t_weights * t)) ** 2), mean(g**2 @ (t_weights * (t**2 + dim - 1)))


def tokens(prompt: Prompt) -> tuple[Float[Array, "*batch length dim+1"], Float[Array, "*batch dim+1"]]:
    """The prompt as a transformer reads it: context tokens $(x_j, y_j)$, and the query token $(x_q, 0)$."""
    context = jnp.concatenate([prompt.x, prompt.y[..., None]], -1)
    return context, jnp.concatenate([prompt.query, jnp.zeros_like(prompt.query[..., :1])], -1)


def gram(prompt: Prompt) -> Float[Array, "*batch dim+1 dim+1"]:
    r"""$G = \frac1N\sum_j e_j e_j^\top$ over the context tokens $e_j = (x_j, y_j)$: all that linear attention sees."""
    context, _ = tokens(prompt)
    return jnp.einsum("...ni,...nj->...ij", context, context) / context.shape[-2]


def squared_error(predictions: Float[Array, "*batch"], prompt: Prompt) -> Float[Array, ""]:
    """Mean squared error at the queries, over all prompts."""
    return jnp.mean((predictions - prompt.target) ** 2)


def gradient_descent(prompt: Prompt, rates: Float[Array, " steps"]) -> Float[Array, "*batch"]:
    r"""Predict with a weight vector fitted by gradient descent from zero, one step a rate.

    $$w \leftarrow w - \frac{\eta_t}{N}\sum_j (w^\top x_j - y_j)\,x_j$$

    is a step on $\frac{1}{2N}\sum_j(w^\top x_j - y_j)^2$; the prediction is $w^\top x_q$.
    """
    weights = jnp.zeros_like(prompt.query)
    for rate in rates:
        residual = jnp.einsum("...nd,...d->...n", prompt.x, weights) - prompt.y
        weights -= rate * jnp.einsum("...nd,...n->...d", prompt.x, residual) / prompt.x.shape[-2]
    return (weights * prompt.query).sum(-1)


def gradient_descent_pp(
    prompt: Prompt, rates: Float[Array, " steps"], curvatures: Float[Array, " steps"]
) -> Float[Array, "*batch"]:
    r"""Predict with GD++: gradient steps on the labels, and between them a step on the inputs.

    With $X = (x_1, \dots, x_N)$, every step maps all tokens, the query (label 0) included, by

    $$y_j \leftarrow y_j - \tfrac{\eta_t}{N}\textstyle\sum_i y_i\,x_i^\top x_j,\qquad
      x_j \leftarrow \big(I - \tfrac{\gamma_t}{N}XX^\top\big)x_j ,$$

    both from the values before the step, and the prediction is minus the query's label. With $\gamma = 0$ it is
    `gradient_descent`. (von Oswald et al. 2023, section 3, "GD++"; their $\gamma$ is our $\gamma/N$.)

    Args:
        prompt: the prompts.
        rates: $\eta_t$.
        curvatures: $\gamma_t$.
    """
    x = jnp.concatenate([prompt.x, prompt.query[..., None, :]], -2)
    y = jnp.concatenate([prompt.y, jnp.zeros_like(prompt.y[..., :1])], -1)
    length = prompt.x.shape[-2]
    for rate, curvature in zip(rates, curvatures, strict=True):
        inner = jnp.einsum("...id,...jd->...ij", x[..., :length, :], x) / length
        x, y = (
            x - curvature * jnp.einsum("...ij,...id->...jd", inner, x[..., :length, :]),
            y - rate * jnp.einsum("...ij,...i->...j", inner, y[..., :length]),
        )
    return -y[..., -1]


def unfitted(
    eigenvalues: Float[Array, "*shape"], rates: Float[Array, " steps"], curvatures: Float[Array, " steps"]
) -> Float[Array, "*shape"]:
    r"""Share of the true weights that GD++ leaves unlearned along an eigenvector of $\frac1N XX^\top$, without noise.

    With $p_0 = q_0 = 1$ and eigenvalue $s$, a step maps $q \leftarrow q(1 - \eta_t s p^2)$ and
    $p \leftarrow p(1 - \gamma_t s p^2)$; the share is the polynomial $q(s)$ after the last. Summed over
    eigenvalues, its square is the expected squared error at a query with uncorrelated entries of unit variance.

    Args:
        eigenvalues: $s$.
        rates: $\eta_t$ of `gradient_descent_pp`.
        curvatures: $\gamma_t$; zeros give gradient descent, $q = \prod_t(1 - \eta_t s)$.
    """
    scale = left = jnp.ones_like(eigenvalues)
    for rate, curvature in zip(rates, curvatures, strict=True):
        covariance = eigenvalues * scale**2
        left, scale = left * (1 - rate * covariance), scale * (1 - curvature * covariance)
    return left


def preconditioned_step(prompt: Prompt, matrix: Float[Array, "dim dim"]) -> Float[Array, "*batch"]:
    r"""Predict with one step from zero that a fixed matrix reshapes: $\hat y = \frac1N\sum_j y_j\,x_j^\top P\,x_q$.

    With $P = \eta I$ it is `gradient_descent` in one step.
    """
    gradient = jnp.einsum("...nd,...n->...d", prompt.x, prompt.y) / prompt.x.shape[-2]
    return jnp.einsum("...d,de,...e->...", gradient, matrix, prompt.query)


def ridge(prompt: Prompt, penalty: Float[Array, ""] | float = 0.0) -> Float[Array, "*batch"]:
    r"""Predict with ridge regression, $w = (X X^\top + \lambda I)^{-1} X y$.

    With $\lambda = \sigma^2$ it is the posterior mean of isotropic weights, which no predictor beats; with
    $\lambda = 0$ it is least squares, and of the solutions that fewer examples than inputs leave it is the smallest.
    """
    examples, dim = prompt.x.shape[-2:]
    if examples < dim:  # the same by the examples' inner products, and well defined without penalty
        inner = jnp.einsum("...nd,...md->...nm", prompt.x, prompt.x) + penalty * jnp.eye(examples)
        similarity = jnp.einsum("...nd,...d->...n", prompt.x, prompt.query)
        return (_solve_positive(inner, prompt.y) * similarity).sum(-1)
    covariance = jnp.einsum("...nd,...ne->...de", prompt.x, prompt.x) + penalty * jnp.eye(dim)
    moment = jnp.einsum("...nd,...n->...d", prompt.x, prompt.y)
    return (_solve_positive(covariance, moment) * prompt.query).sum(-1)


def ridge_path(prompt: Prompt, penalties: Float[Array, " penalties"]) -> Float[Array, "penalties ..."]:
    r"""Predictions of `ridge` for many positive penalties, from one eigendecomposition of $XX^\top$ a prompt."""
    covariance = jnp.einsum("...nd,...ne->...de", prompt.x, prompt.x)
    values, vectors = jnp.linalg.eigh(covariance)
    moment = jnp.einsum("...nd,...n->...d", prompt.x, prompt.y)
    turn = lambda vector: jnp.einsum("...de,...d->...e", vectors, vector)
    product = turn(moment) * turn(prompt.query)
    return jax.lax.map(lambda penalty: (product / (values.clip(0) + penalty)).sum(-1), penalties)


def nearest_neighbours(
    prompt: Prompt, neighbours: int, present: Bool[Array, "*batch length"] | None = None
) -> Float[Array, "*batch"]:
    """Predict with the mean label of the examples nearest to the query (of all, if there are fewer).

    Args:
        prompt: the prompts.
        neighbours: how many to average.
        present: False for examples that are padding; broadcast over the batch.
    """
    distance = jnp.sum((prompt.x - prompt.query[..., None, :]) ** 2, -1)
    if present is not None:
        distance = jnp.where(present, distance, jnp.inf)
    negative, nearest = jax.lax.top_k(-distance, min(neighbours, distance.shape[-1]))
    counted = jnp.isfinite(negative)
    labels = jnp.where(counted, jnp.take_along_axis(prompt.y, nearest, -1), 0.0)
    return labels.sum(-1) / counted.sum(-1)


def online_descent(prompt: Prompt, rates: Float[Array, " length"]) -> Float[Array, "*batch"]:
    r"""Predict with one pass of descent over the examples: $w \leftarrow w - \eta_j(w^\top x_j - y_j)\,x_j$."""

    def step(weights, example):
        x, y, rate = example
        return weights - rate * ((weights * x).sum(-1) - y)[..., None] * x, None

    examples = jnp.moveaxis(prompt.x, -2, 0), jnp.moveaxis(prompt.y, -1, 0), rates
    weights, _ = jax.lax.scan(step, jnp.zeros_like(prompt.query), examples)
    return (weights * prompt.query).sum(-1)


def sequence_tokens(
    x: Float[Array, "*batch time dim"], y: Float[Array, "*batch time"]
) -> Float[Array, "*batch time 2*dim+2"]:
    """Examples as a causal transformer reads them to predict every label: token $k$ is $(x_k, x_{k-1}, y_{k-1}, s)$.

    The prediction at $k$ can then depend on $x_k$ and on the examples before it, and on no later label. The flag $s$
    is 1 in the first token, which has no example before it, and 0 in the others.
    """
    before = jnp.concatenate([x, y[..., None]], -1)[..., :-1, :]
    before = jnp.pad(before, [(0, 0)] * (x.ndim - 2) + [(1, 0), (0, 0)])
    flag = jnp.zeros_like(x[..., :1]).at[..., 0, :].set(1)
    return jnp.concatenate([x, before, flag], -1)


def prefixes(
    x: Float[Array, "tasks time dim"], y: Float[Array, "tasks time"]
) -> tuple[Prompt, Bool[Array, "time-1 1 time-1"]]:
    """The prompts that a sequence of examples holds: the first 1, 2, ..., examples, and the next one as the query.

    All have the length of the longest. Missing examples are zeros, which change neither $XX^\top$ nor $Xy$.

    Returns:
        Prompts with leading axes for the number of examples and for the task (their target is the query's label as it
        stands in ``y``, noise included), and which examples are present.
    """
    longest = x.shape[1] - 1
    present = jnp.tril(jnp.ones((longest, longest), bool))[:, None]
    shown = lambda values: jnp.where(present.reshape(present.shape + (1,) * (values.ndim - 2)), values[:, :-1], 0)
    return Prompt(shown(x), shown(y), jnp.moveaxis(x[:, 1:], 1, 0), y[:, 1:].T), present


def implied_weights(
    queries: Float[Array, "probes dim"], predictions: Float[Array, "*batch probes"]
) -> tuple[Float[Array, "*batch dim"], Float[Array, "*batch"]]:
    r"""The linear function that a predictor has formed of a prompt: least squares on its own predictions.

    The squared distance of two predictors' implied weights is their implicit linear weight difference (Akyürek et al.
    2023, section 4.1).

    Returns:
        The weights, and the share of the predictions' mean square that they explain ($R^2$).
    """
    weights = predictions @ jnp.linalg.pinv(queries).T
    left = predictions - weights @ queries.T
    return weights, 1 - (left**2).sum(-1) / (predictions**2).sum(-1)


def _solve_positive(matrix: Float[Array, "*batch n n"], vector: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    factor = jnp.linalg.cholesky(matrix)
    solve = partial(jax.lax.linalg.triangular_solve, factor, left_side=True, lower=True)
    return solve(solve(vector[..., None]), transpose_a=True)[..., 0]


def sensitivity(predictor: Predictor, prompt: Prompt) -> Float[Array, "*batch dim"]:
    r"""$\partial\hat y/\partial x_q$ of a predictor at every prompt; for a linear model, the weights it has fitted."""
    return jax.grad(lambda query: predictor(prompt._replace(query=query)).sum())(prompt.query)
