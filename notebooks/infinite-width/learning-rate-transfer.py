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
# # Why do Learning Rates Transfer? Reconciling Optimization and Scaling Limits for Deep Learning
#
# Tuning the learning rate of a large model is expensive. A popular way out is to tune a small one and keep the number.
# With the usual scalings this fails, because the best rate drifts as networks get wider; with the *maximal update
# parametrisation* ($\mu$P) of {doc}`infinite-width-feature-learning` it works {cite:p}`yang2022tensor`, often over
# factors of a hundred in width.
#
# Why should it? $\mu$P was made so that features move equally at all widths. That is a statement about *networks*. A
# best learning rate is a statement about an *optimizer*: it is decided by curvature, the rule of thumb being that
# gradient descent with rate $\eta$ tolerates curvatures up to $2/\eta$. {cite:t}`noci2024why` put the two together by
# measuring curvature while networks of different widths train:
#
# 1. Under $\mu$P, the largest eigenvalue of the Hessian, the **sharpness**, follows nearly the same path at every
#    width. It starts at the same value, rises at the same pace, and stops at the same threshold. (The published
#    version of the paper calls the property *super consistency*.)
# 2. Under NTK scaling, networks start with the same sharpness too, but it rises less and less, the wider they are.
# 3. The reason is feature learning. The sharpness is, up to a residual that training removes, the top eigenvalue of
#    the tangent kernel. Where features stop moving, the kernel stops moving, and with it the curvature.
#
# ## Three ways to be wide
#
# A network with two hidden layers of $N$ tanh units, inputs in $\mathbb R^D$, all weights from $N(0, 1)$:
#
# $$f(x) = \frac{1}{\gamma}\,\frac{1}{\sqrt N}\,w_2^\top\,\phi\!\Bigl(\frac{1}{\sqrt N}\,W_1\,
#   \phi\Bigl(\frac{1}{\sqrt D}\,W_0\,x\Bigr)\Bigr) ,$$
#
# trained by gradient descent at the rate $\eta = \eta_0\,\gamma^2$.
#
# - **NTP**, the NTK parametrisation {cite:p}`jacot2018neural`, has $\gamma = 1$.
# - **$\mu$P** has $\gamma = \gamma_0\sqrt N$. The output starts at order $N^{-1/2}$, and to move it by order one the
#   hidden units must move, too. The constant $\gamma_0$ sets how much.
# - **SP**, the standard parametrisation: no multipliers, weights from $N(0, 1/N)$, and one rate $\eta_0$ for all
#   widths. It is the control, the way in which one would naively try to transfer a learning rate.
#
# The factor $\gamma^2$ in the rate makes the function move at the same initial speed whatever $\gamma$ is. For the
# same reason we quote the sharpness in units in which the threshold of stability is $2/\eta_0$ for all of them:
#
# $$\lambda = \gamma^2\,\lambda_{\max}\bigl(\nabla^2\mathcal L\bigr), \qquad \mathcal L = \frac{1}{2n}\sum_{i=1}^n (f(x_i) - y_i)^2 .$$

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
points = 64  # n, training inputs; the learning-rate sweep uses the first half of them
dim = 16  # D, their dimension
gamma = 0.5  # gamma_0, scale of the output under muP: smaller is lazier
transfer_widths = [64, 128, 512]  # widths N of the learning-rate sweep
transfer_steps = 12  # its gradient steps
sharpness_widths = [64, 128, 256]  # widths whose sharpness is followed, among fading_widths
eta = 10.0  # eta_0 of these runs
blocks = 10  # their length in blocks of 20 steps, an even number
fading_widths = [32, 64, 128, 256]  # widths of the slower runs that show how sharpening fades
fading_eta = 2.5  # eta_0 of these runs

# %%
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.curvature.jacobian import gauss_newton_product, per_example_jacobian
from reprise.curvature.lanczos import hessian_product, top_eigenvalue
from reprise.networks.parametrizations import (
    ABC,
    forward,
    initialise,
    maximal_update,
    ntk,
    standard,
)
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.statistics.fits import loglog_slope
from reprise.training.loop import fit

