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
# # Grokking as the Transition from Lazy to Rich Training Dynamics
#
# A network **groks** when it fits its training set early and understands it late: the training loss falls, nothing
# seems to happen for a long time, and then the test loss falls too {cite:p}`power2022grokking`. Many explanations
# start from weight decay or from the norm of the weights {cite:p}`liu2023omnigrok`. {cite:t}`kumar2023grokking`
# propose one that needs neither.
#
# A network whose output is multiplied by a large factor $\alpha$ can change its output a lot by moving its weights a
# little. Such a network is *lazy* {cite:p}`chizat2019lazy`: at first it does regression with the features it was born
# with, that is with its initial tangent kernel ({doc}`neural-tangent-kernel`). If these features suit the training
# set but not the task, the training loss falls and the test loss stalls. But the features do move, slowly. Once they
# have turned towards the task, the test loss falls as well. Grokking is the delay between these two phases, and it
# should have two dials:
#
# - the **output scale** $\alpha$, which sets how slowly features move compared with the fit, and
# - the **alignment** $\epsilon$ of the initial kernel with the task: the worse it is, the more there is left to learn
#   after the fit.
#
# The paper's trick is a network so small that all of this can be followed with pencil and paper, and still groks.
#
# ## The model
#
# **Task.** Inputs $x\sim\mathcal N(0, I_D/D)$ in $D$ dimensions; the target is the square of one hidden direction,
# $y(x) = \tfrac12(\beta^\top x)^2$ with $\lVert\beta\rVert^2 = D$. There are $P$ training samples and no noise. A
# method that has found the direction needs of the order of $D$ samples; one that treats all $D(D+1)/2$ products
# $x_i x_j$ as separate features needs as many samples as there are products. Grokking lives between the two.
#
# **Network.** $N$ hidden units with weights $w_i$, drawn from $\mathcal N(0, I_D)$, and a readout that stays fixed at
# $1/N$:
#
# $$f(x; w) = \frac{\alpha}{N}\sum_{i=1}^N \phi(w_i^\top x), \qquad \phi(h) = h + \tfrac{\epsilon}{2}\,h^2 .$$
#
# The output at initialisation is subtracted, so that every run starts from the zero function. The linear part of
# $\phi$ is useless for this target; $\epsilon$ says how much of the activation is of the right, quadratic kind.
#
# **Training.** Full-batch gradient descent on $L = \frac{1}{2P}\sum_\mu (f(x_\mu) - y_\mu)^2$, no weight decay, no
# noise, step $\eta_0 N/\alpha^2$. With this step the function starts to move at a speed that does not depend on
# $\alpha$, since its tangent kernel is $\alpha^2/N$ times
#
# $$K(x, x') = \frac1N\sum_{i} \phi'(w_i^\top x)\,\phi'(w_i^\top x')\; x^\top x' ,$$
#
# while the weights move by an amount proportional to $1/\alpha$. So $\alpha$ is a dial for *feature learning alone*.
#
# **Two statistics are enough.** Because $\phi$ is quadratic the sum over units can be done first, and the network
# knows its weights only through their mean and their second moment,
#
# $$\bar w = \frac1N\sum_i w_i, \quad M = \frac1N\sum_i w_i w_i^\top: \qquad
#   f(x; w) = \alpha\,\bar w^\top x + \frac{\alpha\epsilon}{2}\, x^\top M x .$$
#
# That is a quadratic function with a linear part $b = \alpha(\bar w - \bar w_0)$ and, after subtracting the target,
# an error matrix $A = \alpha\epsilon(M - M_0) - \beta\beta^\top$; the subscript 0 marks the initial values. Wick's
# theorem gives the test error without any test set:
#
# $$\mathbb E_x\bigl[(f - y)^2\bigr] =
#   \underbrace{\frac{\lVert b\rVert^2}{D}}_{\text{linear power}} +
#   \underbrace{\frac{(\operatorname{tr}A)^2}{4D^2}}_{\text{trace}} +
#   \underbrace{\frac{\lVert A\rVert_F^2}{2D^2}}_{\text{misalignment}} .$$
#
# The error is zero when $b = 0$ and $M = M_0 + \beta\beta^\top/(\alpha\epsilon)$: the units must stretch along
# $\beta$. Two things can be read off this solution.
#
# - *The norm grows.* With $\operatorname{tr}M_0\approx D = \lVert\beta\rVert^2$ we get
#   $\lVert w\rVert^2 / \lVert w(0)\rVert^2 \approx 1 + 1/(\alpha\epsilon)$, so an explanation by a *falling* weight
#   norm has nothing to work with here.
# - *How lazy is lazy.* Along the direction of $\beta$ the second moment grows from about 1 to
#   $1 + D/(\alpha\epsilon)$. Features stay as they were only if $\alpha\epsilon\gg D$. An output scale of 4 or 8
#   slows them down; it takes hundreds to freeze them.

