# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # On Neural Differential Equations
#
# A residual network adds a small correction to its hidden state, layer after layer, $z_{k+1}=z_k+f_\theta(k,z_k)$. Read
# the layer number as time and this is Euler's method for $\dot z=f_\theta(t,z)$. {cite:t}`kidger2021on` takes the
# observation in earnest. Most of the architectures that deep learning has found by trial are discretised differential
# equations, so one may start from the equation instead, and choose network and solver separately. The thesis is the
# field's textbook: which equations there are, what they can and cannot represent, and how to train them.
#
# | equation | | its discrete relative | what it models |
# |---|---|---|---|
# | ordinary (neural ODE) | $\mathrm dz=f_\theta(t,z)\,\mathrm dt$ | residual network | a map, a flow of densities, a physical law |
# | controlled (neural CDE) | $\mathrm dz=f_\theta(z)\,\mathrm dX$ | recurrent network | a function of a time series $X$ |
# | stochastic (neural SDE) | $\mathrm dz=\mu_\theta\,\mathrm dt+\sigma_\theta\circ\mathrm dW$ | generative network | a distribution over time series |
# | none, its resting point | $z^*=f_\theta(z^*,x)$ | network of infinite depth | an equilibrium |
#
# Behind all of them stands one numerical question: a solver takes hundreds of small steps, and training needs the
# gradient through every one. Two answers compete, one exact and hungry for memory, the other frugal and inexact, and the
# thesis adds a kind of solver that gets the best of both. This page performs five of its statements. The picture
# to have in mind is the first figure: of the ways to a gradient that need little memory, one is right to the last bit,
# and the others are wrong by an amount that depends on the step size.
#
# **Gradients first.** Let $L$ depend on $z(T)$.
#
# - *Discretise, then optimise*: differentiate what the solver computed, by backpropagation. It is the exact gradient of
#   the discrete loss. It stores all $N$ steps, or about $\log N$ of them if it recomputes the rest.
# - *Optimise, then discretise* {cite:p}`chen2018neural`: $a(t)=\partial L/\partial z(t)$ obeys an equation of its own (below),
#   to be solved from $T$ back to 0, along with $z$ itself, which is computed again on the way. No memory at all; but the
#   solver errs on the way back as it did on the way there, and the two errors differ.
# - *Reversible solvers*: choose a discretisation whose step can be undone exactly. Then $z$ can be recomputed on the
#   way back without error, so the memory is that of the second answer and the gradient that of the first.
#
# The equation of the second answer, the continuous adjoint, is
#
# $$\dot a=-a^\top\frac{\partial f_\theta}{\partial z},\qquad a(T)=\frac{\partial L}{\partial z(T)},\qquad
#   \frac{\partial L}{\partial\theta}=\int_0^Ta^\top\frac{\partial f_\theta}{\partial\theta}\,\mathrm dt .$$
#
# **Reversible Heun** {cite:p}`kidger2021efficient` carries two approximations of the solution, $z_n$ and $\hat z_n$, that
# leapfrog over each other. With $f_n=f_\theta(t_n,\hat z_n)$ and $h=t_{n+1}-t_n$,
#
# $$\hat z_{n+1}=2z_n-\hat z_n+hf_n,\qquad z_{n+1}=z_n+\tfrac h2\,(f_n+f_{n+1}),\qquad \hat z_0=z_0 .$$
#
# Exchange $n$ and $n+1$ and flip the sign of $h$: the same formulas take $(z_{n+1},\hat z_{n+1})$ back to
# $(z_n,\hat z_n)$. There is no equation to solve, one evaluation of $f_\theta$ a step, and for an SDE one replaces $hf$
# by $h\mu+\sigma\,\Delta W$ and gets a Stratonovich solver.

# %% tags=["parameters"]
seed = 0  # all random numbers derive from it
hidden = 16  # hidden units of the neural ODEs' fields
flip_networks = 4  # neural ODEs of each kind that learn x -> -x
flip_steps = 500  # their training steps
paths = 2000  # Brownian paths behind the strong errors
noises = [0.1, 0.3]  # noise of the spirals; the claim is about the first
runs = 2  # data sets and trainings at the first noise (one at the others)
dropped = 0.7  # share of a spiral's points that nobody sees
rates = [3e-3, 1e-2]  # learning rates to choose from, by validation
cde_hidden = 12  # components of the neural CDE's state
cde_width = 24  # hidden units of its field
gru_width = 16  # units of the gated recurrent network

# %%
from concurrent.futures import ThreadPoolExecutor

import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

from reprise.claims import open_paper
from reprise.dynamics.controlled import NeuralCDE, half_step_slopes
from reprise.dynamics.explicit import method
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.dynamics.reversible import ReversibleAdjoint
from reprise.dynamics.vector_fields import TimeMLP
from reprise.networks.functional import initialise
from reprise.networks.mlp import MLP, Dense
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.fits import loglog_slope
from reprise.training.background import start
from reprise.training.loop import fit

use_style()
paper = open_paper("neural-differential-equations", globals())