use_style()
paper = open_paper("learning-rate-transfer", globals())

# %% [markdown]
# All three are abc-parametrisations (see {doc}`infinite-width-feature-learning`): $N^{-a_l}$ multiplies layer $l$,
# $N^{-b_l}$ is its initial standard deviation, and $N^{-c}$ scales the rate. Only the constant $\gamma_0$ has to be
# added, as a factor $1/\gamma_0$ on the output and $\gamma_0^2$ on the rate.
#
# The data: $n = 64$ Gaussian inputs in $\mathbb R^{16}$ with labels $y = \operatorname{sign}(x_1 x_2)$, an "exclusive
# or" of two directions among sixteen, which a network fits best by features that find these two.


# %%
class Scheme(NamedTuple):
    """A parametrisation with the constant gamma_0."""

    abc: ABC
    gamma: float

    def rate(self, eta, width):
        """The rate of gradient descent on the weights."""
        return np.float32(self.abc.learning_rate(eta * self.gamma**2, width))


schemes = {
    "µP": Scheme(maximal_update(2).shifted(0.5), gamma),
    "NTP": Scheme(ntk(2), 1.0),
    "SP": Scheme(standard(2, c=0.0), 1.0),
}
color = {"µP": PALETTE["green"], "NTP": PALETTE["blue"], "SP": PALETTE["orange"]}

rng = np.random.default_rng(seed)
x_all = rng.normal(size=(points, dim)).astype(np.float32)
y_all = np.sign(x_all[:, 0] * x_all[:, 1])
x_all = x_all / np.float32(np.sqrt(dim))
key = jax.random.key(0)  # asked for by the training loop; no loss on this page draws from it


def outputs(weights, scheme, x):
    return forward(scheme.abc, weights, x)[0][:, 0] / scheme.gamma


def half_mean_square(weights, scheme, x, y):
    return 0.5 * jnp.mean((outputs(weights, scheme, x) - y) ** 2)


def start(scheme, width, number):
    """Initial weights of one network; different draws for every width and number."""
    return initialise(scheme.abc, np.random.default_rng([seed, width, number]), dim, width)


pool = ThreadPoolExecutor(2)  # two programs at a time are compiled, or run


def compile_all(function, widths, arguments):
    """The function compiled for each width, given example arguments for one."""
    build = lambda width: function.lower(*arguments(width)).compile()
    return dict(zip(widths, pool.map(build, widths), strict=True))


# %% [markdown]
# ## Does the best learning rate transfer?
#
# First the phenomenon. Twelve steps of full-batch gradient descent, eleven rates spaced by factors of $\sqrt2$, six
# networks at every width. The grid is centred at $\eta_0 = 8$ for $\mu$P and NTP at all widths. For SP it is centred
# at $0.12$ at width 64 and follows the best rate down as $64/N$; without that, it would soon consist of divergent
# runs.
#
# The runs are short on purpose. Later on the loss at large rates is decided by jumps across the stability threshold,
# and which run jumps where is a matter of luck.

# %%
half = points // 2
offsets = np.sqrt(2.0) ** np.arange(-5, 6)


@jax.jit
def final_losses(weights, scheme, rates):
    """Training loss after the last step, for every rate."""
    loss = lambda weights, _=None: half_mean_square(weights, scheme, x_all[:half], y_all[:half])

    def run(rate):
        end, _ = fit(loss, weights, optax.sgd(rate), key, transfer_steps)
        return loss(end)

    return jax.lax.map(run, rates)


def sweep(name, width, networks=6):
    """The grid of eta_0 [rates], and losses [networks, rates]."""
    scheme = schemes[name]
    etas = offsets * (0.12 * 64 / width if name == "SP" else 8.0)
    rates = np.array([scheme.rate(eta, width) for eta in etas])
    one = lambda k: np.asarray(sweepers[width](start(scheme, width, k), scheme, rates))
    return etas, np.stack(list(pool.map(one, range(networks))))