# %% tags=["parameters"]
dimension = 24  # input dimension D
units = 100  # hidden units N
samples = 180  # training samples P; there are D(D+3)/2 features, here 324
epsilon = 0.5  # curvature of the activation: alignment of the initial features with the task
alphas = [0.5, 1.0, 2.0, 4.0, 8.0]  # output scales of the sweep
lazy_alpha = 256.0  # output scale of the lazy reference, far above D / epsilon
grok_alpha = 4.0  # the grokking run: the largest alpha that generalises for every seed
map_epsilons = [0.25, 1.0]  # further values of epsilon for the map of the delay
seeds = 3  # data sets and initialisations for each pair (alpha, epsilon)
grok_seeds = 12  # the same for the grokking run, whose norm grows only a little
steps = 4000  # gradient descent steps, a multiple of 200
monte_carlo = 100000  # fresh inputs for the check of the closed form
seed = 0  # all random numbers derive from it

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.kernels.alignment import target_alignment
from reprise.kernels.gradient_flow import descent, predict, stable_step
from reprise.networks.committee import (
    Quadratic,
    centred_function,
    committee,
    moments,
    tangent_function,
    tangent_kernel,
)
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.statistics.fits import first_below, rank_correlation
from reprise.tasks import single_index
from reprise.training.loop import fit

use_style()
paper = open_paper("grokking-lazy-to-rich", globals())

# %% [markdown]
# ## Training every run at once
#
# A run is a triple of $\alpha$, $\epsilon$ and a seed, which fixes the data set, the hidden direction and the initial
# weights. Different $\alpha$ share their seeds, so that they are compared on the same data. All runs are one `vmap`.
#
# The step is chosen once: $\eta_0$ is half of $P/\lambda_{\max}$, with the largest eigenvalue that an initial Gram
# matrix $K_0(X, X)$ has for any of the seeds. It is the same for all $\alpha$ (and has one value for each $\epsilon$,
# which changes $K_0$). Nothing else is tuned.

# %%
checked_alpha = 1.0  # the run on which the closed form is checked
others = [e for e in map_epsilons if e != epsilon]
runs = [
    (alpha, epsilon, s)
    for alpha in dict.fromkeys([*alphas, grok_alpha, lazy_alpha, checked_alpha])
    for s in range(seeds)
]
runs += [(grok_alpha, epsilon, s) for s in range(seeds, grok_seeds)]
runs += [(alpha, other, s) for other in others for alpha in alphas for s in range(seeds)]
run_alpha, run_epsilon, run_seed = (np.array(column) for column in zip(*runs, strict=True))


@jax.jit
def draw(key):
    def one(key):
        data_key, weight_key = jax.random.split(key)
        data = single_index.sample(data_key, samples, dimension, lambda h: 0.5 * h**2)
        return data, jax.random.normal(weight_key, (units, dimension))

    return jax.vmap(one)(jax.random.split(key, grok_seeds))


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0))
@partial(jax.vmap, in_axes=(0, None, None))
def largest_stable(epsilon, data, initial):
    return stable_step(tangent_kernel(moments(initial), data.inputs, data.inputs, epsilon), 0.5)


