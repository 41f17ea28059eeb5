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
# # Exact Learning of Permutations for Nonzero Binary Inputs with Logarithmic Training Size and Quadratic Ensemble Complexity
#
# Copying and rearranging its input is about the simplest thing that one can ask of a network. Weights that permute
# the bits of a binary vector are easy to write down. But does gradient descent *find* them, and from how many
# examples?
#
# {cite:t}`giapitzakis2025exact` answer with a network that can be solved exactly. Train a two-layer ReLU network of
# infinite width on nothing but the $k$ unit vectors, each labelled with its permuted copy, and then ask it about all
# $2^k - 1$ nonzero binary vectors. The trained output is a Gaussian random variable whose mean and covariance can be
# written on one line. The mean takes *two levels*: a positive one at the coordinates where the permuted input has a
# one, and another, at most zero, everywhere else. So every trained network carries the right answer, buried in the
# randomness that it was initialised with. Average enough independently trained networks, compare with a threshold
# between the two levels, and the answer is exact, on every input, after training on $k = \log_2 2^k$ of them.
#
# How many networks are enough? About $k\log k$ for any one input, about $k^2$ for all $2^k-1$ at once. This page
# derives these numbers, checks the law against networks that are really trained, and measures both growth rates.
#
# ## The two levels, in equations
#
# A network with $m$ hidden units and one output for each bit,
#
# $$\begin{gathered} f(x) = \tfrac{1}{\sqrt m}\,W^2\,\mathrm{ReLU}(W^1 x), \\[4pt] W^1 \in \mathbb R^{m\times k},\; W^2\in\mathbb R^{k\times m},\qquad
#   W^1_{ij}, W^2_{ij} \sim N(0, 1) , \end{gathered}$$
#
# is trained by gradient flow on the squared loss over the pairs $(e_i, Pe_i)$, where $e_i$ is a unit vector and $P$ a
# permutation matrix. Test inputs are normalised, $\hat x = x/\lVert x\rVert$ with $x\in\{0,1\}^k\setminus 0$; the
# number of ones in $x$ is $w$.
#
# When $m\to\infty$, training is kernel regression with the neural tangent kernel, which does not move
# ({doc}`neural-tangent-kernel`). On unit vectors at an angle of cosine $\rho$ the covariance $K$ of the initial
# outputs and the tangent kernel $\Theta$ are {cite:p}`cho2009kernel,jacot2018neural`
#
# $$K(\rho)=\tfrac1{2\pi}\bigl(\sqrt{1-\rho^2}+\rho\,(\pi-\arccos\rho)\bigr),\qquad
#   \Theta(\rho)=K(\rho)+\tfrac{\rho}{2\pi}(\pi-\arccos\rho) .$$
#
# The training inputs are orthonormal. Each has the kernel $\Theta(1) = 1$ with itself and
# $b = \Theta(0) = \tfrac1{2\pi}$ with every other, so that with $a = 1 - b$ their Gram matrix is
#
# $$\Theta(X, X) = a\,I + b\,\mathbf 1\mathbf 1^\top, \qquad \Theta(X, X)^{-1} = \frac1a\Bigl(I - \frac{b}{a+kb}\,\mathbf 1\mathbf 1^\top\Bigr) .$$
#
# A test input with $w$ ones has cosine $1/\sqrt w$ with $w$ of the training inputs and $0$ with the others. Write
# $\theta_w = \Theta(1/\sqrt w)$. Kernel regression multiplies this row of kernels by the inverse Gram matrix, and
# what comes out has two values. Since the labels are unit vectors too, these weights are at once the mean outputs:
#
# $$\begin{aligned} \mu_1 &=\frac1a\Bigl(\theta_w-b\,\frac{w\theta_w+(k-w)b}{a+kb}\Bigr)\ \text{ where } Px=1, \\[4pt]
#   \mu_0 &=\frac ba\Bigl(1-\frac{w\theta_w+(k-w)b}{a+kb}\Bigr)\ \text{ where } Px=0 . \end{aligned}$$
#
# The sign is the message: $\mu_1 > 0 \ge \mu_0$, with $\mu_0 = 0$ only at $w = 1$, on the training inputs themselves.
# A ReLU network sees something in common even in orthogonal inputs, the constant $b$; regression takes this
# background away, and takes away a little too much. The distance between the levels is $(\theta_w - b)/a$, which
# falls like $1/(2a\sqrt w)$: the more ones an input has, the less it resembles any one training input.
#
# Around its mean the trained output still has part of the randomness of the initial function. Over inputs, the same
# for each output bit and independent between bits,
#
# $$\Sigma = K_{xx} - \Pi K_{Xx} - K_{xX}\Pi^\top + \Pi K_{XX}\Pi^\top, \qquad \Pi = \Theta_{xX}\,\Theta_{XX}^{-1} ,$$
#
# where $X$ stands for the training and $x$ for the test inputs {cite:p}`lee2019wide`.