# %% [markdown]
# ## Two trainings to begin with
#
# Two sections below train networks. Their programs are set off here and run in the background while the page deals with
# numerics.
#
# **Learning to flip.** A neural ODE that should map each $x\in[-1,1]$ to $-x$. The field is a perceptron that sees the
# time, solved by the classical Runge-Kutta method; `fixed_steps` strings steps of a Diffrax {cite:p}`kidger2021on`
# solver together along a grid of times. The *plain* ODE has a state with one component. The *augmented* one
# {cite:p}`dupont2019augmented` has a second, which starts at zero and whose end is ignored. Both are the same program:
# a mask that holds the second component at zero makes the plain one.

# %%
pool = ThreadPoolExecutor(2)
no_key = jax.random.key(0)  # for `fit`: nothing in these losses is random


field, networks = initialise(
    lambda rngs: TimeMLP(2, hidden, rngs=rngs), np.random.default_rng([seed, 0]), flip_networks
)
x_train = np.linspace(-1, 1, 32, dtype=np.float32)
x_test = np.linspace(-1, 1, 201, dtype=np.float32)


def flow(params, mask, x, steps, save=None):
    """Carry the points (x, 0) along the masked field from time 0 to 1."""
    term = diffrax.ODETerm(lambda t, z, params: mask * field(params, t, z))
    z0 = jnp.stack([x, jnp.zeros_like(x)], axis=-1)
    return fixed_steps(term, method(4), np.linspace(0, 1, steps + 1), z0, params, save=save)


@jax.jit
@jax.vmap
def learn_to_flip(mask, params):
    """Trajectories of the test points after training, [steps, points, components]."""
    loss = lambda params, _: jnp.mean((flow(params, mask, x_train, 10)[0][:, 0] + x_train) ** 2)
    params, _ = fit(loss, params, optax.adam(1e-2), no_key, flip_steps)
    return flow(params, mask, x_test, 40, save=lambda z: z)[1]


networks = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), networks)
masks = np.repeat(np.float32([[1, 0], [1, 1]]), flip_networks, axis=0)
flipped = start(pool, learn_to_flip, masks, networks)

# %% [markdown]
# **Reading spirals.** Noisy points on a spiral that turns clockwise or anticlockwise: which? There are 53 moments on
# $[0,1]$, and most are never seen (the first and the last always are). For the *neural CDE* the observations $(t,x,y)$
# become a smooth path $X$, a cubic spline with backward differences as slopes {cite:p}`morrill2021neural`, and the path
# drives the hidden state {cite:p}`kidger2020neural`,
#
# $$z(0)=\zeta_\theta(X(0)),\qquad \dot z=f_\theta(z)\,\dot X(t),\qquad\text{logit}=\ell_\theta(z(1)),$$
#
# with $f_\theta(z)$ a matrix, hidden by channels. `half_step_slopes` tabulates $\dot X$ at the times at which the solver
# looks, so that irregular sampling is dealt with once, before training. The rival is a gated recurrent network
# {cite:p}`cho2014learning` that reads $(\Delta t,x,y)$ observation by observation, the gap being the time since the one
# before. Both are trained with each of the learning rates, and all trainings run side by side under one `vmap`.

# %%
CDE_STEPS, TRAIN, VALIDATION, TEST = 16, 256, 256, 512
series = TRAIN + VALIDATION + TEST
held_out = np.arange(TRAIN, series)


def spirals(rng, noise, moments=53):
    """Observations (t, x, y) in order, [series, observations, 3], and directions, 0 or 1."""
    keep = max(round((1 - dropped) * moments), 3)
    direction = rng.integers(0, 2, (series, 1))
    inner = np.argsort(rng.random((series, moments - 2)), axis=1)[:, : keep - 2] + 1
    ends = np.zeros((series, 1), int), np.full((series, 1), moments - 1)
    t = np.sort(np.concatenate([*ends, inner], axis=1), axis=1) / (moments - 1)
    angle = 2 * np.pi * (rng.random((series, 1)) + (2 * direction - 1) * t)
    xy = np.stack([np.cos(angle), np.sin(angle)], -1) / (1 + t[..., None])
    seen = np.concatenate([t[..., None], xy + noise * rng.normal(size=xy.shape)], axis=-1)
    return seen.astype(np.float32), direction[:, 0].astype(np.float32)


class GatedRecurrence(nnx.Module):
    """A GRU and a linear read-out of its last state."""

    def __init__(self, inputs, width, *, rngs):
        self.width = width
        zeros = nnx.initializers.zeros
        self.cell = nnx.GRUCell(
            inputs, width, kernel_init=zeros, recurrent_kernel_init=zeros, rngs=rngs
        )
        # Weights N(0, 1/n), like the CDE's.
        for layer in (self.cell.dense_h, self.cell.dense_i):
            size = layer.kernel.shape
            layer.kernel = nnx.Param(rngs.params.normal(size) / size[0] ** 0.5)
        self.readout = Dense(width, 1, rngs=rngs)

    def __call__(self, x):
        state = jnp.zeros((x.shape[1], self.width), x.dtype)
        return self.readout(jax.lax.scan(lambda h, x: (self.cell(h, x)[0], None), state, x)[0])


