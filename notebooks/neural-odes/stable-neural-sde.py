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
# # Stable Neural Stochastic Differential Equations in Analyzing Irregular Time Series Data
#
# A neural differential equation reads a time series in continuous time, so that gaps and uneven spacing need no
# special treatment. Adding noise makes it a neural *stochastic* differential equation (SDE),
#
# $$\mathrm dz = f_\theta(t, z)\,\mathrm dt + g_\theta(t, z)\,\mathrm dW ,$$
#
# with a hidden state $z(t)\in\mathbb R^d$, a drift $f_\theta$, a diffusion $g_\theta$ and a Brownian motion $W$ (one
# for each component; all equations on this page are in the sense of Itô). It is tempting to make both $f_\theta$ and
# $g_\theta$ unrestricted networks. {cite:t}`oh2024stable` point out three things that may then go wrong: the equation
# may have no strong solution, its noise may destabilise a system whose drift is stable, and the Euler scheme that
# simulates it may blow up although the solution does not. Two of the three can be seen in a single line of
# one-dimensional equations, as the figures below show.
#
# Their remedy is to choose the *form* of the equation such that classical theory applies, and to let networks fill in
# the rest. There are three forms:
#
# $$\begin{aligned}
#   \text{Langevin-type (LSDE):}\quad & \mathrm dz = \gamma(\bar z)\,\mathrm dt + \sigma(t)\,\mathrm dW, \\
#   \text{linear noise (LNSDE):}\quad & \mathrm dz = \gamma(t, \bar z)\,\mathrm dt + \sigma(t)\,z\,\mathrm dW, \\
#   \text{geometric (GSDE):}\quad & \frac{\mathrm dz}{z} = \gamma(t, \bar z)\,\mathrm dt + \sigma(t)\,\mathrm dW .
#   \end{aligned}$$
#
# Products and quotients are componentwise. The diffusion is no longer a free function of the state: $\sigma$ depends
# on time only, and the state enters linearly or not at all. And the drift sees the data. In
# $\bar z(t) = \zeta\bigl(t, z(t), X(t)\bigr)$ the **controlled path** $X$ is an interpolation of the observed values,
# as in neural controlled differential equations {cite:p}`kidger2020neural`, and $\zeta$ is another small network. The
# state starts at $z(0) = h(x_0)$ and an affine map of $z(T)$ is the output.
#
# What does each form buy?
#
# 1. **Langevin.** With $\gamma = -\nabla U$ and constant $\sigma$ the state settles into the Gibbs density
#    $e^{-2U/\sigma^2}$, and if $U$ is convex it forgets where it started, exponentially fast.
# 2. **Linear noise.** Noise proportional to the state *lowers* the growth rate, by $\sigma^2/2$: it can hold together
#    a drift that would explode.
# 3. **Geometric.** The state never changes its sign, and zero is absorbing.
#
# From the second half of point 1 comes the paper's robustness theorem: if the distribution of the inputs is shifted,
# the part of the output's shift that is due to the initial value carries a factor $e^{-cT}$ with the depth $T$. This
# page tests these facts one by one, on equations whose answers are known, with the Euler scheme that the networks
# use. And it trains all classes on irregular time series, and asks whether stability by construction makes better
# classifiers.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
sigmas = [0.0, 0.5, 1.0, 1.5, 2.0]  # noise levels of the linear-noise equation
pairs = 128  # antithetic pairs of paths behind each Lyapunov exponent
langevin_paths = 4000  # paths in the double well
contraction_paths = 4096  # pairs of paths that start from shifted laws
exploding_paths = 20000  # paths of the equation that Euler's scheme cannot handle
missing_rates = [0.3, 0.7]  # shares of values dropped from the time series
members = 3  # data sets and initialisations for every classifier
train_series = 512  # series to train on; 256 more validate, 512 more test
steps = 350  # Adam steps, a multiple of 50
learning_rate = 0.01  # Adam's, the same for all classes
euler_steps = 16  # steps of the classifiers' equations on [0, 1]
other_rates = [0.0, 0.5, 0.8, 0.9]  # shares of values dropped that appear in tests only

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.dynamics import neural_sde
from reprise.dynamics.controlled import NeuralCDE, half_step_slopes
from reprise.dynamics.neural_sde import ControlledSDE, Switches
from reprise.dynamics.stochastic import (
    DiagonalSDE,
    geometric,
    langevin,
    linear_noise,
    lyapunov_exponents,
    solve_on_grid,
)
from reprise.networks.functional import from_vector, initialise
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.fits import decay_rate
from reprise.statistics.wasserstein import sliced_wasserstein
from reprise.tasks.irregular_series import class_posterior, interpolate, oscillations
from reprise.training.loop import fit

use_style()
paper = open_paper("stable-neural-sde", globals())
COLOURS = {
    "naive": PALETTE["red"],
    "no path": PALETTE["grey"],
    "neural ODE": PALETTE["brown"],
    "neural CDE": PALETTE["orange"],
    "LSDE": PALETTE["blue"],
    "LNSDE": PALETTE["green"],
    "GSDE": PALETTE["purple"],
}

# %% [markdown]
# ## The tools
#
# `langevin`, `linear_noise` and `geometric` build the three forms from $\gamma$ and $\sigma$; a free pair of drift
# and diffusion is a `DiagonalSDE`. `solve_on_grid` solves any of them by the Euler-Maruyama scheme
#
# $$z_{n+1} = z_n + f(t_n, z_n)\,h + g(t_n, z_n)\,\Delta W_n, \qquad \Delta W_n\sim N(0, h) .$$
#
# The increments $\Delta W_n$ are an *argument*. That matters more than it seems to: two solutions can be given the
# same noise, which is how stability is defined, and how it is measured without drowning in sampling error.