data_key, test_key = jax.random.split(jax.random.key(seed))
data, initial = draw(data_key)
curvatures = np.array([epsilon, *others], np.float32)
smallest = np.asarray(largest_stable(curvatures, data, initial)).min(axis=0)
etas = dict(zip([epsilon, *others], smallest, strict=True))
eta = float(etas[epsilon])
of_runs = jax.tree.map(lambda leaf: np.asarray(leaf)[run_seed], (data, initial))
print(f"{len(runs)} runs, eta_0 = {eta:.2f}")

# %% [markdown]
# `centred_function` turns weights into the coefficients of the quadratic function that they compute, and gradient
# descent is run through it. This is not an approximation: the gradient with respect to the weights is the network's
# own, only cheaper, and the library's tests compare the two. The error's three parts and the weight norm are recorded
# at every step, the weights themselves at every tenth.

# %%
block, every = 200, 10


def target(data):
    return Quadratic(jnp.zeros(dimension), jnp.outer(data.direction, data.direction))


@jax.jit
@jax.vmap
def train(weights, initial, data, alpha, epsilon, eta):
    def loss(weights, _):
        function = centred_function(weights, initial, alpha, epsilon)
        residual = function(data.inputs) - data.targets
        error = function.minus(target(data)).power()
        return 0.5 * jnp.mean(residual**2), (error, jnp.sum(weights**2))

    optimizer = optax.sgd(eta * units / alpha**2)
    record = {"watch": lambda weights: weights, "watch_every": every, "has_aux": True}
    return fit(loss, weights, optimizer, jax.random.key(0), block, **record)


def select(alpha, count=seeds, curvature=epsilon):
    """Indices of the runs with these settings, by seed."""
    return np.flatnonzero((run_alpha == alpha) & (run_epsilon == curvature))[:count]


watched = {alpha: select(alpha) for alpha in (alphas[0], grok_alpha, lazy_alpha, checked_alpha)}
run_eta = [etas[e] for e in run_epsilon]
settings = [np.asarray(column, np.float32) for column in (run_alpha, run_epsilon, run_eta)]
weights, blocks, paths = of_runs[1], [], {alpha: [] for alpha in watched}
for _ in range(steps // block):
    weights, history = train(weights, of_runs[1], of_runs[0], *settings)
    error, squared_norm = history["aux"]
    blocks.append([np.asarray(part) for part in (history["loss"], *error, squared_norm)])
    for alpha, members in watched.items():
        paths[alpha].append(np.asarray(history["watch"])[members, :-1])
blocks = [np.concatenate(part, axis=1) for part in zip(*blocks, strict=True)]
train_loss, linear, trace, misalignment, norm = blocks
paths = {alpha: np.concatenate(path, axis=1) for alpha, path in paths.items()}
test_loss = linear + trace + misalignment
time = np.arange(steps)
t_train = first_below(time, train_loss, 0.05 * train_loss[:, 0], censored=steps - 1).astype(int)
t_test = first_below(time, test_loss, 0.2 * test_loss[:, 0], censored=steps - 1).astype(int)

# %% [markdown]
# The two times that matter are recorded above: $t_{\rm tr}$, the first step with a training loss below 5 % of its
# initial value, and $t_{\rm te}$, the first step with a test loss below 20 % of its own. Losses are used, not
# accuracies: with a threshold on an error rate one can make a delay appear where there is none, as the paper points
# out.
#
# ## What the frozen features would do
#
# The comparison that the paper's argument rests on is the network *linearised at its start*: gradient descent with
# the kernel $K_0$, the same step, the same data. It is solved exactly in the eigenbasis of $K_0(X, X)$ (`descent` is
# its spectral filter, `predict` with a unit matrix gives the weights $c_\mu(t)$ of
# $f_t = \sum_\mu c_\mu(t)\,K_0(\cdot, x_\mu)$), and since it is a quadratic function as well its test error is exact
# too. We let it train a million times longer than the network, to find its best.


# %%
@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None))
def linearised_test_loss(data, initial, at_steps):
    start = moments(initial)
    gram = tangent_kernel(start, data.inputs, data.inputs, epsilon)
    dual = predict(gram, jnp.eye(samples), data.targets, descent(eta, at_steps))
    return sum(tangent_function(dual, data.inputs, start, epsilon).minus(target(data)).power())