def classification(apply):
    """A program that trains networks and says about each held-out series whether they are right."""

    def logits(params, inputs, i):
        return apply(params, *(x[..., i, :] for x in inputs))[:, 0]

    def classify(rate, params, inputs, labels, batches):
        def loss(params, _, batch):
            answer = logits(params, inputs, batch)
            return optax.sigmoid_binary_cross_entropy(answer, labels[batch]).mean()

        optimizer = optax.adam(rate)
        params, _ = fit(loss, params, optimizer, no_key, len(batches), inputs=batches)
        return (logits(params, inputs, held_out) > 0) == (labels[held_out] > 0.5)

    return jax.jit(jax.vmap(classify, in_axes=(0, 0, 0, 0, None)))


levels = [(noise, run) for noise in noises for run in range(runs if noise == noises[0] else 1)]
data = [
    spirals(np.random.default_rng([seed, 1, i]), noise) for i, (noise, _) in enumerate(levels)
]
labels = np.stack([y for _, y in data])
gaps = [
    np.concatenate([np.diff(x[..., :1], axis=1, prepend=0), x[..., 1:]], -1) for x, _ in data
]
inputs = {
    "CDE": (
        np.stack([x[:, 0] for x, _ in data]),
        np.stack([half_step_slopes(x[..., 0], x, CDE_STEPS) for x, _ in data]),
    ),
    "GRU": (np.stack([x.swapaxes(0, 1) for x in gaps]),),
}
models = {
    "CDE": lambda rngs: NeuralCDE(3, cde_hidden, cde_width, rngs=rngs),
    "GRU": lambda rngs: GatedRecurrence(3, gru_width, rngs=rngs),
}
batches = np.random.default_rng([seed, 2]).integers(TRAIN, size=(250, 32), dtype=np.int32)
each_rate = lambda leaf: np.concatenate([leaf] * len(rates))  # every data set with every rate
classifiers, right = {}, {}
for name, make in models.items():
    start_from = np.random.default_rng([seed, 3])
    classifiers[name], first = initialise(make, start_from, len(levels))
    many = jax.tree.map(each_rate, (first, inputs[name], labels))
    with_rates = np.repeat(np.float32(rates), len(levels)), *many
    right[name] = start(pool, classification(classifiers[name]), *with_rates, batches)

# %% [markdown]
# ## Three gradients
#
# The equation of this section has a time-dependent field, $f_\theta(t,z)=\mathrm{MLP}_\theta(z)\cos t$ with two hidden
# layers of tanh units, two components, the loss is $\frac12\|z(2)\|^2$ and everything is in double precision. There are
# three functions for the three answers:
#
# - `by_backpropagation`, the reference, is plain reverse mode through `fixed_steps`;
# - `by_continuous_adjoint` solves the adjoint equation from the end to the beginning, with the solver and the steps of
#   the forward solve. Its state is $(z,a,\int a^\top\partial_\theta f)$, and of the field's Jacobians only products
#   with $a$ are needed. Nothing of the way there is kept but its end. (Diffrax offers the same computation as
#   `BacksolveAdjoint`, equal to rounding; here it is written out, to be seen.) The solvers are Euler's, Heun's,
#   Kutta's and the classical Runge-Kutta method, of order 1 to 4. Their coefficients are an *argument*, so that one
#   compiled program serves all four;
# - `by_reversal` is Diffrax's `diffeqsolve` with this project's `ReversibleAdjoint`, which undoes the steps of
#   `ReversibleHeun` one after another and pulls the gradient through each.

# %%
T = 2.0
rng = np.random.default_rng([seed, 4])
mlp, params = initialise(lambda rngs: MLP([2, 16, 16, 2], activation=jnp.tanh, rngs=rngs), rng)
ode = diffrax.ODETerm(jax.jit(lambda t, z, params: mlp(params, z) * jnp.cos(t)))
params = jax.tree.map(np.float64, params)
point = (rng.normal(size=2), params)  # where gradients are taken: initial value and parameters


def half_square(z):
    return 0.5 * jnp.sum(z**2)


def by_backpropagation(solver, times):
    """Gradient of the discrete loss on a grid of times, and the final state."""

    def loss(point):
        z, _ = fixed_steps(ode, solver, times, *point)
        return half_square(z), z

    return jax.grad(loss, has_aux=True)(point)


def by_reversal(h):
    """Gradient of the same loss by reversible Heun in steps of size h, run backwards."""

    def loss(point):
        solver, adjoint = diffrax.ReversibleHeun(), ReversibleAdjoint()
        solution = diffrax.diffeqsolve(
            ode, solver, 0.0, T, h, *point, adjoint=adjoint, max_steps=256, throw=False
        )
        return half_square(solution.ys[0])

    return jax.grad(loss)(point)