# %% tags=["parameters"]
seed = 0  # all random numbers derive from it
width = 512  # hidden units of the networks that are trained
networks = 1024  # independently trained networks, on permutations of length 6
steps = 80  # steps of gradient descent, enough for a loss of rounding errors
at_once = 1  # networks trained side by side: 1 is fastest on a few cores, hundreds on a GPU
largest = 10  # largest k for which all 2^k - 1 inputs are examined, at least 10
draws = 400  # joint draws of a trained network's outputs on all inputs
single_sizes = [16, 32, 64, 128, 256, 512, 1024]  # k for which one input is examined
single_draws = 2000  # draws of its outputs

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from scipy.special import ndtri

from reprise.claims import open_paper
from reprise.kernels.gradient_flow import converged, trained_ensemble
from reprise.kernels.infinite import Kernels, mlp_kernels
from reprise.kernels.orthonormal import orthonormal_law
from reprise.networks.functional import from_vector, functional
from reprise.networks.mlp import MLP, count_parameters
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.ensembles import ensemble_size, needed_size, success_rate
from reprise.statistics.fits import loglog_slope
from reprise.tasks.binary_inputs import nonzero_binary
from reprise.training.loop import fit

use_style()
paper = open_paper("learning-permutations-ntk", globals())

# %% [markdown]
# ## The law of the trained network, twice
#
# Once by the general machinery, which knows nothing of permutations: `mlp_kernels` computes both kernels between all
# inputs, `trained_ensemble` the mean and covariance of a network trained to convergence, by solving with the Gram
# matrix. (Inputs are multiplied by $\sqrt k$ since the library's first layer divides by it.) And once by
# `orthonormal_law`, the formulas above.
#
# All lengths $k = 4, \dots, 10$ share one computation. In counting order the inputs of a shorter permutation come
# first, with zeros behind their $k$ bits that no kernel notices.

# %%
lengths = range(4, largest + 1)
trained_length = 6  # of the networks that are trained below
rng = np.random.default_rng(seed)
inputs = nonzero_binary(largest)
ones = inputs.sum(1)
unit_inputs = inputs / np.sqrt(ones)[:, None]
permutations = {k: np.eye(k)[rng.permutation(k)] for k in lengths}  # row i is P e_i
truths = {k: inputs[: 2**k - 1, :k] @ permutations[k] for k in lengths}


def part(kernels, rows, columns):
    """The kernels between some of the inputs."""
    block = lambda kernel: kernel[rows][:, columns]
    return Kernels(
        block(kernels.nngp),
        block(kernels.ntk),
        kernels.variance1[rows],
        kernels.variance2[columns],
    )