def best_rate(etas, losses):
    """log2 of the best eta_0: vertex of the parabola through the best three points of the mean log loss."""
    with np.errstate(all="ignore"):
        mean = np.log(losses).mean(0)
    mean = np.where(np.isfinite(mean), mean, np.inf)
    best = int(mean.argmin())
    if not 0 < best < len(mean) - 1:
        return np.nan  # the best point is at the end of the grid
    left, middle, right = mean[best - 1 : best + 2]
    step = np.log2(etas[1] / etas[0])
    offset = (
        0.5 * (left - right) / (left - 2 * middle + right)
        if np.isfinite([left, right]).all()
        else 0.0
    )
    return np.log2(etas[best]) + step * offset


some = schemes["µP"]
sweepers = compile_all(
    final_losses,
    transfer_widths,
    lambda width: (start(some, width, 0), some, np.zeros(len(offsets), np.float32)),
)
sweeps = {name: {width: sweep(name, width) for width in transfer_widths} for name in schemes}
best = {
    name: {width: best_rate(*runs) for width, runs in by_width.items()}
    for name, by_width in sweeps.items()
}
shades = lambda widths: dict(zip(widths, np.linspace(0.35, 1, len(widths)), strict=True))

# %% [markdown]
# Loss against rate, the geometric mean over networks; darker lines are wider networks. If the best rate transfers, the
# minima of a panel lie above each other.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Training loss against learning rate in three panels. Maximal update: the curves of all widths have their minimum at the same rate. NTP: minima drift slightly. Standard: the minimum moves down with the width by a factor of about eight."}}
fig, axes = plt.subplots(1, 3, sharey=True, figsize=(7.8, 3.3))
for ax, name in zip(axes, schemes, strict=True):
    for width, shade in shades(transfer_widths).items():
        etas, losses = sweeps[name][width]
        with np.errstate(all="ignore"):
            mean = np.exp(np.log(losses).mean(0))
        ax.plot(etas, mean, ".-", color=color[name], alpha=shade, label=f"$N = {width}$")
        ax.axvline(2 ** best[name][width], color=color[name], alpha=shade, lw=1, ls="--")
    ax.set(title=name, xlabel=r"$\eta_0$", xscale="log", yscale="log", ylim=(5e-3, 2))
    ax.set_xscale("log", base=2)
axes[0].set_ylabel(f"loss after {transfer_steps} steps")
for ax in axes:
    ax.legend(loc="lower left", fontsize=9)
plt.show()

# %%
for name, by_width in best.items():
    print(
        f"{name:3} best eta_0:", ", ".join(f"{2**b:.3g} (N = {w})" for w, b in by_width.items())
    )
ends = transfer_widths[0], transfer_widths[-1]


def rate_shift(name, kept):
    """Distance in log2 of the best rates at the smallest and the largest width, from some of the networks."""
    low, high = (best_rate(sweeps[name][w][0], sweeps[name][w][1][kept]) for w in ends)
    return abs(high - low)


everyone = np.arange(6)
shift = {name: rate_shift(name, everyone) for name in schemes}
print("shift in log2:", ", ".join(f"{name} {value:.2f}" for name, value in shift.items()))
paper.report(
    "learning-rate-transfer",
    shift["µP"] if shift["SP"] >= shift["µP"] + 1 else np.inf,
    samples=[rate_shift("µP", everyone != k) for k in everyone],  # leaving one network out
)