def by_continuous_adjoint(solver, times):
    """Gradient by the adjoint equation, solved with the ODE from the grid's end to its beginning."""

    def backwards(t, state, params):
        z, a, _ = state
        slope, pull = jax.vjp(lambda z, params: ode.vf(t, z, params), z, params)
        return slope, *jax.tree.map(jnp.negative, pull(a))

    z0, params = point
    z1, _ = fixed_steps(ode, solver, times, z0, params)
    state = z1, jax.grad(half_square)(z1), jax.tree.map(jnp.zeros_like, params)
    (_, a, weights), _ = fixed_steps(
        diffrax.ODETerm(backwards), solver, times[::-1], state, params
    )
    return a, weights


def grid(h, end=T, size=512):
    """Steps of size h from 0 to the end, filled up to a fixed number by steps of size zero."""
    return np.minimum(np.arange(size + 1) * h, end)


solvers = {
    name: method(order) for order, name in enumerate(("Euler", "Heun", "Kutta", "RK4"), 1)
}
FINE, h_shown, h_claimed = 2048, 2.0 ** -np.arange(3, 8), T / 200
h_all = [*h_shown, h_claimed]
up = grid(h_claimed, size=200)
there_and_back = np.concatenate([up, up[-2::-1], np.zeros(112)])  # 512 steps in all

# %% [markdown]
# All gradients of a kind are taken in one call, mapped over grids and solvers. The exact gradient, or what stands for it,
# is that of RK4 with a step of $1/1024$.

# %%
RK4, reversible_heun = solvers["RK4"], diffrax.ReversibleHeun()
pairs = [(name, h) for name in solvers for h in h_all]
jobs = {
    "reversible": {h: (reversible_heun, grid(h)) for h in h_all}
    | {("at 1", h): (reversible_heun, grid(h, 1.0)) for h in h_shown}
    | {"back": (reversible_heun, there_and_back)},
    "others": {(name, h): (solvers[name], grid(h, size=FINE)) for name, h in pairs}
    | {"back": (solvers["Heun"], np.pad(there_and_back, (0, FINE - 512)))}
    | {"exact": (RK4, grid(1 / 1024, size=FINE))}
    | {"exact at 1": (RK4, grid(1 / 1024, 1.0, FINE))},
    "continuous": {(name, h): (solvers[name], grid(h, size=256)) for name, h in pairs},
}
programs = dict.fromkeys(jobs, by_backpropagation) | {"continuous": by_continuous_adjoint}
answers = {}
for k, job in jobs.items():
    stacked = jax.tree.map(lambda *x: np.stack(x), *job.values())
    answers[k] = start(pool, jax.vmap(programs[k]), *stacked, double=True)
with jax.enable_x64(True):
    compiled = {"reversal": pool.submit(jax.jit(by_reversal).lower(0.1).compile)}

# %% [markdown]
# While these compile, the stochastic programs of the next section are set off as well.
#
# $$\mathrm dx=\sin y\,\mathrm dt+\mathrm dW_1+\sin y\circ\mathrm dW_2,\qquad
#   \mathrm dy=-x\,\mathrm dt+\cos x\circ\mathrm dW_1+\frac{x}{1+x^2}\circ\mathrm dW_2$$
#
# has *general noise*: its two noise fields do not commute, and the iterated integrals of $W$, which no scheme that sees
# only increments $\Delta W$ can know, limit every such scheme to strong order $\frac12$. With the constant matrix
# $\begin{pmatrix}0.7&0\\0.3&0.5\end{pmatrix}$ in its place the noise is *additive*, the obstacle is gone, and
# reversible Heun should have order 1. The reference is another scheme, stochastic Heun, with a step of $2^{-11}$ on the
# same Brownian paths. (Against its own fine solution even a scheme for the wrong, Itô, equation would show the right
# slope.)


# %%
GRAIN = 2048  # Brownian increments on [0, 1]
drift = lambda t, z, general: jnp.stack([jnp.sin(z[1]), -z[0]])


def diffusion(t, z, general):
    x, y = z
    columns = [jnp.ones_like(x), jnp.cos(x)], [jnp.sin(y), x / (1 + x**2)]
    full = jnp.stack([jnp.stack(column) for column in columns], axis=1)
    return jnp.where(general, full, jnp.array([[0.7, 0.0], [0.3, 0.5]]))


@jax.jit
def ends(solver, brownian, times, general):
    """Solutions at time 1, driven by paths tabulated at equal distances, [times, paths, 2]."""

    def one(w):
        at = lambda t: w[jnp.round(t * (len(w) - 1)).astype(int)]
        noise = diffrax.ControlTerm(diffusion, lambda t0, t1: at(t1) - at(t0))
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), noise)
        return fixed_steps(terms, solver, times, jnp.array([0.5, -0.2]), general)[0]

    return jax.vmap(one, in_axes=1)(brownian)