@jax.jit
def infinite_networks(unit_inputs, permutations):
    """Kernels between all inputs; for each length the mean on all of its inputs, for one also the covariance."""
    kernels, means = mlp_kernels(unit_inputs * largest**0.5, hidden=1), {}
    for k, targets in permutations.items():
        basis, every = 2 ** np.arange(k) - 1, slice(0, 2**k - 1)
        law = trained_ensemble(
            part(kernels, basis, basis),
            part(kernels, every, basis),
            part(kernels, every, every),
            targets,
            converged(),
        )
        means[k] = law.mean
        if k == trained_length:
            covariance = law.covariance
    return kernels, means, covariance


@jax.jit
def closed_form(length, ones):
    """Levels and variance by the formulas, and the variance before training."""
    return orthonormal_law(length, ones)


with jax.enable_x64(True):
    kernels, means, covariance = jax.tree.map(
        np.asarray, infinite_networks(unit_inputs, permutations)
    )
    # One call for every length and number of ones on this page, the single inputs of the end included.
    cases = [(k, w) for k in lengths for w in range(1, k + 1)] + [(k, k) for k in single_sizes]
    table = np.stack(closed_form(*np.array(cases, float).T), axis=-1)
levels = {
    k: {w: row for (length, w), row in zip(cases, table, strict=True) if length == k}
    for k in lengths
}


def by_formula(k):
    """Mean where the target is one, mean where it is zero, and variance, on every input of length k."""
    return np.stack([levels[k][w] for w in ones[: 2**k - 1].astype(int)], axis=-1)


# %%
on, off, variance = by_formula(10)
two_levels = np.where(truths[10] > 0, on[:, None], off[:, None])
difference = np.abs(two_levels - means[10]).max()
variances = np.abs(by_formula(trained_length)[2] - np.diag(covariance)).max()
print(
    f"formula against kernel solve: means differ by {difference:.1e}, variances by {variances:.1e}"
)
paper.report("closed-form-mean", difference)

# %% [markdown]
# The signs, for every input and every output bit of $k = 4, \dots, 10$, from the kernel solve:

# %%
claimed = range(4, 11)
right_sign = {k: np.where(truths[k] > 0, means[k] > 0, means[k] <= 1e-12) for k in claimed}
fractions = [right_sign[k].mean() for k in claimed]
everywhere = np.concatenate([right_sign[k].ravel() for k in claimed])
paper.report("sign-based-features", everywhere.mean(), samples=fractions)

# %% [markdown]
# ## Networks of finite width
#
# Now the real thing: networks with `width` hidden units, on permutations of length six, trained by full-batch
# gradient descent on the six unit vectors. The loss is $\tfrac12\sum_i\lVert f(e_i) - Pe_i\rVert^2$ and the step
# $1/(a + kb)$, one over the Gram matrix' largest eigenvalue. The slowest mode, with eigenvalue $a$, then shrinks to
# about a half at every step, so that the number of steps is ample. Then each network is asked about all 63 inputs.

# %%
k = trained_length
make = lambda: MLP([k, width, k], parametrization="ntk", rngs=nnx.Rngs(0))
apply, shapes = functional(nnx.eval_shape(make))
b = 1 / (2 * np.pi)
step = 1 / (1 - b + k * b)


@jax.jit
def train(key, x, targets):
    """Outputs of all trained networks on all inputs, and the losses that are left."""
    theta = jax.random.normal(key, (networks, count_parameters(shapes)))
    basis = x[2 ** np.arange(k) - 1]

    def loss(params, _):
        return 0.5 * jnp.sum((apply(params, basis) - targets) ** 2)

    def one(vector):
        params, history = fit(loss, from_vector(shapes, vector), optax.sgd(step), key, steps)
        return apply(params, x), history["loss"][-1]

    together = {"batch_size": at_once} if at_once > 1 else {}
    return jax.lax.map(one, theta, **together)


x6 = unit_inputs[: 2**k - 1, :k] * k**0.5
outputs, losses = map(
    np.asarray,
    train(jax.random.key(seed), x6.astype("float32"), permutations[k].astype("float32")),
)
print(f"largest loss left in a network: {losses.max():.1e}")