far = np.concatenate([time, steps * np.array([1e1, 1e2, 1e3, 1e4, 1e6])]).astype(np.float32)
first_seeds = jax.tree.map(lambda leaf: leaf[:seeds], (data, initial))
frozen_test_loss = np.asarray(linearised_test_loss(*first_seeds, far))
frozen_best = frozen_test_loss.min(axis=1)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels of loss against training step for alpha 0.5, the grokking alpha and the lazy alpha. At small alpha train and test loss fall together; at larger alpha the test loss first follows the dashed curve of the linearised network and falls below it only later."}}
fig, axes = plt.subplots(1, 3, sharey=True, figsize=(8.4, 3.6))
for ax, alpha in zip(axes, (alphas[0], grok_alpha, lazy_alpha), strict=True):
    members = select(alpha)
    band(
        ax,
        time + 1,
        train_loss[members] / train_loss[members, :1],
        PALETTE["blue"],
        "training loss",
    )
    band(
        ax,
        time + 1,
        test_loss[members] / test_loss[members, :1],
        PALETTE["orange"],
        "test loss",
    )
    band(
        ax,
        time + 1,
        (frozen_test_loss / frozen_test_loss[:, :1])[:, :steps],
        THEORY,
        "test loss, frozen features",
        ls="--",
        lw=1.4,
    )
    for limit, color in ((0.05, "blue"), (0.2, "orange")):
        ax.axhline(limit, color=PALETTE[color], lw=0.8, ls=":")
    ax.set(
        xscale="log",
        yscale="log",
        ylim=(1e-3, 1.6),
        title=rf"$\alpha = {alpha:g}$",
        xlabel="training step",
    )
axes[0].set_ylabel("loss / initial loss")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# Lines are medians over seeds, bands run from the 10th to the 90th percentile, dotted lines mark the two thresholds.
# On the right, lazy, the test loss lies on the dashed curve of the frozen features while the training set is fitted,
# and stalls with it. On the left, rich from the start, the dashed curve is left behind at once, and training and test
# loss fall one shortly after the other. The middle is the case of interest: the network follows the frozen features
# for a while and departs from them before they stall; when the training loss crosses its threshold the test loss is
# still above its own, and then goes on falling where the frozen features cannot follow. They do not reach the upper
# threshold in any of the panels.
#
# ### The plateau is kernel regression
#
# In the lazy run, at the time its training set is fitted, the test loss should be the kernel's, after the same number
# of steps.

# %%
members = select(lazy_alpha)
at = t_train[members]
plateau = test_loss[members, at] / frozen_test_loss[np.arange(seeds), at]
print("training set fitted at steps", at, "with test loss", test_loss[members, at].round(3))
paper.report("kernel-plateau", plateau.mean(), samples=plateau)

# %% [markdown]
# ### Frozen features never get there
#
# In the grokking run the network ends far below the *best* test loss that its linearisation reaches at any time,
# early stopping included. What comes after the plateau is not more of the same regression; it is done by features
# that moved.

# %%
members = select(grok_alpha)
gain = test_loss[members, -1] / frozen_best
print("best of the frozen model:", frozen_best.round(3))
print("the network at the end:  ", test_loss[members, -1].round(3))
paper.report("needs-feature-learning", gain.mean(), samples=gain)

# %% [markdown]
# ## The test loss from two statistics
#
# Everything above used the closed form of the test error, so it deserves a check against the network itself: 20
# checkpoints of the run with $\alpha = 1$, from its start to well after it has generalised. Each is evaluated unit by
# unit (`committee`) on fresh inputs in double precision.