brownian = np.zeros((GRAIN + 1, paths, 2))
increments = np.random.default_rng([seed, 5]).normal(size=(GRAIN, paths, 2)) / np.sqrt(GRAIN)
np.cumsum(increments, axis=0, out=brownian[1:])
sampled = brownian[:: GRAIN // 128]  # where the largest grid of the coarse solver looks
stochastic_heun = method(2, stages=2)
with jax.enable_x64(True):
    coarse = ends.lower(reversible_heun, sampled, grid(0.1, size=128), True)
    fine = ends.lower(stochastic_heun, brownian, grid(0.1, size=GRAIN), True)
compiled |= {"coarse": pool.submit(coarse.compile), "fine": pool.submit(fine.compile)}

# %% [markdown]
# Errors are relative, the larger of that of the gradient with respect to the initial value and that of the gradient
# with respect to all weights. There are two truths to compare with: the gradient of the method's *own discrete loss*,
# which is what an optimizer that looks at the loss would expect, and the gradient of the *exact* loss, here by RK4 with
# a step of $1/1024$.


# %%
def both(gradient):
    """The two parts of a gradient as vectors."""
    initial, weights = gradient
    return initial, np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights)])


def error(gradient, truth):
    pairs = zip(both(gradient), both(truth), strict=True)
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs)


def call(name, *arguments):
    with jax.enable_x64(True):
        return jax.device_get(compiled[name].result()(*arguments))


own, states, adjoints = {}, {}, {}
for k, job in jobs.items():
    answer = answers[k].result()
    for i, key in enumerate(job):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], answer)
        if k == "continuous":
            adjoints[key] = one
        else:
            own[k, key], states[k, key] = one

exact = own["others", "exact"]
adjoints |= {("reversible", h): call("reversal", h) for h in h_all}
against_own = {
    "reversible": [error(adjoints["reversible", h], own["reversible", h]) for h in h_all]
}
for name in solvers:
    against_own[name] = [error(adjoints[name, h], own["others", (name, h)]) for h in h_all]
against_exact = {k: [error(adjoints[k, h], exact) for h in h_shown] for k in against_own}

# %% tags=["hide-input"] mystnb={"image": {"alt": "Gradient error against step size. Left, against the gradient of the discrete loss: continuous adjoints of four solvers fall with the step, the reversible method is at rounding error throughout. Right, against the exact gradient: parallel to lines of slope 1 to 4."}}
LOOK = {
    "reversible": ("reversible Heun, reversed", "blue", "o", 10),
    "Euler": ("Euler, continuous adjoint", "red", "v", 6),
    "Heun": ("Heun, continuous adjoint", "orange", "s", 6),
    "Kutta": ("Kutta's third order, continuous adjoint", "purple", "D", 5),
    "RK4": ("RK4, continuous adjoint", "green", "^", 7),
}
figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7.8, 4.6))
for ax, errors in zip(axes, (against_own, against_exact), strict=True):
    for name, values in errors.items():
        label, colour, marker, size = LOOK[name]
        line = values[: len(h_shown)]
        ax.loglog(h_shown, line, marker + "-", color=PALETTE[colour], label=label, ms=size)
for order, name in enumerate(solvers, 1):
    guide = against_exact[name][-1] * (h_shown / h_shown[-1]) ** order
    axes[1].loglog(
        h_shown,
        guide,
        "--",
        color=THEORY,
        lw=1.2,
        label="$h,h^2,h^3,h^4$" if order == 1 else None,
    )
for ax in axes:
    ax.set_xticks(h_shown, [f"$2^{{{int(np.log2(h))}}}$" for h in h_shown])
    ax.minorticks_off()
    ax.set_xlabel("step size $h$")
axes[0].set(title="from its own discrete gradient", ylabel="relative error of the gradient")
axes[1].set(title="from the exact gradient")
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
plt.show()

# %% [markdown]
# *Left:* the gradient from running reversible Heun backwards *is* the gradient of the discrete loss, at every step
# size; what is left are the last digits of a double. The continuous adjoint's gradient is not the gradient of anything
# that was computed. It approaches one as the step shrinks, at the rate of the solver or a little faster, and it has to
# be watched: a solver accurate enough for the prediction need not be accurate enough for the gradient. *Right:* from
# the exact gradient each method is as far as its discretisation, and the four solvers show their four orders. (The two
# Heun methods lie on top of each other: by this measure the reversible one is no better.) The claim is about RK4, the
# slope of the green line over the four largest steps.
#
# The other half of the statement about reversible Heun is that it returns to where it came from. Undoing a step is taking
# it with its two times exchanged, so we run 200 steps up to $T$ and the same 200 back down, in one grid.

# %%
h_four, errors = h_shown[:4], against_exact["RK4"][:4]
local_slopes = np.diff(np.log(errors)) / np.diff(np.log(h_four))
paper.report("adjoint-error-order", loglog_slope(h_four, errors), samples=local_slopes)

missed = {k: np.linalg.norm(states[k, "back"] - point[0]) for k in ("reversible", "others")}
off = {k: against_own[k][-1] for k in ("reversible", "Heun")}
print(
    f"reversible Heun: gradient off by {off['reversible']:.1e}, start missed by {missed['reversible']:.1e}"
)
print(
    f"Heun:            gradient off by {off['Heun']:.1e}, start missed by {missed['others']:.1e}"
)
worst = max(off["reversible"], missed["reversible"])
told_apart = off["Heun"] >= 1e4 * worst
samples = [off["reversible"], missed["reversible"]]
paper.report("reversible-heun-exact", worst if told_apart else 1.0, samples=samples)