# %% [markdown]
# Dashed lines mark the best rates. Under $\mu$P all widths agree on it. Under SP the best rate falls about like
# $1/N$: what was best at width 64 is several times too large at width 512, and transferring it would be a mistake.
# NTP is in between, its optimum drifts somewhat; it has an infinite-width limit as well, to which its best rate must
# settle. (The curves are jagged to the right of their minima: there the largest curvature is beyond the threshold,
# and after twelve steps some runs are in the middle of a jump.)
#
# ## What curvature has to do with it
#
# The Hessian of the squared loss has two parts,
#
# $$\nabla^2\mathcal L = \underbrace{\frac1n\,J^\top J}_{G} \;+\; \frac1n\sum_i (f(x_i) - y_i)\,\nabla^2 f(x_i), \qquad
#   J = \frac{\partial f(x_i)}{\partial\theta_p} \in \mathbb R^{n\times P} .$$
#
# The first, the Gauss-Newton matrix $G$, is enormous ($P\times P$) but has rank at most $n$, and its nonzero
# eigenvalues are those of the small matrix $\frac1n JJ^\top$, which is the Gram matrix of the **neural tangent
# kernel** on the data. The second part is weighted by the residuals, so it fades as the loss falls. Late in training,
# sharpness is a property of the kernel.
#
# In a kernel regime the kernel keeps still and so does the sharpness. Where features are learned the kernel adapts to
# the labels and grows in their direction, which shows as **progressive sharpening**: under gradient descent with a
# fixed rate the sharpness rises until it hits $2/\eta$, the largest curvature that gradient descent can handle, and
# is held there, at the **edge of stability** {cite:p}`cohen2021gradient`.
#
# ### Measuring the sharpness
#
# Neither matrix is ever formed. A Hessian-vector product is the derivative of the gradient along a vector and costs
# about two gradients, and Lanczos' method finds the largest eigenvalue from a dozen of them, since it stands well
# apart from the rest (`top_eigenvalue`; it looks for the most *positive* one, which a plain power iteration does
# not). Every 20 steps we start it from the eigenvector found 20 steps earlier.

# %%
iterations = 10  # Lanczos steps at each measurement
interval = 20  # gradient steps between two measurements


@jax.jit
def measure_and_train(weights, vector, scheme, rate):
    """Top Hessian eigenvalue times rate at these weights, then `interval` gradient steps."""
    loss = lambda weights, _=None: half_mean_square(weights, scheme, x_all, y_all)
    product = lambda v: hessian_product(loss, weights, v)
    value, vector = top_eigenvalue(product, vector, iterations)
    end, history = fit(loss, weights, optax.sgd(rate), key, interval)
    return end, vector, rate * value, history["loss"]


def follow(name, eta, width, number, blocks):
    """Along one training run: lambda [blocks + 1], losses [steps], weights at every measurement."""
    scheme = schemes[name]
    weights = start(scheme, width, number)
    vector = start(schemes["NTP"], width, 1000 + number)  # any random vector will do
    _, vector, _, _ = trainers[width](weights, vector, scheme, np.float32(0))  # a better guess
    rate = scheme.rate(eta, width)
    snapshots, sharpness, losses = [], [], []
    for _ in range(blocks + 1):
        snapshots.append(weights)
        weights, vector, value, loss = trainers[width](weights, vector, scheme, rate)
        sharpness.append(float(value) / eta)
        losses.append(np.asarray(loss))
    return np.array(sharpness), np.concatenate(losses)[: blocks * interval], snapshots


def follow_all(name, eta, widths, networks, blocks):
    """`follow` for several networks at each width."""
    jobs = {
        width: [pool.submit(follow, name, eta, width, k, blocks) for k in range(networks)]
        for width in widths
    }
    return {width: [job.result() for job in several] for width, several in jobs.items()}


trainers = compile_all(
    measure_and_train,
    fading_widths,
    lambda width: (*[start(some, width, 0)] * 2, some, np.float32(0)),
)
runs = {
    name: follow_all(name, eta, sharpness_widths, networks=4, blocks=blocks)
    for name in ("µP", "NTP")
}
sharpness = {
    name: {width: np.stack([one[0] for one in several]) for width, several in by_width.items()}
    for name, by_width in runs.items()
}
loss_curves = {
    name: {width: np.stack([one[1] for one in several]) for width, several in by_width.items()}
    for name, by_width in runs.items()
}
times = interval * np.arange(blocks + 1)