# %%
@jax.jit
def both_ways(path, initial, direction, key):
    inputs = jax.random.normal(key, (monte_carlo, dimension), dtype=path.dtype) / dimension**0.5
    goal = 0.5 * (inputs @ direction) ** 2 + committee(initial, inputs, checked_alpha, epsilon)

    def one(weights):
        sampled = jnp.mean((committee(weights, inputs, checked_alpha, epsilon) - goal) ** 2)
        function = centred_function(weights, initial, checked_alpha, epsilon)
        error = function.minus(Quadratic(0.0, jnp.outer(direction, direction)))
        return sampled, sum(error.power())

    return jax.lax.map(one, path)


run = select(checked_alpha)[0]
path, start, direction = (
    paths[checked_alpha][0, :20],
    of_runs[1][run],
    of_runs[0].direction[run],
)
with jax.enable_x64(True):
    double = [np.asarray(part, np.float64) for part in (path, start, direction)]
    sampled, closed = map(np.asarray, both_ways(*double, test_key))
deviation = np.abs(closed - sampled) / sampled
print(f"test loss from {closed[0]:.3f} to {closed[-1]:.4f} over the checkpoints")
paper.report("test-loss-identity", deviation.max(), samples=deviation)

# %% tags=["hide-input"] mystnb={"image": {"alt": "The three parts of the test loss of the grokking run against training step: the misalignment term dominates from start to end, the linear and trace terms are smaller and rise and fall while the training set is fitted."}}
fig, ax = plt.subplots(figsize=(6.6, 3.6))
members = select(grok_alpha)
for values, color, label in (
    (misalignment, "red", r"misalignment, $\Vert A\Vert_F^2 / 2D^2$"),
    (trace, "green", r"trace, $(\mathrm{tr} A)^2 / 4D^2$"),
    (linear, "purple", r"linear power, $\Vert b\Vert^2 / D$"),
):
    band(ax, time + 1, values[members], PALETTE[color], label)
ax.plot(
    time + 1,
    np.median(test_loss[members], axis=0),
    color=PALETTE["orange"],
    lw=1.2,
    label="test loss (their sum)",
)
for t, label in ((t_train[members], r"$t_{\rm tr}$"), (t_test[members], r"$t_{\rm te}$")):
    ax.axvline(np.median(t) + 1, color=THEORY, lw=0.9, ls=":")
    ax.text(np.median(t) + 1, 1.15, label, ha="center", va="bottom")
ax.set(
    xscale="log",
    yscale="log",
    ylim=(1e-3, 1.1),
    xlabel="training step",
    ylabel="part of the test loss",
)
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# The grokking run again, taken apart. The trace, the mean of the target in disguise, is learned first. The linear
# power starts at zero and rises: these are the useless linear features, recruited to fit the training set, and
# unlearned later. From $t_{\rm tr}$ on nearly all of the error is misalignment: $M$ has grown, but not only along
# $\beta$. The late phase is the slow turning of $M - M_0$ towards $\beta\beta^\top$, at hardly any training loss.
#
# ## Two dials
#
# Now the main claim: $\alpha$ alone sets the delay $t_{\rm te}/t_{\rm tr}$.

# %%
delay = t_test / np.maximum(t_train, 1)
by_alpha = np.array([delay[select(alpha)] for alpha in alphas])
for alpha, values in zip(alphas, by_alpha, strict=True):
    print(f"alpha {alpha:<4g} delay of each seed: {'  '.join(f'{v:.2f}' for v in values)}")
correlation = rank_correlation(alphas, np.log(np.median(by_alpha, axis=1)))
of_each_seed = [rank_correlation(alphas, np.log(values)) for values in by_alpha.T]
paper.report("alpha-controls-delay", correlation, samples=of_each_seed)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A map of the delay between fitting and generalising over output scale alpha and curvature epsilon. It grows from about one at small alpha to large values at large alpha."}}
rows = sorted([epsilon, *others])
delays = np.array(
    [[np.median(delay[select(alpha, curvature=row)]) for alpha in alphas] for row in rows]
)
unfinished = np.array(
    [
        [np.median(t_test[select(alpha, curvature=row)]) >= steps - 1 for alpha in alphas]
        for row in rows
    ]
)
fig, ax = plt.subplots(figsize=(6.6, 3.0))
image = ax.imshow(np.log10(delays), origin="lower", aspect="auto", cmap="viridis")
for i, j in np.ndindex(*delays.shape):
    light = np.log10(delays[i, j]) < 0.6 * np.log10(delays).max()
    text = f"{'> ' if unfinished[i, j] else ''}{delays[i, j]:.3g}"
    ax.text(j, i, text, ha="center", va="center", color="white" if light else "black")