# %% [markdown]
# The price is paid in stability. On $\dot z=\lambda z$ reversible Heun stays bounded only for $h\lambda$ on the
# imaginary interval $[-i,i]$; a strongly damped component needs small steps. For a field that is Lipschitz and of
# moderate size, as a neural network's is, this is seldom the bottleneck.
#
# ## Order of convergence, with and without noise
#
# Reversibility would be worthless if it cost accuracy. The thesis proves order 2 for ODEs, strong order $\frac12$ for
# SDEs with general noise and 1 for additive noise, the same as the usual Heun scheme. The strong error is the root mean
# square distance of two solutions at time 1 *on the same Brownian path*. The ODE is that of the last section.

# %%
z_one = states["others", "exact at 1"]
z_coarse = [states["reversible", ("at 1", h)] for h in h_shown]
strong = {"ODE": [np.linalg.norm(z - z_one) for z in z_coarse]}
for kind, general in (("SDE, additive noise", False), ("SDE, general noise", True)):
    truth = call("fine", stochastic_heun, brownian, grid(1 / GRAIN, 1.0, GRAIN), general)
    distance = [
        call("coarse", reversible_heun, sampled, grid(h, 1.0, 128), general) - truth
        for h in h_shown
    ]
    strong[kind] = [np.sqrt(np.mean(np.sum(d**2, axis=-1))) for d in distance]
fitted = {kind: loglog_slope(h_shown, errors) for kind, errors in strong.items()}
theory = {"ODE": 2.0, "SDE, additive noise": 1.0, "SDE, general noise": 0.5}
deviations = [abs(fitted[kind] - theory[kind]) for kind in theory]
print(", ".join(f"{kind}: order {fitted[kind]:.3f}" for kind in theory))
paper.report("reversible-heun-orders", sum(deviations), samples=deviations)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error of reversible Heun at time 1 against step size for an ODE, an SDE with additive and one with general noise, parallel to dashed lines of slope 2, 1 and one half."}}
figure, ax = plt.subplots(figsize=(6.4, 3.8))
for kind, marker, colour in zip(theory, "os^", ("blue", "green", "red"), strict=True):
    ax.loglog(h_shown, strong[kind], marker, color=PALETTE[colour], ms=8)
    line = strong[kind][2] * (h_shown / h_shown[2]) ** theory[kind]
    ax.loglog(h_shown, line, "--", color=THEORY, lw=1.2)
    text = f"{kind}\nslope {theory[kind]:g}"
    place = {"color": PALETTE[colour], "va": "top" if "additive" in kind else "center"}
    ax.annotate(text, (1.15 * h_shown[0], strong[kind][0]), **place)
ax.set_xticks(h_shown, [f"$2^{{{int(np.log2(h))}}}$" for h in h_shown])
ax.minorticks_off()
ax.set(xlabel="step size $h$", ylabel="error at time 1", xlim=(None, 4 * h_shown[0]))
plt.show()

# %% [markdown]
# The dashed lines have the slopes of the theorem. The square root law of the top line is what one pays in general for
# driving a network with noise: a quarter of the step for half the error. (If the paths are only needed in distribution,
# the error is an order better.)
#
# One more thing is needed to run an SDE backwards: the same noise again, without having stored it. A Brownian path can be
# rebuilt from a seed by bisection. Given its values at $s$ and $t$, its value in the middle is Gaussian,
#
# $$W_{(s+t)/2}\,\big|\,W_s,W_t\;\sim\;N\!\Big(\frac{W_s+W_t}2,\;\frac{t-s}4\Big),$$
#
# and if the random key of every interval is split for its two halves, any point can be found in a logarithmic number of
# draws, always the same. That is Diffrax's `VirtualBrownianTree`, and `ReversibleAdjoint` differentiates SDEs driven by
# one in constant memory. Neural SDEs trained in that way are generators of time series {cite:p}`kidger2021neural`;
# {doc}`stable-neural-sde` asks which of them are stable.
#
# ## What a flow cannot do
#
# Two solutions of an ODE never meet, so that the flow map $z(0)\mapsto z(1)$ is continuous and invertible, a
# *homeomorphism*. In one dimension that means monotone: if the points keep their order, $x\mapsto-x$ is out of reach,
# whatever the network. Nor can it be approached: among all nondecreasing maps the best for $-x$ on $[-1,1]$ is the
# constant zero, with a mean squared error of $\int_{-1}^1x^2\,\mathrm dx/2=\frac13$. With one more dimension there is
# room to walk around each other.

