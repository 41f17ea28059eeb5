r"""In-context linear regression: prompts of labelled examples with a query, and the predictors a prompt admits.

A `LinearTasks` family draws a `Prompt` a task; every predictor maps prompts (one, or a batch by leading axes) to
predictions at their queries, so that a trained network and an algorithm are compared on the same arrays:

>>> tasks = LinearTasks(dim=5, length=10)
>>> prompts = tasks.sample(jax.random.key(0), 1000)
>>> predictions = gradient_descent(prompts, jnp.array([tasks.optimal_rate()]))
>>> loss = squared_error(predictions, prompts)                          # close to tasks.one_step_loss()
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


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


@dataclass(frozen=True)
class LinearTasks:
    r"""Linear regression tasks: $y_j = w^\top x_j + \sigma\epsilon_j$ with a fresh $w\sim N(0, I_d)$ for every prompt.

    Attributes:
        dim: $d$, the number of inputs.
        length: $N$, labelled examples in a prompt.
        inputs: entries of $x$ are uniform on $[-1, 1]$ ("uniform", as in von Oswald et al.) or standard "normal".
        noise: $\sigma$, standard deviation of the labels' noise.
    """

    dim: int
    length: int
    inputs: Literal["uniform", "normal"] = "uniform"
    noise: float = 0.0

    def __post_init__(self):
        if self.inputs not in _MOMENTS:
            raise ValueError(f"inputs must be 'uniform' or 'normal', not {self.inputs!r}")

    def sample(self, key: Key[Array, ""], tasks: int) -> Prompt:
        """Draw prompts, one a task: a `Prompt` with one leading axis of size ``tasks``."""
        inputs_key, weights_key, noise_key = jax.random.split(key, 3)
        shape = (tasks, self.length + 1, self.dim)
        x = _DRAW[self.inputs](inputs_key, (math.prod(shape),)).reshape(shape)  # flat: several times faster on a CPU
        w = jax.random.normal(weights_key, (tasks, self.dim))
        y = jnp.einsum("tnd,td->tn", x, w)
        labels = y[:, :-1]
        if self.noise:
            labels += self.noise * jax.random.normal(noise_key, labels.shape)
        return Prompt(x[:, :-1], labels, x[:, -1], y[:, -1])

    def one_step_loss(self, rate: Float[Array, ...] | float | None = None) -> Float[Array, ...] | float:
        r"""Expected squared error at the query after one gradient step from $w_0 = 0$, in closed form.

        With $s_2, m_4$ the second and fourth moment of an input's entry,
        $a = s_2$ and $b = \frac{N-1}{N}s_2^2 + \frac1N(m_4 + (d-1)s_2^2)$,

        $$L(\eta) = d\,s_2\,(1 - 2\eta a + \eta^2 b) + \eta^2\sigma^2 d\,s_2^2/N .$$

        Args:
            rate: $\eta$ of `gradient_descent`; the optimal one if not given.
        """
        rate = self.optimal_rate() if rate is None else rate
        linear, quadratic = self._one_step_moments()
        return self.dim * _MOMENTS[self.inputs][0] * (1 - 2 * rate * linear + rate**2 * quadratic)

    def optimal_rate(self) -> float:
        r"""$\eta^*$ that minimises `one_step_loss`; without noise $a/b$."""
        linear, quadratic = self._one_step_moments()
        return linear / quadratic

    def _one_step_moments(self) -> tuple[float, float]:
        second, fourth = _MOMENTS[self.inputs]
        quadratic = second**2 + (fourth + (self.dim - 2) * second**2 + self.noise**2 * second) / self.length
        return second, quadratic


#: Second and fourth moment of one input entry.
_MOMENTS = {"uniform": (1 / 3, 1 / 5), "normal": (1.0, 3.0)}
_DRAW = {"uniform": partial(jax.random.uniform, minval=-1.0), "normal": jax.random.normal}


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


def ridge(prompt: Prompt, penalty: float = 0.0) -> Float[Array, "*batch"]:
    r"""Predict with ridge regression, $w = (X X^\top + \lambda I)^{-1} X y$.

    With $\lambda = \sigma^2$ it is the posterior mean, which no predictor beats; with $\lambda = 0$ it is least squares
    and needs at least as many examples as inputs.
    """
    if not penalty and prompt.x.shape[-2] < prompt.x.shape[-1]:
        raise ValueError(f"{prompt.x.shape[-2]} examples do not fix {prompt.x.shape[-1]} weights: set penalty > 0")
    covariance = jnp.einsum("...nd,...ne->...de", prompt.x, prompt.x) + penalty * jnp.eye(prompt.x.shape[-1])
    moment = jnp.einsum("...nd,...n->...d", prompt.x, prompt.y)
    weights = jnp.linalg.solve(covariance, moment[..., None])[..., 0]
    return (weights * prompt.query).sum(-1)


def sensitivity(predictor: Predictor, prompt: Prompt) -> Float[Array, "*batch dim"]:
    r"""$\partial\hat y/\partial x_q$ of a predictor at every prompt; for a linear model, the weights it has fitted."""
    return jax.grad(lambda query: predictor(prompt._replace(query=query)).sum())(prompt.query)