# %% [markdown]
# One input shows what is going on.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three bar charts of the six outputs for one input: a single trained network's bars are irregular and some lie on the wrong side of the threshold, the average over all networks shows two clean levels above and below the threshold."}}
on, off, variance = by_formula(k)
threshold = (on + off) / 2
truth = truths[k] > 0
four_ones = np.flatnonzero(ones[: 2**k - 1] == 4)
wrong = ((outputs > threshold[:, None]) != truth).mean((0, 2))
example = four_ones[0]
errors = ((outputs[:, example] > threshold[example]) != truth[example]).sum(1)
typical = int(np.flatnonzero(errors == np.median(errors).astype(int))[0])
fig, axes = plt.subplots(1, 3, sharey=True, figsize=(7.6, 3.2))
for ax, values, title in (
    (axes[0], outputs[typical, example], "one network"),
    (axes[1], outputs[: min(64, networks), example].mean(0), f"mean of {min(64, networks)}"),
    (axes[2], outputs[:, example].mean(0), f"mean of all {networks}"),
):
    colors = [PALETTE["orange"] if bit else PALETTE["blue"] for bit in truth[example]]
    ax.bar(range(1, k + 1), values, color=colors)
    for level in (on[example], off[example]):
        ax.axhline(level, color=THEORY, lw=1.2)
    ax.axhline(threshold[example], color=THEORY, lw=1.2, ls="--")
    ax.set(title=title, xlabel="output bit", xticks=range(1, k + 1))
    ax.grid(False, axis="x")
axes[0].set_ylabel("trained output")
handles = [
    plt.Rectangle((0, 0), 1, 1, color=PALETTE["orange"]),
    plt.Rectangle((0, 0), 1, 1, color=PALETTE["blue"]),
    plt.Line2D([], [], color=THEORY, lw=1.2),
    plt.Line2D([], [], color=THEORY, lw=1.2, ls="--"),
]
fig.legend(
    handles,
    ["bit is 1", "bit is 0", r"levels $\mu_1$, $\mu_0$", "threshold"],
    loc="outside upper center",
    ncols=4,
)
plt.show()
bits = lambda row: "".join(str(int(bit)) for bit in row)
print(f"input {bits(inputs[example, :k])}, permuted {bits(truths[k][example])}")
print(f"share of single outputs on the wrong side of the threshold: {wrong.mean():.0%}")

# %% [markdown]
# Left: a typical trained network on an input that it has never seen. Its outputs are spread far wider than the two
# levels are apart. Middle and right: the average settles on the levels, which no network had a part in computing.
#
# The claim compares the average over all networks with $\mu$, in units of the distance between the levels. Sampling
# alone, with this many networks, leaves the error printed below; the criterion leaves room for little more, and so
# for little effect of finite width. As a guard the variance across networks must match the diagonal of $\Sigma$ to
# ten per cent.

# %%
gap = np.sqrt(np.mean((on - off) ** 2))
mean_error = np.sqrt(np.mean((outputs.mean(0) - means[k]) ** 2)) / gap
sampling_error = np.sqrt(np.diag(covariance).mean() / networks) / gap
variance_ratio = outputs.var(0, ddof=1).mean() / np.diag(covariance).mean()
print(f"error of the mean: {mean_error:.4f} of the gap, sampling alone: {sampling_error:.4f}")
print(f"variance across networks / predicted: {variance_ratio:.3f}")
paper.report("finite-nets-follow", mean_error if abs(variance_ratio - 1) <= 0.1 else np.inf)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the two mean levels with bands of one standard deviation against the number of ones for k = 6; the bands overlap widely, and dots of trained networks lie on the levels. Right: gap between the levels and standard deviation of one network against the number of ones up to 1024; the gap falls as one over the square root, the standard deviation stays."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.5))
w6 = np.arange(1, k + 1)
by_w = np.stack([levels[k][w] for w in w6], axis=-1)
for level, color, name, bit in (
    (by_w[0], "orange", r"$\mu_1$, bit is 1", True),
    (by_w[1], "blue", r"$\mu_0$, bit is 0", False),
):
    spread = np.sqrt(np.clip(by_w[2], 0, None))
    axes[0].plot(w6, level, color=PALETTE[color], label=name)
    axes[0].fill_between(
        w6, level - spread, level + spread, color=PALETTE[color], alpha=0.18, lw=0
    )
    for w in w6:
        mine = (
            truth & (ones[: 2**k - 1] == w)[:, None]
            if bit
            else ~truth & (ones[: 2**k - 1] == w)[:, None]
        )
        if mine.any():
            axes[0].plot(w, outputs.mean(0)[mine].mean(), "o", color=PALETTE[color], ms=6)