# %%
trajectory = np.asarray(flipped.result())  # [networks, steps, points, components]
starts = np.broadcast_to(np.stack([x_test, 0 * x_test], -1), trajectory[:, :1].shape)
trajectory = np.concatenate([starts, trajectory], axis=1)
mse = np.mean((trajectory[:, -1, :, 0] + x_test) ** 2, axis=-1).reshape(2, flip_networks)
print("test MSE, plain:    ", " ".join(f"{value:.4f}" for value in mse[0]))
print("test MSE, augmented:", " ".join(f"{value:.1e}" for value in mse[1]))
ratio = np.median(mse[0]) / np.median(mse[1])
paper.report(
    "unaugmented-cannot-flip", ratio if mse[0].min() >= 0.32 else 0.0, samples=mse[0] / mse[1]
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: trajectories of the plain neural ODE, squeezed together towards zero without crossing. Middle: the augmented one's first component, where they cross. Right: its two components, where the points turn around each other."}}
figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.4))
shown = np.arange(0, 201, 20)
tints = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(shown)))
time = np.linspace(0, 1, trajectory.shape[1])
plain, augmented = trajectory[0], trajectory[flip_networks]
for i, tint in zip(shown, tints, strict=True):
    axes[0].plot(time, plain[:, i, 0], color=tint)
    axes[1].plot(time, augmented[:, i, 0], color=tint)
    axes[2].plot(augmented[:, i, 0], augmented[:, i, 1], color=tint)
    axes[2].plot(*augmented[-1, i], "o", color=tint, ms=5)
for ax in axes[:2]:
    ax.set(xlabel="time $t$", ylim=(-1.15, 1.15))
axes[0].set(title="plain", ylabel="state $z_1$")
axes[1].set(title="augmented")
axes[2].set(title="augmented, from above", xlabel="$z_1$", ylabel="$z_2$")
plt.show()

# %% [markdown]
# One colour is one starting point. *Left:* the plain ODE does what it can and crushes the interval towards zero; its
# errors stay just above $\frac13$. *Middle:* the augmented one seems to let solutions cross. *Right:* seen in the plane
# they do not; the dots, where they end, have changed sides. The lesson goes beyond the example. A neural ODE whose
# state is as wide as its input spends its effort on topology. It should be given extra dimensions, a learned lift of
# the input, or a read-out.
#
# A flow that is invertible is also an asset. Its density follows from
# $\frac{\mathrm d}{\mathrm dt}\log p(z(t))=-\operatorname{tr}\frac{\partial f_\theta}{\partial z}$, the *continuous
# normalising flow* {cite:p}`chen2018neural,grathwohl2019ffjord`, and {doc}`rectified-flow` trains such flows without
# solving them.
#
# ## Irregular time series
#
# A recurrent network steps from observation to observation; if they come at irregular times, it has to learn what a gap
# means. A neural CDE has no steps. It integrates along a path, and the observations are only how we know the path.

# %%
accuracy = {}
for name, answer in right.items():
    hits = np.asarray(answer.result()).reshape(len(rates), len(levels), -1)
    validation, test = hits[..., :VALIDATION].mean(-1), hits[..., VALIDATION:].mean(-1)
    chosen = validation.argmax(0)
    accuracy[name] = np.take_along_axis(test, chosen[None], 0)[0]
first = [i for i, (noise, _) in enumerate(levels) if noise == noises[0]]
for i, (noise, run) in enumerate(levels):
    print(
        f"noise {noise}, run {run}: CDE {accuracy['CDE'][i]:.3f}, GRU {accuracy['GRU'][i]:.3f}"
    )

# %% [markdown]
# Accuracy is not the only thing to want. The integral of $f_\theta(z)\,\mathrm dX$ along a curve does not depend on how
# fast the curve is run through. So if time is *not* among the channels, a neural CDE is invariant to
# reparameterisation: it gives the same answer for $X(s)$ and for $X(\varphi(s))$ with any increasing $\varphi$. If
# speed matters, time is made a channel, as above. The choice is the modeller's, and it is exact. We test it on a CDE
# with random weights, eight smooth spirals, and $\varphi(s)=s+0.15\sin2\pi s$, in 256 steps.

# %%
s = np.linspace(0, 1, 513)[:, None]
phase = np.random.default_rng([seed, 6]).random(8)
turn = 2 * np.pi * np.where(np.arange(8) % 2, 1, -1)


def spiral_rate(s):
    """dX/ds of noise-free spirals without a time channel, [points, 8, 3]."""
    angle, radius = 2 * np.pi * phase + turn * s, 1 / (1 + s)
    out, around = (
        np.stack(v, -1)
        for v in ((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle)))
    )
    xy = -(radius**2)[..., None] * out + (radius * turn)[..., None] * around
    return np.concatenate([np.zeros((*xy.shape[:2], 1)), xy], axis=-1)


