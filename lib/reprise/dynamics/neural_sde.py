r"""Neural stochastic differential equations that read a time series through a controlled path."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from reprise.dynamics.stochastic import DiagonalSDE, solve_on_grid
from reprise.networks.mlp import MLP, Dense


class Switches(NamedTuple):
    r"""What tells one class of neural SDE from another: numbers, 0 or 1, that switch terms of `ControlledSDE`.

    As data rather than as code, they let several classes be trained side by side in one compiled program (`jax.vmap`).

    Attributes:
        path: the drift sees the path.
        time: the drift sees the time.
        noise: there is noise at all.
        noise_times_state: the diffusion is multiplied by $z$.
        drift_times_state: the drift is multiplied by $z$; the state starts at $e^h$ and is read out as $\log|z|$.
        free_noise: the diffusion is an unrestricted function $g(t,z)$ and not $\sigma(t)\in(0,1)$.
    """

    path: float = 1.0
    time: float = 1.0
    noise: float = 1.0
    noise_times_state: float = 0.0
    drift_times_state: float = 0.0
    free_noise: float = 0.0


NAIVE = Switches(free_noise=1.0)
LANGEVIN = Switches(time=0.0)
LINEAR_NOISE = Switches(noise_times_state=1.0)
GEOMETRIC = Switches(noise_times_state=1.0, drift_times_state=1.0)
NOISELESS = Switches(noise=0.0)


class ControlledSDE(nnx.Module):
    r"""A neural SDE whose drift sees an observed path, with an affine readout of its last state.

    The state starts at $z(0)=h(X(0))$ and the drift acts on $\bar z(t)=\zeta(t,z(t),X(t))$, where $X$ is an
    interpolation of the data (Oh et al. 2024, arXiv:2402.14989, section 3). The `Switches` `LANGEVIN`, `LINEAR_NOISE`
    and `GEOMETRIC` make it, with $\sigma$ a function of time between 0 and 1, one of the paper's stable classes,
    $$\mathrm dz=\gamma(\bar z)\,\mathrm dt+\sigma(t)\,\mathrm dW,\quad
    \mathrm dz=\gamma(t,\bar z)\,\mathrm dt+\sigma(t)z\,\mathrm dW,\quad
    \mathrm dz/z=\gamma(t,\bar z)\,\mathrm dt+\sigma(t)\,\mathrm dW ;$$
    `NAIVE` makes it $\mathrm dz=\gamma(t,\bar z)\,\mathrm dt+g(t,z)\,\mathrm dW$, and without noise it is a neural ODE.
    $h$ and the readout are affine; $\gamma$, $\zeta$ and $\sigma$ or $g$ are perceptrons with one hidden layer (SiLU);
    $\zeta$ ends in $\tanh$, and $\sigma$ is $g$ with its inputs $z$ set to zero, in a sigmoid.

    Args:
        channels: number of components of the path.
        dim: number of components of the state.
        hidden: width of the hidden layers.
        outputs: number of outputs.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, channels: int, dim: int, hidden: int, outputs: int, *, rngs: nnx.Rngs):
        make = lambda *widths: MLP(widths, activation=jax.nn.silu, rngs=rngs)
        self.start = Dense(channels, dim, rngs=rngs)
        self.mix = make(dim + channels + 1, hidden, dim)
        self.slope = make(dim + 1, hidden, dim)
        self.noise = make(dim + 1, hidden, dim)
        self.readout = Dense(dim, outputs, rngs=rngs)

    def equation(self, switches: Switches) -> DiagonalSDE:
        """The equation of a class; ``x`` in its coefficients is the value of the path."""
        clock = lambda t, z: jnp.broadcast_to(jnp.asarray(t, z.dtype), (*z.shape[:-1], 1))
        times_state = lambda switch, z: 1 + switch * (z - 1)

        def drift(t, z, x):
            time = switches.time * clock(t, z)
            mixed = jnp.tanh(self.mix(jnp.concatenate([z, switches.path * x, time], axis=-1)))
            gamma = self.slope(jnp.concatenate([mixed, time], axis=-1))
            return gamma * times_state(switches.drift_times_state, z)

        def diffusion(t, z, x):
            level = self.noise(jnp.concatenate([switches.free_noise * z, clock(t, z)], axis=-1))
            level = jnp.where(switches.free_noise > 0, level, jax.nn.sigmoid(level))
            return switches.noise * level * times_state(switches.noise_times_state, z)

        return DiagonalSDE(drift, diffusion)

    def __call__(
        self,
        switches: Switches,
        path: Float[Array, "steps batch channels"],
        times: Float[Array, " steps_plus_1"],
        increments: Float[Array, "steps batch dim"],
    ) -> Float[Array, "batch outputs"]:
        """Outputs for a batch of series, by Euler-Maruyama.

        Args:
            switches: the class of equation.
            path: the path $X$ at the start of every step.
            times: the grid.
            increments: Brownian increments.
        """
        log = switches.drift_times_state > 0
        z0 = self.start(path[0])
        z0 = jnp.where(log, jnp.exp(z0), z0)
        z, _ = solve_on_grid(self.equation(switches), z0, times, increments, path, save=None)
        return self.readout(jnp.where(log, jnp.log(jnp.abs(z) + 1e-6), z))