ax.grid(False)
ax.set(xlabel=r"output scale $\alpha$", ylabel=r"curvature $\epsilon$")
ax.set_xticks(range(len(alphas)), [f"{a:g}" for a in alphas])
ax.set_yticks(range(len(rows)), [f"{r:g}" for r in rows])
fig.colorbar(image, label=r"$\log_{10}(t_{\rm te}/t_{\rm tr})$")
plt.show()

# %% [markdown]
# Medians over seeds; "$>$" marks settings in which the test loss did not fall below its threshold within the run.
# Reading a row from left to right, the delay grows with $\alpha$, from close to 1 (no grokking) to several. Reading a
# column is subtler. The features move by $M - M_0 = \beta\beta^\top/(\alpha\epsilon)$, so a larger $\epsilon$ makes
# the network lazier at the same time as it makes its initial kernel better suited to the task, and here the first
# effect wins. Along the diagonals, at a constant product $\alpha\epsilon$, the delay changes little: at this size the
# alignment by itself is the weaker dial.
#
# ## The norm rises, and the kernel turns
#
# If grokking were the slow decay of an over-large weight norm, the norm would have to fall between $t_{\rm tr}$ and
# $t_{\rm te}$. There is no weight decay here, and the solution has a larger norm than the start, so over the whole
# run it must rise. Whether it rises in the very interval in which the test loss catches up is the sharper question.

# %%
members = select(grok_alpha, grok_seeds)
growth = norm[members, t_test[members]] / norm[members, t_train[members]]
total = norm[members, -1] / norm[members, 0]
reached = np.sum(t_test[members] < steps - 1)
error = growth.std(ddof=1) / np.sqrt(len(growth))
print(
    f"delay {delay[members].mean():.2f} on average; {reached} of {grok_seeds} seeds generalise"
)
print(f"total growth {total.mean():.3f}, predicted {1 + 1 / (grok_alpha * epsilon):.3f}")
print(f"growth between the two times {growth.mean():.4f}, standard error {error:.4f}")
paper.report("norm-does-not-fall", growth.mean(), samples=growth)

# %% [markdown]
# What does change in that interval is the kernel. Its centred alignment with the target
# {cite:p}`cortes2012alignment,kornblith2019similarity`, the cosine between the centred Gram matrices of $K$ and of
# $yy^\top$, is measured on 300 fresh inputs.


# %%
@jax.jit
def alignments(key, paths, directions):
    inputs = jax.random.normal(key, (300, dimension)) / dimension**0.5

    def one(weights, direction):
        kernel = tangent_kernel(moments(weights), inputs, inputs, epsilon)
        return target_alignment(kernel, 0.5 * (inputs @ direction) ** 2)

    return jax.lax.map(
        lambda run: jax.lax.map(lambda weights: one(weights, run[1]), run[0]),
        (paths, directions),
    )