# %%
rng = np.random.default_rng(seed)


def grid(step, count):
    """Times 0, h, ..., count * h."""
    return np.arange(count + 1, dtype=np.float32) * np.float32(step)


def brownian(step, *shape):
    """Independent increments of Brownian motions over steps of a size."""
    return np.float32(step**0.5) * rng.standard_normal(shape, dtype=np.float32)


# %% [markdown]
# ## The networks
#
# The task: series of 40 points on $[0, 1]$ with two channels, $(\cos\varphi, \sin\varphi)$ plus noise of standard
# deviation 0.2. The phase $\varphi$ starts anywhere and moves slowly, fast, or with acceleration: $2\pi t$,
# $2\pi\cdot 2t$ or $2\pi(0.25t + 1.25t^2)$ is added. A single point says nothing about the class. From each channel,
# 30% or 70% of the values are dropped at random, and the path $X$ is the linear interpolation of what is left.

# %%
SERIES, HELD_OUT, DIM, HIDDEN = train_series + 768, 256, 12, 20
euler_times = np.linspace(0, 1, euler_steps + 1, dtype=np.float32)


def classification_data(missing, member, count=SERIES):
    """Series interpolated to the Euler times [times, series, channels], their labels, and the series themselves."""
    source = np.random.default_rng([seed, member, round(1000 * missing)])
    series = oscillations(source, count, missing=missing)
    path = interpolate(series.times, series.values, euler_times)
    return np.swapaxes(path, 0, 1).astype(np.float32), series.labels, series


def table_of_all(rates, count):
    """Paths and labels of all members at several missing rates, [rates, members, ...], and lists of their series."""
    sets = [[classification_data(rate, k, count) for k in range(members)] for rate in rates]
    paths, labels = (np.array([[one[i] for one in row] for row in sets]) for i in (0, 1))
    return paths, labels, [[one[2] for one in row] for row in sets]


drivers, labels, data = table_of_all(missing_rates, SERIES)

# %% tags=["hide-input"] mystnb={"image": {"alt": "One series of each class with its remaining observations and the linear interpolation through them, at the largest missing rate."}}
fig, axes = plt.subplots(1, 3, sharey=True, figsize=(7.6, 2.6))
shown = data[-1][0]
for c, (ax, title) in enumerate(zip(axes, ("slow", "fast", "accelerating"), strict=True)):
    k = np.flatnonzero(shown.labels == c)[0]
    dense = np.linspace(0, 1, 200)
    curve = interpolate(shown.times, shown.values[k : k + 1], dense)[0]
    for channel, colour in enumerate((PALETTE["blue"], PALETTE["orange"])):
        ax.plot(dense, curve[:, channel], color=colour, alpha=0.6)
        ax.plot(shown.times, shown.values[k, :, channel], "o", ms=4, color=colour)
    ax.set(title=title, xlabel="time $t$")
axes[0].set_ylabel(f"{missing_rates[-1]:.0%} missing")
plt.show()

# %% [markdown]
# One series of each class, with both channels' remaining values and the path through them.
#
# The classifiers are `ControlledSDE`s. All have the same networks: $h$ and the readout affine, $\gamma$, $\zeta$ and
# the diffusion perceptrons with one hidden layer of 20 units. What differs are a few *switches*:
#
# | | drift sees the path | time in the drift | diffusion |
# |---|---|---|---|
# | naive | yes | yes | free network $g(t, z)$ |
# | naive, no path | no | yes | free network $g(t, z)$ |
# | LSDE | yes | no | $\sigma(t)\in(0, 1)$ |
# | LNSDE | yes | yes | $\sigma(t)\,z$ |
# | GSDE | yes | yes, and times $z$ | $\sigma(t)\,z$ |
# | neural ODE | yes | yes | none |
#
# The geometric class cannot start at zero, so it starts at $e^{h(x_0)}$ and is read out through $\log|z|$.
#
# The row that decides is the first. In the code that the authors published, the model called naive neural SDE has a
# drift that sees *no* path ([`neuralsde_1_18`](https://github.com/yongkyung-oh/Stable-Neural-SDEs) in its list). On a
# task like this one such a model knows the first point only and must guess. Compared with it, any model with a path
# wins, however its noise is made. To learn what the *stable form* is worth, the baseline must have the same path.
#
# There is one more rival, and it uses the path in another way. In a **neural controlled differential equation**
# {cite:p}`kidger2020neural` the path does not enter the drift, it *drives* the state:
#
# $$\mathrm dz = F_\theta(z)\,\mathrm dX, \qquad X(t) = \bigl(t, x_1(t), x_2(t)\bigr),$$
#
# where $F_\theta(z)$, again a perceptron with 20 hidden units, is a matrix of 12 rows and 3 columns. The `NeuralCDE`
# gets the same values at the same times, joined by a cubic spline because it needs their derivative.
#
# Two more numbers are needed to judge an accuracy. Guessing gives one third. And the best that *anybody* could do
# follows from Bayes' rule: the law of the data is known, so `class_posterior` computes the probability of each class
# given the values that are left, with the unknown initial phase integrated out.
#
# Training: Adam, gradients clipped at norm 1, one learning rate for all, batches of 32; a fresh Brownian path for every
# series in every step. Since switches are data, all SDEs and the ODE share one compiled program. Training takes longer
# than everything else on this page, so it runs in the background while we look at the theory. (Only the model without
# a path is stopped early. What it sees is independent of the class, and it can learn nothing.)