axes[0].plot([], [], "o", color=PALETTE["grey"], label="trained networks, mean")
axes[0].set(xlabel="number of ones $w$", ylabel="trained output", title="k = 6, band: 1 std")
axes[0].legend(loc="upper right")
singles = table[-len(single_sizes) :]
n = np.array(single_sizes, float)
axes[1].plot(
    n, singles[:, 0] - singles[:, 1], "o-", color=PALETTE["green"], label=r"gap $\mu_1-\mu_0$"
)
axes[1].plot(
    n, np.sqrt(singles[:, 2]), "s-", color=PALETTE["purple"], label="std of one network"
)
axes[1].plot(
    n, 1 / (2 * (1 - b) * np.sqrt(n)), "--", color=THEORY, lw=1.2, label=r"$1/(2a\sqrt{w})$"
)
axes[1].set(
    xscale="log", yscale="log", xlabel="number of ones $w = k$", title="all-ones inputs"
)
axes[1].set_xticks(n[::2], [f"{tick:.0f}" for tick in n[::2]])
axes[1].set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
axes[1].minorticks_off()
axes[1].legend(loc="center right", bbox_to_anchor=(1, 0.66))
plt.show()

# %% [markdown]
# Left: the lines are the formulas, the dots averages over trained networks. At $w = 1$, on the training inputs,
# nothing is random any more. From two ones on, the bands of one standard deviation overlap. Right: for long
# permutations the spread of a single network stays near a constant while the gap closes like $1/\sqrt w$: this ratio
# is the price of reading the answer.
#
# ## How many networks are enough?
#
# The average of $N$ networks is Gaussian with mean $\mu$ and covariance $\Sigma/N$. We call an output bit 1 if it
# exceeds the midpoint $\tau_w = (\mu_0 + \mu_1)/2$, which depends on the input only through the number of ones in it.
# With $G$ the deviation of a single network at some input and bit, the average is on the right side as soon as
# $|G|/\sqrt N$ is less than half a gap, or $G$ points the other way. One joint draw of $G$ over inputs and bits
# therefore tells the ensemble size that it needs:
#
# $$N = \max_{x,\,j\ \text{(wrong way)}}\Bigl(\frac{2\,G_{xj}}{\mu_1-\mu_0}\Bigr)^2 .$$
#
# That is `needed_size`. The 95 % quantile of this number over draws is the smallest ensemble with 95 % exact
# recovery.
#
# **One input.** For the input of all ones, there are $k$ independent bits, each of which must not deviate by half a
# gap. The largest of $k$ Gaussians grows like $\sqrt{2\log k}$, and the gap squared falls like $1/k$. Hence
# $N\sim k\log k$. Here even the quantile has a closed form,
# $N_{95} = (2\sigma/\text{gap})^2\,\Phi^{-1}(0.95^{1/k})^2$ with the normal quantile function $\Phi^{-1}$.

