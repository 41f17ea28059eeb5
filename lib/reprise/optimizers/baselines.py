"""The optimizers that a new one is compared with, so arranged that tuning them all is one compiled program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import minimize

#: First-order baselines by name, in the order of `first_order`'s index.
FIRST_ORDER = {"SGD": optax.trace(0.9), "Adam": optax.scale_by_adam(), "RMSprop": optax.scale_by_rms()}


def one_of(
    transformations: Sequence[optax.GradientTransformation], index: Int[Array, ""]
) -> optax.GradientTransformation:
    """The transformation at an index that may be traced: all are computed, one is used.

    Meant for cheap transformations and `jax.vmap` over a grid of settings, where one compilation is worth more than the
    arithmetic. All must return updates of the same shapes and dtypes.
    """

    def init(params):
        return tuple(t.init(params) for t in transformations)

    def update(updates, states, params=None):
        results = [t.update(updates, state, params) for t, state in zip(transformations, states, strict=True)]
        chosen = jax.tree.map(lambda *leaves: jnp.stack(leaves)[index], *(result[0] for result in results))
        return chosen, tuple(result[1] for result in results)

    return optax.GradientTransformation(init, update)


def first_order(
    index: Int[Array, ""], rate: Float[Array, ""], cosine: Bool[Array, ""], steps: int
) -> optax.GradientTransformation:
    """SGD with momentum 0.9, Adam or RMSprop, every setting traced.

    Args:
        index: which of `FIRST_ORDER`.
        rate: learning rate at the start.
        cosine: whether it decays to zero along a half cosine; constant otherwise.
        steps: length of the decay.
    """
    schedule = lambda step: -rate * jnp.where(cosine, 0.5 * (1 + jnp.cos(jnp.pi * step / steps)), 1.0)
    return optax.chain(one_of(list(FIRST_ORDER.values()), index), optax.scale_by_schedule(schedule))


def first_order_grid(
    rates: Sequence[float],
) -> tuple[Int[np.ndarray, " settings"], Float[np.ndarray, " settings"], Bool[np.ndarray, " settings"]]:
    """Columns ``index, rate, cosine`` of every setting: each of `FIRST_ORDER`, each rate, constant and with decay."""
    index, rate, cosine = np.meshgrid(np.arange(len(FIRST_ORDER)), rates, [False, True], indexing="ij")
    return index.ravel(), rate.ravel(), cosine.ravel()


def lbfgs_passes(
    value_and_grad: Callable[[Float[Array, " parameters"]], tuple[Float[Array, ""], Float[Array, " parameters"]]],
    start: Float[Array, " parameters"],
    passes: int,
    memory: int = 10,
) -> Float[np.ndarray, "passes+1 parameters"]:
    """The best parameters that L-BFGS has seen after each evaluation of a full-batch loss, line searches included.

    SciPy's implementation, on the host, so that exactly ``passes`` evaluations beyond the start can be counted.

    Args:
        value_and_grad: loss and gradient of a flat parameter vector, compiled.
        start: where to start.
        passes: evaluations after the one at ``start``.
        memory: pairs of steps and gradient differences kept.
    """
    best, values = [], []

    def objective(params):
        value, gradient = value_and_grad(params.astype(np.asarray(start).dtype))
        better = not values or float(value) < min(values)
        best.append(params.copy() if better else best[-1])
        values.append(float(value))
        return values[-1], np.asarray(gradient, float)

    options = {"maxcor": memory, "maxfun": passes + 1, "maxiter": passes + 1, "ftol": 0.0, "gtol": 0.0}
    minimize(objective, np.asarray(start, float), jac=True, method="L-BFGS-B", options=options)
    best = best[: passes + 1]
    return np.stack(best + [best[-1]] * (passes + 1 - len(best)))