# %%
BATCH = 32  # series in a training step
LOOK = 50  # steps between two looks at the validation series
LIGHT = {"xla_backend_optimization_level": 1, "xla_cpu_parallel_codegen_split_count": 1}
noise_rng = np.random.default_rng([seed, 7])
scale = np.float32(euler_steps**-0.5)
standard = partial(noise_rng.standard_normal, dtype=np.float32)
train_noise = scale * standard((members, steps, euler_steps, BATCH, DIM))
test_noise = scale * standard((members, euler_steps, HELD_OUT, DIM))
batches = noise_rng.integers(0, train_series, (members, steps, BATCH))
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))


def derivatives(paths):
    """What a neural CDE needs of paths [times, series, 2]: the start of (t, x), then its slopes at all half steps."""
    clock = np.broadcast_to(euler_times[:, None, None], (*paths.shape[:2], 1))
    timed = np.concatenate([clock, paths], axis=-1)
    each = np.broadcast_to(euler_times, (paths.shape[1], len(euler_times)))
    slopes = half_step_slopes(each, np.swapaxes(timed, 0, 1), euler_steps)
    return np.concatenate([timed[:1], slopes]).astype(np.float32)


KINDS = {  # module; its logits for a table of the path; the table, made from the path at the Euler times
    "SDE": (
        lambda rngs: ControlledSDE(2, DIM, HIDDEN, 3, rngs=rngs),
        lambda model, switches, table, dw: model(switches, table, euler_times, dw),
        lambda paths: paths[:-1],
    ),
    "CDE": (
        lambda rngs: NeuralCDE(3, DIM, HIDDEN, 3, rngs=rngs),
        lambda model, switches, table, dw: model(table[0], table[1:]),
        derivatives,
    ),
}


def programs(kind):
    """Compile a kind of network: functions that train it for `LOOK` steps, and that answer; and all starts."""
    make, logits, tabulate = KINDS[kind]
    network, params = initialise(make, np.random.default_rng([seed, 8]), members)
    shapes = jax.tree.map(lambda leaf: leaf[0], params)

    def apply(vector, *inputs):
        return logits(partial(network, from_vector(shapes, vector)), *inputs)

    def train(vector, state, switches, table, labels, batches, noise):
        def loss(vector, key, now):
            chosen, dw = now
            scores = apply(vector, switches, table[:, chosen], dw)
            return optax.softmax_cross_entropy_with_integer_labels(
                scores, labels[chosen]
            ).mean()

        inputs = (batches, noise)
        key = jax.random.key(0)
        vector, history = fit(loss, vector, optimizer, key, LOOK, inputs=inputs, state=state)
        return vector, history["state"]

    def answer(vector, switches, table, noise):
        return apply(vector, switches, table, noise).argmax(-1)

    leaves = [leaf.reshape(members, -1) for leaf in jax.tree.leaves(params)]
    vector = np.concatenate(leaves, axis=1)
    zeros = lambda leaf: np.zeros((members, *leaf.shape), leaf.dtype)
    state = jax.tree.map(zeros, jax.eval_shape(optimizer.init, vector[0]))  # as Adam's is
    table = np.stack([tabulate(one) for one in drivers[0]])
    first, few = (vector, state), table[:, :, :HELD_OUT]
    off = Switches(*map(np.float32, Switches()))
    lower = lambda function, axes, *inputs: jax.jit(
        jax.vmap(function, axes), compiler_options=LIGHT
    ).lower(*inputs)
    step = lower(
        train, (0, 0, None, 0, 0, 0, 0), *first, off, table, labels[0], batches[:, :LOOK], train_noise[:, :LOOK]
    )  # fmt: skip
    reply = lower(answer, (0, None, 0, 0), vector, off, few, test_noise)
    return step.compile(), reply.compile(), first


def perform(kind, switches, rate, until=steps):
    """Train the members of one class at one missing rate.

    Returns which validation series are answered right after every `LOOK` steps [looks, members, series], which test
    series in the end, and which of the series with other gaps than in training [rates, members, series].
    """
    train, answer, (vector, state) = compiled[kind].result()
    tabulate = KINDS[kind][2]
    switches = Switches(*map(np.float32, switches))
    table = np.stack([tabulate(one) for one in drivers[rate]])
    right = lambda table, labels: (
        np.asarray(answer(vector, switches, table, test_noise)) == labels
    )
    held_out = [slice(at, at + HELD_OUT) for at in range(train_series, SERIES, HELD_OUT)]
    validated = []
    for now in (slice(at, at + LOOK) for at in range(0, until, LOOK)):
        vector, state = train(
            vector, state, switches, table, labels[rate], batches[:, now], train_noise[:, now]
        )
        validated.append(right(table[:, :, held_out[0]], labels[rate][:, held_out[0]]))
    tested = [right(table[:, :, part], labels[rate][:, part]) for part in held_out[1:]]
    shifted = [
        right(np.stack([tabulate(one) for one in other]), truth)
        for other, truth in zip(other_drivers, other_labels, strict=True)
    ]
    return np.array(validated), np.concatenate(tested, axis=-1), np.array(shifted)