# %%
single_needed = []
for length, (high, low, spread) in zip(single_sizes, singles, strict=True):
    deviations = spread**0.5 * rng.standard_normal((single_draws, length), dtype=np.float32)
    single_needed.append(
        ensemble_size(needed_size(-deviations, np.full(length, (high - low) / 2)), 0.95)
    )
linearithmic = n * np.log(n)
slope = loglog_slope(linearithmic, single_needed)
exact_single = (
    4 * singles[:, 2] / (singles[:, 0] - singles[:, 1]) ** 2 * ndtri(0.95 ** (1 / n)) ** 2
)
print("networks needed:")
for length, size in zip(single_sizes, single_needed, strict=True):
    print(f"  k = {length:4d}: {size:6.0f}")
print(f"slope of the closed form: {loglog_slope(linearithmic, exact_single):.3f}")
paper.report(
    "single-input-linearithmic",
    slope,
    samples=np.diff(np.log(single_needed)) / np.diff(np.log(linearithmic)),
)

# %% [markdown]
# The slope is a little above 1 because the law is asymptotic: the maximum of $k$ Gaussians approaches
# $\sqrt{2\log k}$ slowly and from below, and the spread of a single network still grows a little, too.
#
# **All inputs.** Now $k\,2^k$ events must not happen, and a union bound puts $\log(k2^k)\approx k\log 2$ in the place
# of $\log k$, hence $N = O(k^2)$. The events are strongly dependent (inputs overlap), so we sample them jointly. The
# most direct way is to draw an *untrained* infinite network $f_0$ on all inputs from the Gaussian process with
# covariance $K$, and to train it, which is a linear map: what training leaves of $f_0$ is $G = f_0(x) - \Pi f_0(X)$.
# Its covariance is $\Sigma$. (As a guard the variance of the draws must match the closed form to ten per cent.)

# %%
# Outputs of untrained networks, [draws, bits, inputs].
root = np.linalg.cholesky(kernels.nngp).astype("float32")
initial = rng.standard_normal((draws, largest, len(root)), dtype="float32") @ root.T


def trained_deviations(k):
    """What training leaves of the initial functions, on all inputs of length k but the training inputs."""
    basis, every = 2 ** np.arange(k) - 1, np.flatnonzero(ones[: 2**k - 1] > 1)
    gram, cross = kernels.ntk[np.ix_(basis, basis)], kernels.ntk[np.ix_(basis, every)]
    regression = np.linalg.solve(gram, cross).astype("float32")
    return initial[:, :k, every] - initial[:, :k, basis] @ regression, every


def needed_for_all(k, rule="midpoint"):
    """Ensemble size that each draw needs, on all inputs of length k; no rule gets the training inputs wrong."""
    deviations, every = trained_deviations(k)
    bit_is_one = truths[k][every].T > 0
    high, low, _ = by_formula(k)[:, every]
    cut = {"midpoint": (high + low) / 2, "zero": 0.0, "half": 0.5}[rule]
    margins = np.where(bit_is_one, high - cut, cut - low).astype("float32")
    wrong_way = np.where(bit_is_one, -deviations, deviations)
    return needed_size(wrong_way.reshape(draws, -1), margins.ravel())