checkpoints = np.unique(np.geomspace(1, steps // every, 40).astype(int)) - 1
shown = (alphas[0], grok_alpha, lazy_alpha)
stacked = np.concatenate([paths[alpha][:, checkpoints] for alpha in shown])
alignment = np.asarray(
    alignments(test_key, stacked, np.tile(np.asarray(data.direction)[:seeds], (3, 1)))
)
alignment = alignment.reshape(3, seeds, len(checkpoints))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: squared weight norm relative to its start rises towards the predicted values for small alpha and stays near one for the lazy run. Right: alignment of the kernel with the target rises in the same order."}}
fig, axes = plt.subplots(1, 2, figsize=(8.0, 3.6))
for k, (alpha, color) in enumerate(zip(shown, ("blue", "orange", "grey"), strict=True)):
    members = select(alpha)
    band(
        axes[0],
        time + 1,
        norm[members] / norm[members, :1],
        PALETTE[color],
        rf"$\alpha = {alpha:g}$",
    )
    axes[0].axhline(
        1 + 1 / (alpha * epsilon),
        color=THEORY,
        lw=1,
        ls="--",
        label=r"$1 + 1/\alpha\epsilon$" if k == 2 else None,
    )
    band(axes[1], checkpoints * every + 1, alignment[k], PALETTE[color])
for ax in axes:
    ax.set(xscale="log", xlabel="training step")
    for t in (t_train, t_test):
        ax.axvline(
            np.median(t[select(grok_alpha)]) + 1, color=PALETTE["orange"], lw=0.9, ls=":"
        )
axes[0].set(
    yscale="log", ylabel=r"$\Vert w\Vert^2 / \Vert w(0)\Vert^2$", yticks=[1, 1.5, 2, 3, 5]
)
axes[0].set_yticklabels(["1", "1.5", "2", "3", "5"])
axes[0].minorticks_off()
axes[0].legend()
axes[1].set(yscale="log", ylim=(0.01, 1), ylabel="alignment of kernel and target")
plt.show()

# %% [markdown]
# The dotted lines mark $t_{\rm tr}$ and $t_{\rm te}$ of the grokking run. Left: the norm rises to the value that the
# solution demands (dashed) and does not come down again. Most of the growth is over when the training set is fitted;
# between the two times the squared norm changes by about a per cent or less. Right, on a logarithmic scale: the
# kernel of the grokking run turns towards the target, and goes on turning after $t_{\rm tr}$. All alignments start
# low because the useless linear features carry most of the kernel. In the lazy run nothing turns, and nothing
# generalises beyond what the first kernel could do.
#
# ## What differs from the paper
#
# - **Scale.** The paper's polynomial regression has hundreds of units and a dimension around a hundred and runs for
#   very long; ours has $D = 24$, $N = 100$ and $P = 180$. The delays are correspondingly short: a factor of about two
#   at $\alpha = 4$, several at $\alpha = 8$, and no long flat stretch before the second fall, as in the most
#   spectacular examples.
# - **Where grokking ends.** Without noise and with more parameters than samples, a very lazy network fits the
#   training set perfectly and has no gradient left to move its features with. Beyond some $\alpha$ the test loss
#   never comes down (right panel of the first figure). That is the far end of the dial.
# - **The norm.** Its rise between the two times is a small effect on top of seed-to-seed scatter of the same size,
#   which is why it is averaged over more seeds. It is a statement about the mean; single seeds can fall.
# - **The dynamical mean-field theory** of the paper's appendix describes $D\to\infty$ and is not tested at these
#   sizes. Neither are its experiments on MNIST, on transformers and on student-teacher networks.
# - The training goes through the two statistics rather than through the hidden units. This is the same gradient, and
#   the closed form is checked against the units above.
#
# The dial $\alpha$ sets how lazy *one* network is. How laziness depends on the scaling of a network with its width is the
# question of {doc}`infinite-width-feature-learning`, and what it does to curvature that of {doc}`learning-rate-transfer`.
#
# ## Things to try
#
# - `reprise run grokking-lazy-to-rich -p samples 240`: closer to what kernel regression needs. The frozen features
#   generalise better, and the delays shrink. With `-p samples 140` they generalise badly, and only small $\alpha$
#   reach the threshold.
# - `reprise run grokking-lazy-to-rich -p alphas "[0.5, 1.0, 2.0, 4.0, 16.0]"`: further along the dial. Much below 0.5
#   the kernel grows so much that the step becomes unstable.
# - `reprise run grokking-lazy-to-rich -p steps 16000`: do the unfinished corners of the map get there in the end?
# - `reprise sweep grokking-lazy-to-rich -p seed=0..9`: the spread of the delay from data set to data set.

# %%
paper.verdicts()