warped, speed = s + 0.15 * np.sin(2 * np.pi * s), 1 + 0.3 * np.pi * np.cos(2 * np.pi * s)
slow, fast = spiral_rate(s), speed[..., None] * spiral_rate(warped)
timed = [x + np.float32([1, 0, 0]) for x in (slow, fast)]
slopes = np.concatenate([slow, fast, *timed], axis=1).astype(np.float32)
begin = np.stack([0 * phase, np.cos(2 * np.pi * phase), np.sin(2 * np.pi * phase)], -1)
_, random_cde = initialise(models["CDE"], np.random.default_rng([seed, 7]))
outputs = jax.jit(classifiers["CDE"])(
    random_cde, np.tile(begin, (4, 1)).astype(np.float32), slopes
)
outputs = np.asarray(outputs).reshape(4, 8)
change = [
    np.abs(outputs[i] - outputs[i + 1]).max() / np.sqrt(np.mean(outputs[i] ** 2))
    for i in (0, 2)
]
print(f"relative change of the output: without time {change[0]:.1e}, with time {change[1]:.2f}")
margins = (accuracy["CDE"] - accuracy["GRU"])[first]
sound = accuracy["CDE"][first].mean() >= 0.95 and change[0] < 1e-3
paper.report("cde-handles-irregular", margins.mean() if sound else -1.0, samples=margins)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: a spiral's noisy observations and the smooth path through them. Right: test accuracy of the neural CDE and the GRU against noise, both at one for the lowest noise, the CDE falling behind as noise grows."}}
figure, (left, right_ax) = plt.subplots(1, 2, figsize=(7.8, 3.6))
seen, _ = data[first[0]]
dense = half_step_slopes(seen[:1, :, 0], seen[:1], 1000)[:, 0]
between = np.concatenate(
    [[seen[0, 0]], seen[0, 0] + np.cumsum((dense[1:] + dense[:-1]) / 2, 0) / 2000]
)
left.plot(between[:, 1], between[:, 2], color=PALETTE["blue"], label="path $X$")
left.plot(seen[0, :, 1], seen[0, :, 2], "o", color=THEORY, ms=5, label="observations")
left.plot(*seen[0, 0, 1:], "o", ms=11, mfc="none", mec=PALETTE["red"], mew=2, label="first")
left.set(xlabel="$x$", ylabel="$y$", title=f"a spiral, noise {noises[0]}", aspect="equal")
left.legend(
    loc="upper center",
    bbox_to_anchor=(0.5, -0.2),
    ncols=3,
    columnspacing=1.0,
    handletextpad=0.4,
)
for name, colour in (("CDE", "blue"), ("GRU", "orange")):
    at = [
        np.mean([a for a, (noise, _) in zip(accuracy[name], levels, strict=True) if noise == n])
        for n in noises
    ]
    right_ax.plot(
        noises,
        at,
        "o-",
        color=PALETTE[colour],
        label={"CDE": "neural CDE", "GRU": "GRU with gaps"}[name],
    )
right_ax.set(
    xlabel="noise of an observation", ylabel="test accuracy", xticks=noises, ylim=(None, 1.01)
)
right_ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# *Left:* what a CDE sees. *Right:* at the claim's noise, the leftmost, both models are at or near the ceiling, so the
# claim is one of parity. With three times the noise the recurrent network is clearly the better one here. The spline
# runs through every observation, errors included, and differentiates it; the GRU is free to average. Smoothing the data
# first, or log-signatures over windows {cite:p}`morrill2021neuralrough`, are the known remedies. For series that come
# from a chaotic system the difficulty is another one, the gradient itself: see {doc}`generalized-teacher-forcing`.
#
# ## What differs from the paper
#
# - A thesis of two hundred pages is reduced to five checks. Training SDEs as generators, rough paths, symbolic
#   regression of the learned fields and the many applications are only pointed to.
# - The classification task is a toy on which the ceiling hides any ordering at low noise. It supports "at least as
#   accurate" at noise 0.1 and contradicts it at higher noise, for these sizes and 250 training steps. The thesis'
#   comparisons are on speech and medical data.
# - The thesis states that gradients by the continuous adjoint are inexact; the slopes of this inexactness are measured
#   here on one small smooth network. With adaptive steps it is the tolerance that sets it. {doc}`opening-the-blackbox`
#   needs a gradient through the solver's internals, which no continuous adjoint gives; {doc}`locally-regularized-nde`
#   finds a way around it.
# - Reversible Heun's instability for strongly damped fields is described and not shown.
# - Equilibrium models are the row of the table without an experiment on this page. Their gradient needs no trajectory
#   at all: with $a=(I-\partial_zf)^{-\top}\partial_z\ell$ at the fixed point,
#   $\partial_\theta\ell=a^\top\partial_\theta f$ {cite:p}`bai2019deep`. {doc}`deep-equilibrium-homotopy` finds the
#   fixed point by following an ODE, so that the first and the last row of the table meet.
#
# ## Things to try
#
# - `reprise run neural-differential-equations -p seed 3`: other networks, paths and spirals; the numerical claims do
#   not move.
# - `reprise sweep neural-differential-equations -p paths=200,2000,20000 -p seed=0..4`: how well 2000 paths fix the
#   slopes.
# - `reprise run neural-differential-equations -p flip_steps 3000 -p hidden 64`: more training brings the plain ODE
#   nearer to $\frac13$ and never below.
# - `reprise run neural-differential-equations -p noises "[0.1, 0.3, 0.5]" -p dropped 0.5`: with more points, or more
#   noise.
# - In the library: `ReversibleAdjoint` with `diffrax.PIDController`, or on a CDE through `ControlTerm(...).to_ode()`.
#   With `SaveAt(steps=True)` the loss may look at every step.

# %%
paper.verdicts()