needed = {k: needed_for_all(k) for k in lengths}
sizes = {k: ensemble_size(needed[k], 0.95) for k in lengths}
alone = success_rate(needed[10], 1)
deviations, every = trained_deviations(10)
drawn_ratio = np.mean(deviations**2) / by_formula(10)[2][every].mean()
print("networks needed:", *(f"{size:.0f} (k = {k})" for k, size in sizes.items()))
print(f"one network alone is right everywhere, k = 10: {alone:.1%} of draws")
print(f"variance of the draws / predicted, k = 10: {drawn_ratio:.3f}")
growth = lambda ten, five: (ten / 100) / (five / 25)
batches = [growth(*(ensemble_size(needed[k][i::4], 0.95) for k in (10, 5))) for i in range(4)]
paper.report(
    "all-inputs-quadratic",
    growth(sizes[10], sizes[5]) if alone <= 0.01 and abs(drawn_ratio - 1) <= 0.1 else np.inf,
    samples=batches,
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Ensemble size needed against k on logarithmic axes. Left, one input: measured points lie on the closed form and along the k log k guide. Right, all inputs: points along the k squared guide; with a threshold at zero the points lie about a hundred times higher."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.6))
axes[0].plot(n, single_needed, "o", color=PALETTE["green"], label="sampled")
axes[0].plot(n, exact_single, color=THEORY, lw=1.2, label="closed form")
axes[0].plot(
    n,
    single_needed[0] * linearithmic / linearithmic[0],
    "--",
    color=PALETTE["grey"],
    label=r"$\propto k\log k$",
)
axes[0].set(title="one input, all ones", xticks=n[::2])
k_axis = np.array(lengths, float)
at_zero = [ensemble_size(needed_for_all(k, "zero"), 0.95) for k in lengths]
axes[1].plot(
    k_axis,
    [sizes[k] for k in lengths],
    "o",
    color=PALETTE["green"],
    label="threshold at the midpoint",
)
axes[1].plot(k_axis, at_zero, "^", color=PALETTE["red"], label="threshold at zero")
axes[1].plot(
    k_axis, sizes[4] / 16 * k_axis**2, "--", color=PALETTE["grey"], label=r"$\propto k^2$"
)
axes[1].set(title="all inputs", xticks=k_axis)
for ax, ticks in ((axes[0], n[::2]), (axes[1], k_axis)):
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="length $k$ of the permutation",
        ylabel="networks needed, 95%",
    )
    ax.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    ax.minorticks_off()
    ax.legend()
plt.show()
naive = ensemble_size(needed_for_all(6, "half"), 0.95)
print(f"slope over k for all inputs: {loglog_slope(k_axis, [sizes[k] for k in lengths]):.2f}")
print(
    f"threshold at zero: slope {loglog_slope(k_axis, at_zero):.2f};  threshold at 1/2, k = 6: {naive} networks"
)

# %% [markdown]
# Left: the sampled sizes lie on the closed form, which runs nearly along the dashed $k\log k$. Right: over these few
# lengths all inputs together cost about $k^2$.
#
# The triangles ask how much the threshold matters. The signs alone suggest to cut at zero. That works, too, but costs
# some hundred times as many networks, because one level lies next to zero: $\mu_0$ on inputs with few ones (left
# panel of the last figure), $\mu_1$ on inputs with many. Both of these shrink like $1/k$, faster than the gap.
# Rounding at $1/2$, as one would round a bit, never works: $\mu_1$ falls below it as soon as the input has a few
# ones, and averaging more networks only makes the wrong answer certain.
#
# ## Trained networks, averaged
#
# Finally the two halves of this page together: how often do averages of $N$ *trained* networks get all 63 inputs
# right? Ensembles are random subsets of the networks from above.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Probability of exact recovery on all inputs against ensemble size for k = 6: subsets of trained networks follow the predicted curve from near zero for one network to one near a hundred."}}
members = np.unique(np.round(2 ** np.arange(0, np.log2(networks / 4) + 0.1, 0.5)).astype(int))
subset_rng = np.random.default_rng(seed)
flat = outputs.reshape(networks, -1)


def recovered(size, subsets=200):
    """Share of random ensembles of trained networks that are right on all inputs."""
    weights = np.zeros((subsets, networks), np.float32)
    for row in weights:
        row[subset_rng.choice(networks, size, replace=False)] = 1 / size
    averages = (weights @ flat).reshape(subsets, *truth.shape)
    return ((averages > threshold[:, None]) == truth).all((1, 2)).mean()