last = len(missing_rates) - 1
every_rate = range(len(missing_rates))
other_drivers, other_labels, other_data = table_of_all(other_rates, HELD_OUT)
stable = {
    "LSDE": neural_sde.LANGEVIN,
    "LNSDE": neural_sde.LINEAR_NOISE,
    "GSDE": neural_sde.GEOMETRIC,
}
classes = {
    "naive": ("SDE", neural_sde.NAIVE),
    **{name: ("SDE", form) for name, form in stable.items()},
    "neural CDE": ("CDE", Switches()),
    "neural ODE": ("SDE", neural_sde.NOISELESS),
}
pool = ThreadPoolExecutor(2)
compiled = {kind: pool.submit(programs, kind) for kind in KINDS}
jobs = {(name, rate): (*classes[name], rate) for rate in every_rate for name in classes}
jobs["no path", last] = ("SDE", neural_sde.NAIVE._replace(path=0.0), last, 2 * LOOK)
outcome = {job: pool.submit(perform, *arguments) for job, arguments in jobs.items()}

# %% [markdown]
# ## Noise that stabilises
#
# Take the linear equation $\mathrm dz = a z\,\mathrm dt + \sigma z\,\mathrm dW$ with $a = 0.5$. Without noise it
# grows like $e^{t/2}$. Itô's formula for $\log|z|$ has a second-derivative term, $-\frac12\sigma^2$, so that
#
# $$\log|z(t)| = \log|z_0| + \Bigl(a - \frac{\sigma^2}{2}\Bigr)t + \sigma W(t), \;\;
#   \frac1t\log|z(t)| \;\to\; a - \frac{\sigma^2}{2}\quad\text{almost surely.}$$
#
# Beyond $\sigma = 1$ every path decays, even though the *mean* $\mathbb E z(t) = z_0e^{at}$ still grows: it is
# carried by ever rarer and ever larger excursions.
#
# We do not use this formula to simulate. `lyapunov_exponents` takes Euler steps on $z$ itself. Whenever $z$ has grown or
# shrunk a millionfold it is scaled back to one and the logarithm added to a sum, or else $z$ would leave the range of
# floating-point numbers. Each path has a twin with the opposite noise, so that $\sigma W(T)/T$ cancels in the mean.

# %%
LYAPUNOV_STEP, LYAPUNOV_STEPS, GROWTH = 1e-3, 50_000, 0.5


@jax.jit
def exponents(sigma, times, dw):
    """Lyapunov exponents [sigmas, 2, pairs] of dz = a z dt + sigma z dW."""
    sde = linear_noise(lambda t, z, x: GROWTH * z, lambda t: sigma[:, None, None, None])
    antithetic = jnp.stack([dw, -dw], axis=1)[:, None, ..., None]
    start = jnp.ones((len(sigma), 2, dw.shape[1], 1))
    return lyapunov_exponents(sde, start, times, antithetic)


sigma = np.array(sigmas, np.float32)
times = grid(LYAPUNOV_STEP, LYAPUNOV_STEPS)
by_path = np.asarray(exponents(sigma, times, brownian(LYAPUNOV_STEP, LYAPUNOV_STEPS, pairs)))
measured = by_path.mean((1, 2), dtype=float)
errors = np.abs(measured - (GROWTH - sigma**2 / 2))
paper.report("linear-noise-lyapunov", errors.max(), samples=errors)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Measured Lyapunov exponents of the linear-noise equation lie on the parabola one half minus sigma squared over two, which crosses zero at sigma equal to one; single paths scatter around it."}}
fig, ax = plt.subplots(figsize=(6.2, 3.4))
fine = np.linspace(0, max(sigmas), 100)
ax.plot(fine, GROWTH - fine**2 / 2, color=THEORY, ls="--", label=r"$a - \sigma^2/2$")
ax.axhline(0, color=PALETTE["grey"], lw=1)
for s, paths in zip(sigmas, by_path, strict=True):
    low, high = np.quantile(paths, (0.05, 0.95))
    ax.plot([s, s], [low, high], color=COLOURS["LNSDE"], alpha=0.35, lw=6)
ax.plot(sigmas, measured, "o", color=COLOURS["LNSDE"], label="Euler-Maruyama, mean")
ax.plot([], [], color=COLOURS["LNSDE"], alpha=0.35, lw=6, label="90% of the paths")
ax.set(xlabel=r"noise level $\sigma$", ylabel="growth rate of $|z|$ (1/time)")
ax.legend()
plt.show()

# %% [markdown]
# The dots sit on the parabola and cross zero at $\sigma = 1$. At finite $T$ single paths scatter by $\sigma/\sqrt T$,
# as the bars show. The largest error belongs to the largest $\sigma$, and is not chance: Euler's scheme replaces
# $e^{x}$ by $1 + x$ in every step, and its own exponent is lower by about
# $h\,(\frac12a^2 - a\sigma^2 + \frac34\sigma^4)$, that is, some 0.01 at $\sigma = 2$ with this step.
#
# ## Settling into the Gibbs density
#
# For $\mathrm dz = -U'(z)\,\mathrm dt + \sigma\,\mathrm dW$ the density $p(t, z)$ obeys the Fokker-Planck equation
# $\partial_tp = \partial_z\bigl(U'p + \frac{\sigma^2}2\partial_zp\bigr)$. The bracket vanishes for
# $p\propto e^{-2U/\sigma^2}$, whatever the potential. The test is a double well, $U = (z^2-1)^2$ with $\sigma = 1$,
# where nothing is Gaussian and paths must climb over a barrier. Second moments alone would be a weak test (they
# hardly tell $e^{-2U}$ from $e^{-U}$), so the claim takes the worst of $\mathbb Ez^2$, $\mathbb Ez^4$ and the
# probability of being near the barrier, $P(|z|<\frac12)$.