# %% [markdown]
# ### Hessian, Gauss-Newton matrix, tangent kernel
#
# Before following the sharpness, let us see how much of it is the kernel's. For the widest $\mu$P networks we compute
# the top eigenvalue of $G$ without forming it, by Lanczos with the product $v\mapsto \frac1n J^\top (J v)$ in the
# space of all weights, and that of the tangent kernel's Gram matrix by writing down $J$, one gradient an example, and
# handing $\frac1n JJ^\top$ to a dense eigensolver. The two share no code beyond the network itself.


# %%
@jax.jit
def gauss_newton_and_kernel(weights, vector, scheme):
    """Top eigenvalue of G, matrix-free, and the Gram matrix of the tangent kernel."""
    root = np.float32(np.sqrt(points))
    every = lambda weights: outputs(weights, scheme, x_all) / root
    product = lambda v: gauss_newton_product(every, weights, v)
    top, _ = top_eigenvalue(product, vector, 20)
    one = lambda weights, x: outputs(weights, scheme, x[None])[0]
    _, jacobian = per_example_jacobian(one, weights, x_all)
    return top, jnp.matmul(jacobian, jacobian.T, precision="highest") / points


def spectra(snapshot_and_number):
    """Sharpness-like top eigenvalues of G and of the kernel, in units of gamma squared."""
    weights, number = snapshot_and_number
    scheme, width = schemes["µP"], sharpness_widths[-1]
    vector = start(schemes["NTP"], width, 2000 + number)
    top, gram = gauss_newton_and_kernel(weights, vector, scheme)
    units = scheme.rate(1.0, width)
    return units * float(top), units * np.linalg.eigvalsh(np.asarray(gram, float))[-1]