by_networks = [recovered(size) for size in members]
fine = np.arange(1, members[-1] + 1)
fig, ax = plt.subplots(figsize=(6.8, 3.8))
ax.plot(fine, success_rate(needed[6], fine), color=THEORY, label="infinite width, k = 6")
ax.plot(
    members,
    by_networks,
    "o",
    color=PALETTE["blue"],
    label=f"trained networks of width {width}, k = 6",
)
for length in (4, 8, 10):
    rate = success_rate(needed[length], fine)
    ax.plot(
        fine,
        rate,
        color=PALETTE["grey"],
        lw=1.3,
        label="infinite width, other k" if length == 4 else None,
    )
    half, side = int(np.argmax(rate >= 0.5)), "right" if length == 8 else "left"
    offset = (-5 if side == "right" else 5, -4)
    ax.annotate(f"k = {length}", (fine[half], 0.5), offset, textcoords="offset points", ha=side)
ax.axhline(0.95, color=THEORY, lw=1, ls=":")
ax.set(xscale="log", xlabel="networks in the ensemble", ylabel="all inputs right (probability)")
ax.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
ax.minorticks_off()
fig.legend(loc="outside upper center", ncols=2)
plt.show()

# %%
solution = np.linalg.lstsq(np.eye(k), permutations[k], rcond=None)[0]
linear_right = ((inputs[: 2**k - 1, :k] @ solution > 0.5) == truth).mean()
print(
    f"linear regression on the same six examples: {linear_right:.0%} of all output bits right"
)

# %% [markdown]
# The dots are real networks, the dark curve is the law at $k = 6$. A single network never gets everything right; some
# twenty do about every other time, a hundred almost surely. The grey curves are for other lengths; the dotted line is
# at 95 %.
#
# A fair warning is printed last. Linear regression on the same examples returns $P$ itself and is right everywhere,
# with no ensemble. The permutation is a linear map, and nothing about it is hard to represent or to infer. The point
# of the paper is that this *network*, trained by gradient descent in the kernel regime, gets there at all, and what
# it costs.
#
# ## What differs from the paper
#
# - **Constants.** Conventions for the scale of the weights change $K$ and $\Theta$ by constant factors. They cancel
#   in the mean and multiply $\Sigma$, so the numbers of networks printed here are for the parametrisation given
#   above.
# - **The rounding step** on this page cuts at the midpoint of the two levels. The ensemble sizes for other cuts are
#   shown for comparison.
# - **Ensemble sizes are measured, not bounded.** The paper proves upper bounds on the number of networks. Here the
#   smallest sufficient number is sampled from the exact law, which shows that the growth rates of the bounds are
#   those of the numbers themselves, over the range of $k$ on this page: up to a thousand for one input, up to ten for
#   all of them. Two octaves are not much evidence for an exponent; the derivation is.
# - **Training** is gradient descent with a finite step on networks of finite width, for one length. The errors that
#   are left are mostly the sampling error of the mean. Finite width adds a bias that vanishes with width.
# - Everything is about the kernel regime. A network whose features move could do better or worse, and this page says
#   nothing about it; {doc}`infinite-width-feature-learning` is about that limit.
#
# ## Things to try
#
# - `reprise sweep learning-permutations-ntk -p width=16,64,256 -p networks=1024` lets the networks become narrow. At
#   width 16 the average still sits within a few hundredths of the gap from its levels, but the networks differ less
#   from each other than the law says, and some have not even fitted the training data with this step.
# - `reprise run learning-permutations-ntk -p steps 2` stops early. More than a quarter of most residuals is still
#   there: the mean is off by a good part of the gap, and the variance is too large, since less of the initial
#   function has been unlearned.
# - `reprise run learning-permutations-ntk -p largest 12 -p draws 100` takes the quadratic growth a little further.
# - In the notebook: replace `on_sphere` in `orthonormal_law` by a kernel with more hidden layers, or another
#   nonlinearity. Any kernel of the cosine gives two levels; one with $\Theta(0) = 0$, such as that of an odd
#   nonlinearity, makes $\mu_0$ vanish.

# %%
paper.verdicts()