# %%
WELL_STEP, BLOCK, BURN, SNAPSHOTS = 0.0025, 160, 10, 50
well = langevin(lambda z, x: -4 * z * (z**2 - 1), lambda t: 1.0)
advance = jax.jit(partial(solve_on_grid, well, save=None))

z, snapshots = rng.standard_normal(langevin_paths, dtype=np.float32), []
for block in range(BURN + SNAPSHOTS):  # 0.4 units of time each
    z, _ = advance(z, grid(WELL_STEP, BLOCK), brownian(WELL_STEP, BLOCK, langevin_paths))
    if block >= BURN:
        snapshots.append(np.asarray(z, float))
snapshots = np.stack(snapshots)

axis = np.linspace(-3, 3, 6001)
gibbs = np.exp(-2 * (axis**2 - 1) ** 2)
gibbs /= gibbs.sum() * (axis[1] - axis[0])
tests = [np.square, lambda z: z**4, lambda z: np.abs(z) < 0.5]
exact = np.array([np.average(test(axis), weights=gibbs) for test in tests])
simulated = np.array([test(snapshots).mean() for test in tests])
print("E z^2, E z^4, P(|z| < 1/2): simulated", simulated.round(4), "exact", exact.round(4))
relative = np.abs(simulated / exact - 1)
paper.report("langevin-stationary", relative.max(), samples=relative)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Histogram of the simulated double-well process with two humps, which the Gibbs density with exponent minus two U fits and the density with exponent minus U does not."}}
fig, ax = plt.subplots(figsize=(6.2, 3.2))
ax.hist(
    snapshots.ravel(),
    bins=np.linspace(-2, 2, 81),
    density=True,
    color=COLOURS["LSDE"],
    alpha=0.5,
    edgecolor="none",
    label="Euler-Maruyama",
)
ax.plot(axis, gibbs, color=THEORY, ls="--", label=r"$\propto e^{-2U/\sigma^2}$")
other = np.exp(-((axis**2 - 1) ** 2))
other /= other.sum() * (axis[1] - axis[0])
ax.plot(axis, other, color=PALETTE["grey"], ls=":", label=r"$\propto e^{-U/\sigma^2}$")
ax.set(xlabel="state $z$", ylabel="density", xlim=(-2, 2), ylim=(0, 1.25 * gibbs.max()))
ax.legend(loc="upper center", ncols=3)
plt.show()

# %% [markdown]
# All paths started from a Gaussian around zero and ended in the two wells with the right proportions in between. The
# dotted curve is there because the factor 2 in the exponent is easily lost: in physics the noise is often written
# $\sqrt{2\sigma}\,\mathrm dW$.
#
# ## Forgetting where it started
#
# Give two solutions the same noise. In the Langevin class the noise drops out of their difference $\Delta$,
# $\mathrm d\Delta = -\bigl(\nabla U(z) - \nabla U(z')\bigr)\,\mathrm dt$, and if all eigenvalues of the Hessian of
# $U$ lie between $m > 0$ and $M$,
#
# $$e^{-Mt}\,|\Delta_0| \;\le\; |\Delta_t| \;\le\; e^{-mt}\,|\Delta_0| .$$
#
# Averaging over a coupling of two initial laws bounds the Wasserstein distance $W_1$ between the laws at time $t$: a
# shift of the inputs is forgotten at a rate of at least $m$. This is the engine of the robustness theorem. In the
# linear-noise class noise remains, but it multiplies $\Delta$ and has mean zero, so that $\mathbb E|\Delta_t|$ obeys
# the same bound; in the geometric class $\log|z|$ takes the place of $z$.
#
# The potential is $U = \frac12z^2 + \frac12\cos z$, with $m = \frac12$ and $M = \frac32$. Initial values are drawn
# from $N(0, 4)$, and once more shifted by 1. For the geometric class, $\gamma = \tanh(1 - z^2)$ and lognormal initial
# values. In each case $W_1$ is that of the two samples: sort both, and average the distances.

# %%
SHIFT_STEP, SHIFT_STEPS, EVERY, LOWER, UPPER = 0.01, 600, 10, 0.5, 1.5
slope = lambda z: -(z - 0.5 * jnp.sin(z))
contracting = {
    "LSDE": langevin(lambda z, x: slope(z), lambda t: 1.0),
    "LNSDE": linear_noise(lambda t, z, x: slope(z), lambda t: 0.5),
    "GSDE": geometric(lambda t, z, x: jnp.tanh(1 - z**2), lambda t: 0.5),
}


@jax.jit
def shifted(starts, times, dw):
    """Both samples of every class at multiples of 0.1: [times, 2, paths]."""
    run = lambda sde, z: solve_on_grid(sde, jnp.stack([z, z + 1]), times, dw)[1]
    return {
        name: run(sde, starts[name])[EVERY - 1 :: EVERY] for name, sde in contracting.items()
    }