widest = runs["µP"][sharpness_widths[-1]]
looks = [0, 1, 2, 3, blocks // 2, blocks]
along = np.array(list(pool.map(spectra, [(widest[0][2][k], 0) for k in looks])))
moments = [0, blocks // 2, blocks]
others = [(run[2][k], number) for number, run in enumerate(widest) if number for k in moments]
pairs = np.concatenate([along[[0, -2, -1]], list(pool.map(spectra, others))])
differences = np.abs(pairs[:, 0] - pairs[:, 1]) / pairs[:, 1]
last = pairs[2::3, 0]
hessian_last = sharpness["µP"][sharpness_widths[-1]][:, -1]
hessian_off = np.abs(hessian_last / last - 1)
print(f"Hessian against G after {times[-1]} steps: {hessian_off.max():.1e} apart at most")
paper.report(
    "gauss-newton-is-ntk",
    differences.max() if hessian_off.max() <= 0.1 else np.inf,
    samples=differences,
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Top eigenvalues of the Hessian, the Gauss-Newton matrix and the tangent kernel along training: the last two coincide everywhere, the Hessian's is somewhat apart while the loss is large and joins them as it falls."}}
fig, ax = plt.subplots(figsize=(6.4, 3.6))
line = sharpness["µP"][sharpness_widths[-1]][0]
ax.axhline(2 / eta, color=THEORY, ls="--", lw=1, label=r"threshold $2/\eta_0$")
ax.plot(times, line, color=PALETTE["red"], label=r"Hessian, $\lambda$")
ax.plot(times[looks], along[:, 0], "+", color=PALETTE["green"], ms=12, mew=2, label="$G$")
ax.plot(times[looks], along[:, 1], "o", color=THEORY, ms=10, mfc="none", label="tangent kernel")
ax.set(xlabel="gradient step", ylabel=r"top eigenvalue $\times\,\gamma^2$", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# One $\mu$P network of the largest width. Crosses sit in their circles to many digits, everywhere: this is an
# identity. The Hessian's top eigenvalue is apart from them as long as residuals are large, and joins them as the loss
# falls. So whoever wants to know the sharpness of a trained network may ask its kernel.
#
# ## The sharpness along training, at three widths

# %% tags=["hide-input"] mystnb={"image": {"alt": "Sharpness and loss against training step. Under maximal update the three widths' curves nearly coincide: they rise to the threshold or beyond, fall back and stay just below it. Under NTP they start together and then part; the wider, the lower."}}
fig, axes = plt.subplots(2, 2, sharex=True, sharey="row", figsize=(7.4, 5.2))
for column, name in enumerate(("µP", "NTP")):
    for width, shade in shades(sharpness_widths).items():
        faded = 1 - shade * (1 - np.array(plt.matplotlib.colors.to_rgb(color[name])))
        label = f"$N = {width}$"
        band(axes[0, column], times, sharpness[name][width], tuple(faded), label=label)
        losses = np.maximum(loss_curves[name][width], 1e-8)
        band(axes[1, column], np.arange(losses.shape[1]), losses, tuple(faded))
    axes[0, column].axhline(2 / eta, color=THEORY, ls="--", lw=1, label=r"$2/\eta_0$")
    axes[0, column].set(title=name)
    axes[0, column].legend(fontsize=9)
    axes[1, column].set(xlabel="gradient step", yscale="log")
axes[0, 0].set(ylabel=r"sharpness $\lambda$", ylim=(0, None))
axes[1, 0].set(ylabel="loss")
plt.show()

# %% [markdown]
# Left, $\mu$P: all widths start at nearly the same sharpness, about six tenths of the threshold. As features grow it
# rises to the threshold and in many runs shoots far beyond; gradient descent answers by jumping to a flatter place
# (the spikes of the loss), and the runs settle just below the line. After this the curves of the three widths are
# nearly one.
#
# Right, NTP, with the same $\eta_0$ and the same data. The start is nearly the same again, since the kernel at
# initialisation does not know $\gamma$ (the residual part of the Hessian does, a little). But then the widths part.
# At the smallest one features still move and sharpening is fast; at the largest it is slow, and weaker.
#
# Both statements become numbers. For the first, the mean over the last quarter of training, against $2/\eta_0$,
# provided that the runs started well below.

# %%
quarter = times > 0.75 * times[-1]
settled = np.array([sharpness["µP"][w][:, quarter].mean(1) for w in sharpness_widths]) * eta / 2
started = np.array([sharpness["µP"][w][:, 0].mean() for w in sharpness_widths]) * eta / 2
print("sharpness / threshold at the start:", np.round(started, 3))
print("and over the last quarter:         ", np.round(settled.mean(1), 3))
deviation = np.abs(settled.mean(1) - 1).max()
paper.report(
    "edge-of-stability-threshold",
    deviation if (started <= 0.75).all() else np.inf,
    samples=np.abs(settled - 1),
)

# %% [markdown]
# For the second, the spread between widths of the mean increase $\lambda(t) - \lambda(0)$, relative to its size,
# averaged over time. With four networks a width the ratio of the two spreads is a noisy number: one network that
# overshoots moves the mean of its width for a while. Over six values of `seed` it ranged from 1.7 (which would not
# pass) to 5.4.


# %%
def spread(name, kept=slice(None)):
    """(largest - smallest) / mean over widths of the mean increase of the sharpness, averaged over t > 0."""
    several = [values[kept] for values in sharpness[name].values()]
    increase = np.stack([(values - values[:, :1]).mean(0)[1:] for values in several])
    return np.mean((increase.max(0) - increase.min(0)) / increase.mean(0))


for name in ("µP", "NTP"):
    print(f"{name:3} relative spread between widths: {spread(name):.3f}")
left_out = [np.arange(4) != k for k in range(4)]
paper.report(
    "mup-sharpness-width-independent",
    spread("NTP") / spread("µP"),
    samples=[spread("NTP", kept) / spread("µP", kept) for kept in left_out],
)

# %% [markdown]
# ## How sharpening fades
#
# At a rate this large NTP networks of moderate width also reach the threshold in the end, and everything that happens
# at a threshold is nonlinear. To see the fading of sharpening itself, train gently: $\eta_0$ four times smaller, 80
# steps, eight networks at each width. In the NTK scaling the tangent kernel moves by $O(1/N)$ in a fixed time
# ({doc}`neural-tangent-kernel` measures this), so the relative increase $\lambda(T)/\lambda(0) - 1$ should fall like
# $1/N$. In $\mu$P it should not fall at all.

# %%
gentle = {
    name: follow_all(name, fading_eta, fading_widths, networks=count, blocks=4)
    for name, count in (("NTP", 8), ("µP", 3))
}
risen = {
    name: {
        w: np.array([one[0][-1] / one[0][0] - 1 for one in several])
        for w, several in by.items()
    }
    for name, by in gentle.items()
}
means = {name: [values.mean() for values in by.values()] for name, by in risen.items()}
slope = {name: loglog_slope(fading_widths, values) for name, values in means.items()}
print(", ".join(f"{name}: slope {value:.2f}" for name, value in slope.items()))
between = np.diff(np.log(means["NTP"])) / np.diff(np.log(fading_widths))
paper.report("ntp-sharpening-fades", slope["NTP"], samples=between)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative increase of the sharpness against width: several-fold at all widths under maximal update, falling about as one over the width under NTP."}}
fig, ax = plt.subplots(figsize=(6.0, 3.6))
for name in ("µP", "NTP"):
    for width, values in risen[name].items():
        ax.plot([width] * len(values), values, ".", color=color[name], alpha=0.4, mew=0)
    ax.plot(fading_widths, means[name], "o-", color=color[name], label=name)
guide = means["NTP"][-1] * fading_widths[-1] / np.array(fading_widths)
ax.plot(fading_widths, guide, "--", color=THEORY, lw=1, label="slope $-1$")
ax.set(
    xlabel="width $N$", ylabel=r"$\lambda(T)\,/\,\lambda(0) - 1$", xscale="log", yscale="log"
)
ax.set_xticks(fading_widths, [str(width) for width in fading_widths])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# Dots are single networks, circles their means. Under NTP the rise falls along the dashed line, a little more slowly
# among the narrowest networks, whose relative increase is of order one. Under $\mu$P the sharpness rises several-fold
# at every width. It even rises somewhat more in wide networks than in narrow ones, and levels off: the line tends to
# the value of an infinitely wide network, not to zero.
#
# So here is the answer to the question in the title, as far as it goes. A learning rate that is right for a narrow
# $\mu$P network meets, at every moment of training, the same curvature in a wide one. Under NTP it meets a different
# one later on, although the start is the same; under SP it is wrong from the first step.
#
# ## What differs from the paper
#
# - **Scale.** The paper trains residual networks and vision transformers on image data sets and language models on
#   WikiText; here are two hidden layers, 64 inputs, full-batch gradient descent and widths up to 512.
# - **Depth.** The paper also scales depth, with residual branches divided by $\sqrt L$, and finds the same
#   consistency. That is not performed here.
# - **NTP.** An infinitely wide NTP network has a well-defined path as well, so its best rate must stop moving at some
#   width. What differs is that the path at finite widths is far from it, and that it has no features in it.
# - **The edge.** With 64 inputs the loss is practically gone soon after the threshold is reached. The sharpness then
#   has no reason to move and stays where the last jump has left it, slightly below $2/\eta_0$. On larger data sets it
#   would hover around the line.
# - **Causes.** Equal curvature makes equal rates plausible; it does not prove that the best rate is decided by the
#   top eigenvalue alone.
#
# ## Things to try
#
# - `reprise run learning-rate-transfer -p eta 5` leaves more room below the threshold, so that the sharpness has
#   further to climb before it saturates.
# - `reprise run learning-rate-transfer -p gamma 0.1` makes $\mu$P lazier: features move less, and sharpening is weaker,
#   at all widths.
# - `reprise run learning-rate-transfer -p transfer_steps 60`: later on the curves of loss against rate become ragged
#   near the optimum, since the loss now depends on who jumped when.
# - `reprise sweep learning-rate-transfer -p seed=0..4` for other data and networks.

# %%
paper.verdicts()