gauss = 2 * rng.standard_normal(contraction_paths, dtype=np.float32)
starts = {"LSDE": gauss, "LNSDE": gauss, "GSDE": np.exp(gauss / 4)}
depth = grid(SHIFT_STEP * EVERY, SHIFT_STEPS // EVERY)[1:]
samples = jax.device_get(
    shifted(
        starts,
        grid(SHIFT_STEP, SHIFT_STEPS),
        brownian(SHIFT_STEP, SHIFT_STEPS, contraction_paths),
    )
)
line = np.ones((1, 1))
distance = {
    name: np.array(
        [sliced_wasserstein(one[:, None], two[:, None], line, 1) for one, two in values]
    )
    for name, values in samples.items()
}
rate = {name: float(decay_rate(depth, values, np.inf)) for name, values in distance.items()}
print("rates over m:", {name: round(value / LOWER, 2) for name, value in rate.items()})
paper.report("shift-forgotten-exponentially", rate["LSDE"] / LOWER)

# %% tags=["hide-input"] mystnb={"image": {"alt": "On a logarithmic axis the Wasserstein distances of three classes fall along nearly straight lines with depth T, the Langevin class between the two bounds."}}
fig, ax = plt.subplots(figsize=(6.6, 3.5))
for name, values in distance.items():
    ax.semilogy(np.r_[0, depth], np.r_[1, values], color=COLOURS[name], label=name)
ax.fill_between(
    depth, np.exp(-UPPER * depth), np.exp(-LOWER * depth), color=THEORY, alpha=0.08, lw=0
)
ax.plot(depth, np.exp(-LOWER * depth), color=THEORY, ls="--", label="$e^{-mT}$")
ax.plot(depth, np.exp(-UPPER * depth), color=THEORY, ls=":", label="$e^{-MT}$")
ax.set(xlabel="depth $T$ (time)", ylabel="$W_1$ after a shift by 1", ylim=(5e-4, 1.3))
ax.legend(ncols=2, loc="lower left")
plt.show()

# %% [markdown]
# Straight lines on a logarithmic axis: the shift is forgotten exponentially. The Langevin curve runs between the
# bounds, closer to the slow one, because its stationary law has much of its weight around $z = 0$ where the potential
# is least convex. The linear-noise class ends up parallel to $e^{-mT}$: its state itself goes to zero, where the
# curvature is exactly $m$. (The shaded region is a theorem for these two classes; the geometric curve has another
# equation and just happens to be faster.)
#
# ## An equation that Euler's scheme cannot solve
#
# Now an unrestricted pair, $\mathrm dz = -z^3\,\mathrm dt + z^2\,\mathrm dW$. Its solutions are harmless. Itô's
# formula gives
#
# $$|z_t| = |z_0|\;e^{M_t - \frac12\langle M\rangle_t}\;e^{-\langle M\rangle_t}, \qquad
#   M_t = \int_0^t z\,\mathrm dW,\quad \langle M\rangle_t = \int_0^t z^2\,\mathrm dt ,$$
#
# where the first exponential has mean at most one and the second is below one: $\mathbb E|z_t|\le\mathbb E|z_0|$.
# Euler's scheme computes $z_{n+1} = z_n\,(1 - hz_n^2 + z_n\Delta W_n)$. Once $hz^2 > 2$ the step overshoots zero and
# lands further out than it began, the next one overshoots by more, and a few steps later the number is infinite. With
# $h = 0.1$ this needs only $|z| > 4.5$, and the Gaussian noise brings every step some chance to get there
# {cite:p}`hutzenthaler2011strong`.
#
# Beside it, with the same noise and the same step: the geometric equation with bounded coefficients,
# $\mathrm dz = z\bigl(\tanh(1 - z^2)\,\mathrm dt + \frac12\cos z\,\mathrm dW\bigr)$, solved on $z$ itself. It too
# could fail, by changing its sign: a factor $1 + \gamma h + \sigma\Delta W$ can be negative. With coefficients
# bounded by 1 and $\frac12$ that takes a noise of more than five standard deviations.

# %%
BIG_STEP, BIG_STEPS = 0.1, 100
unrestricted = DiagonalSDE(lambda t, z, x: -(z**3), lambda t, z, x: z**2)
bounded = DiagonalSDE(
    lambda t, z, x: z * jnp.tanh(1 - z**2), lambda t, z, x: 0.5 * z * jnp.cos(z)
)


@jax.jit
def both(z0, times, dw):
    """Paths [steps, paths] of the unrestricted and of the geometric equation."""
    return tuple(solve_on_grid(sde, z0, times, dw)[1] for sde in (unrestricted, bounded))


z0 = 3 * rng.standard_normal(exploding_paths, dtype=np.float32)
naive_paths, stable_paths = map(
    np.asarray,
    both(z0, grid(BIG_STEP, BIG_STEPS), brownian(BIG_STEP, BIG_STEPS, exploding_paths)),
)


def lost(paths):
    """Which paths leave the range, or stop being numbers, at any time."""
    return ~(np.abs(paths) < 1e6).all(0)


exploded = lost(naive_paths)
flipped = (np.sign(stable_paths) != np.sign(z0)).any(0)
failed = lost(stable_paths) | flipped
print(f"lost: {exploded.mean():.4f} unrestricted, {failed.mean():.4f} geometric")
print(
    f"of the first, {np.mean(np.abs(z0[exploded]) < (2 / BIG_STEP) ** 0.5):.0%} started inside |z| < sqrt(2/h)"
)
paper.report("naive-explodes", exploded.mean() - failed.mean())

# %% tags=["hide-input"] mystnb={"image": {"alt": "Sample paths of the unrestricted equation, several of which oscillate with growing size and leave the figure, beside paths of the geometric equation, which settle at plus or minus a constant with noise."}}
fig, axes = plt.subplots(1, 2, sharex=True, figsize=(7.6, 3.4))
clock = grid(BIG_STEP, BIG_STEPS)
for ax, paths, gone, name in zip(
    axes, (naive_paths, stable_paths), (exploded, failed), ("naive", "GSDE"), strict=True
):
    for k in np.flatnonzero(~gone)[:12]:
        ax.plot(clock, np.r_[z0[k], paths[:, k]], color=COLOURS[name], alpha=0.4, lw=1)
    for k in np.flatnonzero(gone)[:4]:
        ax.plot(clock, np.clip(np.r_[z0[k], paths[:, k]], -1e8, 1e8), color=THEORY, lw=1.3)
    ax.set(xlabel="time $t$", yscale="symlog", xlim=(0, 4), ylim=(-1e4, 1e4))
    ax.set_yticks([-1e4, -1e2, -1, 1, 1e2, 1e4])
axes[0].set(
    ylabel="state $z$", title=r"$-z^3\,\mathrm{d}t + z^2\,\mathrm{d}W$, Euler $h = 0.1$"
)
axes[1].set_title("geometric, same noise and step")
plt.show()

# %% [markdown]
# *Left*, red: twelve paths that stay, which creep towards zero; black: four that do not. Most of these last only a
# few steps. The scale is linear between $-1$ and 1 and logarithmic beyond. *Right*: the geometric equation from the
# same starts. No path leaves, and none crosses zero.
#
# Exploding in this way is a failure of the *discretisation*. A smaller step postpones it ($|z|$ must exceed
# $\sqrt{2/h}$) and a tamed scheme would cure it; the paper's point is that coefficients of linear growth never need
# the cure.
#
# ## Does it make better classifiers?
#
# Now to the networks that have been training in the background.

# %%
finished = {job: future.result() for job, future in outcome.items()}
pool.shutdown()
learning, test, shift = (
    {job: run[i].mean(-1) for job, run in finished.items()} for i in range(3)
)
validation = {job: curve[-1] for job, curve in learning.items()}
accuracy = {
    name: np.array([test[name, r] for r in every_rate]) for name in classes
}  # [rates, members]
bayes = lambda sets: np.array(
    [[np.mean(class_posterior(one).argmax(1) == one.labels) for one in row] for row in sets]
)
ceiling, other_ceiling = bayes(data), bayes(other_data)  # [rates, members]
print(
    "test accuracy at      "
    + "  ".join(f"{rate:.0%} missing  " for rate in missing_rates)
    + "  lost"
)
for name, values in {**accuracy, "Bayes' rule": ceiling}.items():
    row = "  ".join(f"{v.mean():.3f} ± {v.std() / members**0.5:.3f}" for v in values)
    print(f"{name:>14}        {row}  {(values[0] - values[-1]).mean():.3f}")
print("naive, no path" + " " * 23 + f"{test['no path', last].mean():.3f}")
best = max(stable, key=lambda name: np.mean([validation[name, r] for r in every_rate]))
gain = accuracy[best] - accuracy["naive"]
print(f"best stable class by validation: {best}")
paper.report("classification-under-missingness", gain.mean(), samples=gain)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: validation accuracy over Adam steps with most values missing; the neural CDE is ahead from the start and levels off first, the others rise together, the geometric class last, and the naive model without a path stays at one third. Right: test accuracies at both missing rates, close together except for the geometric class, below the dashed optimum."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.2), width_ratios=(1, 1.1))
looks = LOOK * np.arange(1, steps // LOOK + 1)
for name in (*classes, "no path"):
    label = "naive, no path" if name == "no path" else name
    curve = learning[name, last].mean(1)
    left.plot(looks[: len(curve)], curve, "o-", ms=3.5, color=COLOURS[name], label=label)
left.plot([], [], "--", color=THEORY, label="Bayes' rule")
left.set(xlabel="Adam step", ylabel="validation accuracy", ylim=(0.28, 1.02))
left.set_title(f"{missing_rates[-1]:.0%} missing")
middle = np.arange(len(missing_rates))
for i, (name, values) in enumerate(accuracy.items()):
    at = middle + 0.14 * (i - (len(accuracy) - 1) / 2)
    single = at[:, None] + 0.025 * (np.arange(members) - (members - 1) / 2)
    right.plot(single.ravel(), values.ravel(), "o", ms=4, color=COLOURS[name], alpha=0.5)
    right.plot(at, values.mean(1), "_", ms=13, mew=3, color=COLOURS[name])
right.hlines(ceiling.mean(1), middle - 0.45, middle + 0.45, color=THEORY, ls="--")
right.set_xticks(middle, [f"{rate:.0%}" for rate in missing_rates])
right.set(xlabel="values missing, in training and test", ylabel="test accuracy")
right.grid(axis="x", visible=False)
fig.legend(*left.get_legend_handles_labels(), ncols=4, loc="outside upper center")
plt.show()

# %% [markdown]
# *Left*: how the classes learn, means over the runs, with most values missing. *Right*: accuracies in the end, for both
# missing rates; dots are runs, bars their means, and the dashed line is what Bayes' rule achieves.
#
# **The path is what matters.** Without it the naive model stays at one third. With it, it answers nearly every series
# right.
#
# **The forms learn alike.** LSDE, LNSDE, the naive SDE and the neural ODE rise together. Halfway one of them may be
# ahead by several points (which one depends on the seed; the naive model is seldom the first), and a comparison that
# stops there finds a gain. In the end the best stable class is ahead by about one point on average, which is the size
# of the spread between runs. The claim asked for three: *not reproduced*. Nor does the accuracy that is lost from the
# smaller to the larger missing rate differ by more. And a neural ODE, with no noise at all, does as well: on this task
# noise neither helps nor hurts by much.
#
# **Is there room for three points?** Not at 30%: there the naive model is within a point or two of the optimum, so that
# an average of three over both rates takes some five at 70%. There the room exists. Bayes' rule makes hardly a mistake,
# and all models leave some 4% of the series unsolved, or more. The room is not filled.
#
# **The geometric class is the slowest to train.** Its state starts as an exponential of the data, and a drift that is
# multiplied by $z$ has gradients that grow with it. In the same number of steps it gets least far.
#
# **The neural CDE is the quickest, and levels off first.** It is driven by *increments* of the path. How fast the phase
# moves, which is all that tells the classes apart, is given to it, where an SDE has to learn to compare. But increments
# are also where noise counts most, and with few values left it ends below the rest.
#
# Note that the naive model has not exploded here. Its perceptrons grow linearly at most, the equation is short, and
# gradients are clipped; the danger that the section before shows needs coefficients that grow faster, or longer times.
#
# So far the gaps in the test are like those in training. The paper's theorem is about the other case, inputs whose law
# has *shifted*. So the models trained at the largest missing rate now answer series with more and with fewer gaps than
# they have ever seen.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: accuracy of models trained with seventy percent missing against the missing rate in the test; level below seventy percent, then falling steeply for all classes, far below the dashed optimum. Right: differences to the naive model, within a few points of zero."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.2))
rates = np.array([*other_rates, missing_rates[-1]])
order = np.argsort(rates)
over = {
    name: np.concatenate([shift[name, last], test[name, last][None]])[order] for name in classes
}
percent = 100 * rates[order]
for name, values in over.items():
    left.plot(percent, values.mean(1), "o-", ms=4, color=COLOURS[name], label=name)
    if name in ("LSDE", "LNSDE", "neural ODE"):
        more = 100 * (values - over["naive"])
        error = more.std(1, ddof=1) / members**0.5
        nudged = percent + {"LSDE": -0.8, "LNSDE": 0, "neural ODE": 0.8}[name]
        right.errorbar(nudged, more.mean(1), error, marker="o", ms=4, color=COLOURS[name])
best_possible = np.concatenate([other_ceiling, ceiling[-1:]])[order].mean(1)
left.plot(percent, best_possible, "--", color=THEORY, label="Bayes' rule")
left.set(xlabel="values missing in the test (%)", ylabel="test accuracy")
left.set_title(f"trained with {missing_rates[-1]:.0%} missing")
right.axhline(0, color=COLOURS["naive"])
right.axhline(3, color=THEORY, ls=":", lw=1.2, label="gain that the claim asks for")
right.margins(y=0.15)
right.legend(loc="upper left")
right.set(xlabel="values missing in the test (%)", ylabel="accuracy above naive (points)")
fig.legend(*left.get_legend_handles_labels(), ncols=4, loc="outside upper center")
plt.show()

# %% [markdown]
# *Left*: with fewer gaps than in training nearly all is well. (The neural CDE is the exception. Its path has become
# rougher, as every noisy value that is no longer missing adds a kink, and with the path its derivative.) With more gaps
# all fall steeply, to about one half, where Bayes' rule is still right more than nine times out of ten. That is what
# interpolation and training on one rate cost, and no form of noise makes up for it.
#
# *Right*: what the stable forms are worth, run by run against the naive model on the same data (means and standard
# errors of three runs, so that two of these from zero is no rarity). No pattern repeats from seed to seed, neither
# where gaps are few nor, as the theorem might suggest, where they are many. Training with 80% and 90% missing, where there is
# more room still, brings none out either (see below).
#
# What this page can confirm of the paper's comparison is the large difference, between models with a path and without.
#
# ## What differs from the paper
#
# - **The baseline.** The paper's tables compare whole models, and their naive neural SDE lacks the controlled path
#   (an ablation there looks at the path separately). Ours has it, so that the comparison is of the forms alone.
# - **Data.** One family of synthetic series stands in for 30 archives of recorded ones, and two missing rates for
#   four. With three runs a cell the means are known to about one point.
# - **Tuning.** All models share one learning rate and 350 steps of 32 series. The paper searches over sizes and rates
#   for each data set and trains with early stopping. A gain that shows up in the speed of training could look like one
#   in accuracy there, or here.
# - **Interpolation** is linear here, cubic Hermite or spline in the paper. Our neural CDE follows the spline through
#   the values that the other models see, and is solved by the classical Runge-Kutta method in as many steps.
# - **The theorem's constants** are not tested, only its exponential factor, and that for given potentials. Nothing
#   forces a *trained* $\gamma$ to be the gradient of a convex potential: the guarantee speaks about the class under
#   further assumptions.
# - **Strong solutions.** That an unrestricted equation may have none is a matter of continuity of the coefficients,
#   which a simulation on a grid cannot show.
# - What an equation costs its solver is a different kind of stability; {doc}`opening-the-blackbox` trains for that.
#
# ## Things to try
#
# - `reprise sweep stable-neural-sde -p steps=100,150,300,600 -p seed=0..4`: how the gain in the last claim comes and
#   goes while the classes learn, and how it scatters.
# - `reprise run stable-neural-sde -p missing_rates "[0.8, 0.9]"`: training where there is more room. At 90% four values
#   a channel remain.
# - `reprise run stable-neural-sde -p train_series 128`: less data to learn from.
# - `reprise run stable-neural-sde -p sigmas "[1.0, 3.0, 4.0]"`: at $\sigma = 4$ Euler's exponent is off by more than
#   0.1 and the first claim fails. The equation is still what the theory says; the step is too long for it.
# - `reprise sweep stable-neural-sde -p euler_steps=10,20,60`: the same classifiers on coarser and finer grids.

# %%
paper.verdicts()
