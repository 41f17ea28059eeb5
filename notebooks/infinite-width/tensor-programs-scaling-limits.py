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
# # Scaling Limits of Wide Neural Networks with Weight Sharing: Gaussian Process Behavior, Gradient Independence, and Neural Tangent Kernel Derivation
#
# A wide random network is a sum of many small random terms, so in the limit it ought to be Gaussian, with a
# covariance that can be computed layer by layer. For fully connected networks this is a classical argument
# {cite:p}`neal1996bayesian,lee2018gp`. It leans on one convenience: every layer has a weight matrix of its own,
# independent of everything that came before.
#
# Most architectures break that. A recurrent network multiplies by the *same* matrix at every time step. And every
# network, once gradients are taken, multiplies by the *transpose* of matrices that it has already used going forward.
# Is the limit still Gaussian? Is its covariance still the obvious one? {cite:t}`yang2019scaling` answers once for all
# architectures. Write down the computation as a **tensor program**, a list of matrix products and coordinatewise
# functions. Then a mechanical rule gives the limit of every vector in it, re-used matrices included:
#
# - Re-use **forward** is harmless. The limit is Gaussian, and the rule's only change is that two products with the
#   same matrix are correlated.
# - Re-use **transposed** needs a correction. It drops out, and the popular *gradient independence assumption* is
#   right, if the read-out weights are drawn independently, with mean zero, and used nowhere else. Otherwise it can be
#   wrong, by an amount that the rule gives.
#
# This page puts each of these to the test: a recurrent network whose covariance *between* time steps betrays the
# shared matrix, a gradient that is twice as large as independence would have it, the tangent kernel of a recurrent
# network, and, as a bonus from the same calculus, Wigner's semicircle.
#
# ## The rules
#
# All vectors have $n$ coordinates, and $n\to\infty$. A program without transposes is made of three kinds of lines:
#
# | | line | in the limit |
# |---|---|---|
# | input | $g$ with Gaussian coordinates | given |
# | product | $g = W h$, with $W_{ij}\sim N(0, \sigma_w^2/n)$ | coordinates are Gaussian |
# | nonlinearity | $h = \phi(g^1, \dots, g^k)$, coordinate by coordinate | $\phi$ of Gaussians |
#
# The claim is that the coordinates of $(g^1, g^2, \dots)$ behave like independent draws of one Gaussian vector $Z$.
# All there is to know is its covariance, and there is one rule for it:
#
# $$\operatorname{Cov}\bigl(Wh,\; W'h'\bigr) = \begin{cases}\sigma_w^2\,\mathbb E\bigl[\phi_h(Z)\,\phi_{h'}(Z)\bigr] & \text{if } W
#   \text{ and } W' \text{ are the same matrix,}\\ 0 & \text{if they are independent.}\end{cases}$$
#
# Averages over coordinates then converge to expectations, $\tfrac1n\sum_\alpha\psi(g_\alpha)\to\mathbb E\,\psi(Z)$.
#
# ## A recurrent network as a program
#
# Our test case is an Elman network that reads a sequence $x^1, \dots, x^T$ of vectors in $\mathbb R^d$:
#
# $$h^t=\phi(g^t),\qquad g^t = W h^{t-1}+U x^t + b,\qquad y=\tfrac{1}{\sqrt n}\,v^\top h^T, \qquad h^0 = 0,$$
#
# with $U_{ij}\sim N(0, \sigma_u^2/d)$, $b_i\sim N(0, \sigma_b^2)$, $v_i\sim N(0, 1)$. Applied to two sequences
# $x, x'$ and two times $t, t'$, the rule says
#
# $$C^{t,t'}(x,x')=\underbrace{\sigma_w^2\,\mathbb E\bigl[\phi(z)\phi(z')\bigr]_{(z,z')\sim N(0,\,C^{t-1,t'-1})}}_{\text{same } W \text{ at both times}}
#   \;+\;\sigma_u^2\,\frac{\langle x^t,x'^{t'}\rangle}{d}+\sigma_b^2 ,$$
#
# where the first term is absent if $t$ or $t'$ is 1. Had every step a matrix of its own, it would be there only for
# $t = t'$. So weight sharing has a signature: covariance between *different* times that inputs and biases do not
# explain. We take $\phi = \mathrm{erf}$, for which the expectation is elementary {cite:p}`williams1997computing`:
# with variances $a, b$ and covariance $c$,
#
# $$\mathbb E[\phi\phi']=\tfrac2\pi\arcsin\tfrac{2c}{\sqrt{(1+2a)(1+2b)}},\qquad
#   \mathbb E[\dot\phi\dot\phi']=\tfrac4\pi\,\bigl[(1+2a)(1+2b)-4c^2\bigr]^{-1/2} .$$

# %% tags=["parameters"]
seed = 0  # all random numbers derive from it
widths = [
    64,
    128,
    256,
    512,
    1024,
]  # widths n of the recurrent networks; tangent kernels at all but the last
networks = 32  # random networks at every width
length = 5  # time steps T of the sequences, one fewer for the tangent kernel
weight_std = 1.2  # sigma_w, of the recurrent matrix
input_std = 0.8  # sigma_u, of the input matrix
bias_std = 0.2  # sigma_b
gradient_width = 512  # n, for the gradients with and without independence
gradient_networks = 64  # random draws behind their ratio
matrix_size = 2048  # n of the symmetric matrices
matrices = 8  # how many of them
probes = 16  # vectors that every one of them is probed with

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx
from scipy.special import erf, ndtri

from reprise.claims import open_paper
from reprise.kernels.activations import ERF
from reprise.kernels.empirical import jacobian_ntk
from reprise.kernels.recurrent import recurrent_kernels
from reprise.networks.feedback import feedback_matmul
from reprise.networks.functional import from_vector, functional
from reprise.networks.mlp import count_parameters
from reprise.networks.recurrent import Recurrent
from reprise.numerics.random_matrices import catalan, even_moments, semicircle_density
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.fits import loglog_slope

use_style()
paper = open_paper("tensor-programs-scaling-limits", globals())

# %% [markdown]
# ## The limit and the networks
#
# `recurrent_kernels` is the recursion above, for all pairs of sequences and times. `tied=False` is the other theory,
# in which each step has its own matrix. `Recurrent` is the network; given `steps`, it really has one matrix for each
# step. From every random network we keep the inner products of its states, $h^t(x)^\top h^{t'}(x')/n$, whose limit is
# $\mathbb E[\phi\phi']$ under $C^{t,t'}$, and, for all but the widest, its tangent kernel, of which more below.

# %%
rng = np.random.default_rng(seed)
sequences = rng.normal(size=(4, length, 3)).astype("float32")
shorter = sequences[:, :-1]
scales = {"weight_std": weight_std, "input_std": input_std, "bias_std": bias_std}


@jax.jit
def limits(x, shorter):
    """Limits of the states' inner products, tied and untied, and of the shorter sequences' tangent kernel."""
    kernels = partial(recurrent_kernels, nonlinearity=ERF, **scales)
    return kernels(x).state, kernels(x, tied=False).state, kernels(shorter).ntk


@partial(jax.jit, static_argnames=("width", "count", "tied", "tangent"))
def random_networks(key, x, *, width, count, tied=True, tangent=False):
    """Inner products of the states of random networks, [count, sequences, sequences, T, T], and tangent kernels."""
    module = nnx.eval_shape(
        lambda: Recurrent(
            3,
            width,
            activation=ERF.function,
            steps=None if tied else length,
            rngs=nnx.Rngs(0),
            **scales,
        )
    )
    output, shapes = functional(module)
    states, _ = functional(module, lambda model, x: model.states(x))

    def one(theta):
        params = from_vector(shapes, theta)
        h = states(params, x)
        found = {"states": jnp.einsum("ntk,msk->nmts", h, h, precision="highest") / width}
        if tangent:
            found["tangent"] = jacobian_ntk(output, params, x[:, :-1])
        return found

    return jax.lax.map(one, jax.random.normal(key, (count, count_parameters(shapes))))


# %% [markdown]
# Two more programs are needed further down, for gradients and for symmetric matrices. They are explained there, and
# defined here so that everything can be compiled side by side.


# %%
@jax.jit
def gradients(key):
    """Gradients in x of n f (mean read-out) and of sqrt(n) f (independent one), each with W and with a fresh matrix."""
    n = gradient_width

    def one(key):
        keys = jax.random.split(key, 4)
        forward, fresh = (jax.random.normal(k, (n, n)) / n**0.5 for k in keys[:2])
        h, v = (jax.random.normal(k, (n,)) for k in keys[2:])
        x = ERF.function(h)
        through = lambda x, backward: feedback_matmul(x, forward, backward)
        mean = jax.grad(lambda x, backward: jnp.sum(through(x, backward) ** 2))
        independent = jax.grad(lambda x, backward: jnp.sum(v * through(x, backward) ** 2))
        return {
            "mean": (mean(x, forward), mean(x, fresh)),
            "independent": (independent(x, forward), independent(x, fresh)),
        }

    return jax.lax.map(one, jax.random.split(key, gradient_networks))


@jax.jit
def symmetric_moments(key):
    """|A^k v|^2 / n for k = 1..4, random symmetric matrices and random probes."""
    n = matrix_size

    def one(key):
        for_matrix, for_probes = jax.random.split(key)
        w = jax.random.normal(for_matrix, (n, n)) / n**0.5
        v = jax.random.normal(for_probes, (n, probes))
        return even_moments(lambda v: (w @ v + w.T @ v) / 2**0.5, v, 4)

    return jax.lax.map(one, jax.random.split(key, matrices))


tangent_widths = widths[:-1]
key_gradients, key_matrices, key_untied, key_more, *keys = jax.random.split(
    jax.random.key(seed), 4 + len(widths)
)
jobs = {
    width: (
        random_networks,
        (keys[0], sequences),
        {"width": width, "count": networks, "tangent": width in tangent_widths},
    )
    for width in widths
}
jobs["untied"] = (
    random_networks,
    (keys[0], sequences),
    {"width": widths[-2], "count": networks // 2, "tied": False},
)
jobs |= {
    "limits": (limits, (sequences, shorter), {}),
    "gradients": (gradients, (keys[0],), {}),
    "moments": (symmetric_moments, (keys[0],), {}),
}
with ThreadPoolExecutor(2) as pool:
    compiled = pool.map(lambda job: job[0].lower(*job[1], **job[2]).compile(), jobs.values())
    programs = dict(zip(jobs, compiled, strict=True))

tied, untied, tangent_limit = jax.tree.map(np.asarray, programs["limits"](sequences, shorter))
found = {
    width: jax.tree.map(np.asarray, programs[width](key, sequences))
    for width, key in zip(widths, keys, strict=True)
}
separate = np.asarray(programs["untied"](key_untied, sequences)["states"])

# %% [markdown]
# ## The signature of a shared matrix
#
# Two of the sequences, all their time steps, as one covariance matrix: what wide networks do on average above, what
# the recursion says below, with one shared matrix on the left, and with a matrix for each step on the right. (The
# colours end at the largest covariance off the main diagonal.)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four heat maps of ten by ten covariances of states, two sequences by five times. The recurrent network's and the tied formula's look the same; the untied formula's lacks the entries between different times, as does that of the network with separate matrices."}}
square = lambda kernel: kernel[:2, :2].transpose(0, 2, 1, 3).reshape(2 * length, 2 * length)
panels = (
    (found[widths[-1]]["states"].mean(0), "one shared $W$: networks"),
    (tied, "one shared $W$: theory"),
    (separate.mean(0), "a $W$ for each step: networks"),
    (untied, "a $W$ for each step: theory"),
)
fig, axes = plt.subplots(2, 2, figsize=(6.4, 5.6), sharex=True, sharey=True)
between = square(tied)[~np.eye(2 * length, dtype=bool)]
top = np.abs(between).max()
for ax, (kernel, title) in zip(axes.T.ravel(), panels, strict=True):
    image = ax.imshow(square(kernel), cmap="RdBu_r", vmin=-top, vmax=top)
    ax.set_title(title)
    ax.axhline(length - 0.5, color=THEORY, lw=0.8)
    ax.axvline(length - 0.5, color=THEORY, lw=0.8)
    ax.set(xticks=range(2 * length), yticks=range(2 * length))
    ax.set_xticklabels([*range(1, length + 1)] * 2)
    ax.set_yticklabels([*range(1, length + 1)] * 2)
    ax.grid(False)
for ax in axes[1]:
    ax.set_xlabel("time $t'$ in sequence 1 and 2")
for ax in axes[:, 0]:
    ax.set_ylabel("time $t$ in sequence 1 and 2")
fig.colorbar(image, ax=axes, shrink=0.7, extend="max", label=r"$h^t\cdot h^{t'}/n$")
plt.show()

# %% [markdown]
# Each quarter is a pair of sequences, each cell a pair of times. On the diagonals of the quarters, at equal times,
# left and right agree. Off them they do not, and each kind of network follows its own theory. Entry by entry, for all
# pairs of *different* times and all four sequences:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two scatter plots of measured against predicted covariances at different times. For the recurrent network the tied formula's points lie on the diagonal and the untied ones scatter; for the network with separate matrices it is the other way round."}}
different = ~np.eye(length, dtype=bool)
entries = lambda kernel: kernel[..., different].ravel()
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.7), sharey=True)
for ax, states, title in (
    (axes[0], found[widths[-1]]["states"], f"shared W, width {widths[-1]}"),
    (axes[1], separate, f"separate W, width {widths[-2]}"),
):
    measured = entries(states.mean(0))
    ax.plot(
        entries(untied),
        measured,
        "s",
        ms=3,
        alpha=0.5,
        color=PALETTE["orange"],
        label="untied formula",
        rasterized=True,
    )
    ax.plot(
        entries(tied),
        measured,
        "o",
        ms=3,
        alpha=0.6,
        color=PALETTE["blue"],
        label="tied formula",
        rasterized=True,
    )
    ends = [measured.min(), measured.max()]
    ax.plot(ends, ends, color=THEORY, lw=1, label="equality")
    ax.set(title=title, xlabel=r"predicted $h^t\cdot h^{t'}/n$, $t\neq t'$")
axes[0].set_ylabel("mean over networks")
axes[0].legend(markerscale=2)
plt.show()

# %% [markdown]
# The claim is the ratio of the two errors for the recurrent network. It only counts if the order is reversed, by a
# factor of three, for networks that really have separate matrices: else the untied formula might simply be a bad one.


# %%
def error(states, theory):
    """Frobenius norm of the error at different times, after averaging over networks."""
    return np.linalg.norm(entries(states.mean(0)) - entries(theory))


recurrent = found[widths[-1]]["states"]
ratio = error(recurrent, untied) / error(recurrent, tied)
reverse = error(separate, tied) / error(separate, untied)
print(f"shared matrix: error of the untied formula / of the tied one = {ratio:.1f}")
print(f"separate matrices: error of the tied formula / of the untied one = {reverse:.1f}")
paper.report("weight-tying-visible", ratio if reverse >= 3 else 0.0)

# %% [markdown]
# ## How fast the limit is approached
#
# An average over $n$ coordinates should fluctuate by $n^{-1/2}$, and re-using the matrix should not change that. We
# measure the relative deviation $\lVert H - H_\infty\rVert_F/\lVert H_\infty\rVert_F$ of all inner products of states
# (four sequences, all pairs of times), root mean square over networks, and fit a power law.


# %%
def deviation(samples, limit):
    """Root mean square over networks of the relative Frobenius deviation from a limit."""
    squares = ((samples - limit) ** 2).reshape(len(samples), -1).sum(1)
    return np.sqrt(squares.mean() / (limit**2).sum())


def local_slopes(x, y):
    return np.diff(np.log(y)) / np.diff(np.log(x))


state_deviation = [deviation(found[width]["states"], tied) for width in widths]
paper.report(
    "rnn-gp-covariance-rate",
    loglog_slope(widths, state_deviation),
    samples=local_slopes(widths, state_deviation),
)

# %% [markdown]
# ## The tangent kernel of a recurrent network
#
# In the parametrisation in which all parameters are $N(0, 1)$ and the scales $\sigma_w/\sqrt n$, $\sigma_u/\sqrt d$,
# $\sigma_b$, $1/\sqrt n$ stand in the forward pass, the tangent kernel {cite:p}`jacot2018neural` is the inner product
# of two outputs' gradients,
#
# $$\Theta(x, x') = \sum_p \frac{\partial y(x)}{\partial\theta_p}\frac{\partial y(x')}{\partial\theta_p} .$$
#
# ({doc}`neural-tangent-kernel` says what it is good for.) Gradients flow back through $W^\top$, the transpose of a
# matrix that has been used at every step on the way forward. The read-out $v$ is independent with mean zero, so the
# condition for gradient independence holds, and the signals that flow back have covariances of their own,
#
# $$\begin{gathered} \Pi^{T,T}=\mathbb E[\dot\phi\dot\phi']_{C^{T,T}},\qquad \Pi^{t-1,t-1}=\sigma_w^2\,\Pi^{t,t}\;\mathbb E[\dot\phi\dot\phi']_{C^{t-1,t-1}}, \\[4pt]
#   \Theta=\mathbb E[\phi\phi']_{C^{T,T}}+\sum_{t=1}^{T}\Pi^{t,t}\,C^{t,t} . \end{gathered}$$
#
# The first term is the read-out's share. In the sum, $C^{t,t}$ already collects the shares of $W$, $U$ and $b$ at
# time $t$. Only equal times appear: signals that have passed through $W^\top$ a different number of times are
# uncorrelated.
#
# A curious consequence: with a read-out at the last step and sequences of equal length the tangent kernel does not
# know whether the matrix is shared. It would with a read-out that averages over time (`pool="mean"`).

# %%
tangent_deviation = [
    deviation(found[width]["tangent"], tangent_limit) for width in tangent_widths
]
paper.report(
    "rnn-ntk-limit",
    loglog_slope(tangent_widths, tangent_deviation),
    samples=local_slopes(tangent_widths, tangent_deviation),
)

# %% [markdown]
# ### A finite network is not Gaussian
#
# Convergence of the covariance is one thing, that the output becomes Gaussian another. Given the states, the output
# $v^\top h^T/\sqrt n$ is exactly Gaussian with the variance $q = \lVert h^T\rVert^2/n$, so over random networks it is
# a mixture of Gaussians, with excess kurtosis $3\operatorname{Var}(q)/\mathbb E[q]^2$. Since $q$ concentrates like
# $n^{-1/2}$, the kurtosis should fall like $1/n$.

# %%
kurtosis_widths = widths[:3]
kurtosis = []
for width in kurtosis_widths:
    states = [
        programs[width](jax.random.fold_in(key_more, i), sequences)["states"] for i in range(7)
    ]
    q = np.concatenate([found[width]["states"], *map(np.asarray, states)])[
        :, range(4), range(4), -1, -1
    ]
    kurtosis.append(np.mean(3 * q.var(0, ddof=1) / q.mean(0) ** 2))
print(f"excess kurtosis of the output ~ n^{loglog_slope(kurtosis_widths, kurtosis):.2f}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: deviation from the limit against width for state covariances and tangent kernel, both along guides of slope minus one half. Right: excess kurtosis of the output along a guide of slope minus one."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.5), width_ratios=(1.35, 1))
for at, values, color, marker, label in (
    (widths, state_deviation, "blue", "o", "states, all pairs of times"),
    (tangent_widths, tangent_deviation, "green", "s", "tangent kernel"),
):
    axes[0].plot(at, values, marker, color=PALETTE[color], label=label)
    guide = np.exp(np.mean(np.log(values) + 0.5 * np.log(at)))
    axes[0].plot(
        at,
        guide * np.array(at) ** -0.5,
        color=THEORY,
        lw=1.1,
        label="slope −1/2" if color == "green" else None,
    )
axes[0].set(ylabel="relative deviation from the limit")
axes[1].plot(kurtosis_widths, kurtosis, "D", color=PALETTE["purple"], label="output")
guide = np.exp(np.mean(np.log(kurtosis) + np.log(kurtosis_widths)))
axes[1].plot(
    kurtosis_widths, guide / np.array(kurtosis_widths), color=THEORY, lw=1.1, label="slope −1"
)
axes[1].set(ylabel="excess kurtosis")
for ax, at, low, high in (
    (axes[0], widths, 0.05, 0.5),
    (axes[1], kurtosis_widths, 0.005, 0.03),
):
    ax.set(xscale="log", yscale="log", xlabel="width $n$")
    ax.set_xticks(at, at)
    ticks = [tick for tick in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if low <= tick <= high]
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.legend()
plt.show()

# %% [markdown]
# Left: root mean square deviations over networks, with the guides fitted at slope $-1/2$. Right: the output's excess
# kurtosis, zero for a Gaussian. Sharing a matrix over time costs nothing in the rate: this is the same $n^{-1/2}$
# that a network with fresh layers shows.
#
# ## Going backwards: when is $W^\top$ as good as independent?
#
# Mean-field studies of gradients replace the backward matrix $W^\top$ by an independent copy $\widetilde W^\top$
# {cite:p}`schoenholz2017deep`. A case where it can be followed by hand: let $x = \phi(h)$ with Gaussian $h$, one
# product $g = Wx$ (with $\sigma_w = 1$), and a quadratic output that simply averages,
#
# $$f = \tfrac1n\sum_i g_i^2, \qquad n\,\nabla_x f = 2\,W^\top W x .$$
#
# Is $W^\top g$, with $g = Wx$, like a Gaussian vector that knows nothing of $x$? Condition on what is known of $W$,
# that it maps $x$ to $g$. Then $W = g\,x^\top/\lVert x\rVert^2$ plus an independent Gaussian matrix that acts on the
# directions other than $x$, and
#
# $$W^\top g \;=\; x\,\frac{\lVert g\rVert^2}{\lVert x\rVert^2} + \text{noise} \;\longrightarrow\; \sigma_w^2\,x
#   + \text{Gaussian noise of variance } \sigma_w^4\,q ,$$
#
# with $q = \tfrac1n\lVert x\rVert^2$. The noise is what independence predicts. The term along $x$ is the correction: $W^\top$ remembers. It adds $q$ to a
# second moment of $q$, so the true gradient is *twice* as large, in mean square, as independence says.
#
# Now weigh the units with an independent read-out, $f = n^{-1/2}\sum_i v_i g_i^2$ with $v_i\sim N(0,1)$. The same
# calculation gives the coefficient $\langle g, v\odot g\rangle/\lVert x\rVert^2$ in front of $x$, an average of
# $v_ig_i^2$ that tends to zero. No correction; independence is right. This is the paper's condition in miniature.
#
# `feedback_matmul(x, W, B)` multiplies by $W$ going forward and sends gradients back through $B^\top$, so that
# `jax.grad` computes the true gradient with $B = W$ and the one under the independence assumption with a fresh $B$.

# %%
by_readout = jax.tree.map(np.asarray, programs["gradients"](key_gradients))
size = lambda gradient: (gradient**2).sum(1)
ratios = {name: size(true) / size(assumed) for name, (true, assumed) in by_readout.items()}
mean_ratio, independent_ratio = (ratios[name].mean() for name in ("mean", "independent"))
print(
    f"true / assumed squared norm: {mean_ratio:.3f} with the mean, {independent_ratio:.3f} with independent weights"
)
paper.report(
    "gradient-independence-correction",
    mean_ratio if abs(independent_ratio - 1) <= 0.05 else np.inf,
    samples=ratios["mean"],
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Histograms of gradient coordinates. With the mean read-out the true gradient is wider than the one under independence and follows the predicted density; with an independent read-out both histograms coincide."}}
quantiles = (np.arange(2000) + 0.5) / 2000
x_law = erf(ndtri(quantiles))
q = np.mean(x_law**2)
normal = lambda z, variance: np.exp(-(z**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
z = np.linspace(-6, 6, 241)
assumed_density = normal(z, 4 * q)
true_density = normal(z[:, None] - 2 * x_law, 4 * q).mean(1)
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.5), sharey=True)
for ax, name, density, title in (
    (axes[0], "mean", true_density, "read-out: the mean"),
    (axes[1], "independent", assumed_density, "read-out: independent weights"),
):
    true, assumed = (part.ravel() for part in by_readout[name])
    ax.hist(
        true,
        80,
        range=(-6, 6),
        density=True,
        color=PALETTE["blue"],
        alpha=0.45,
        label="true gradient",
    )
    ax.hist(
        assumed,
        80,
        range=(-6, 6),
        density=True,
        histtype="step",
        lw=1.4,
        color=PALETTE["orange"],
        label="assuming independence",
    )
    ax.plot(z, density, color=THEORY, lw=1.3, label="limit of the true one")
    ax.set(title=title, xlabel="coordinate of the scaled gradient")
axes[0].set_ylabel("density")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# Coordinates of $n\nabla f$ (left) and $\sqrt n\,\nabla f$ (right). The dark curve is the law of
# $2(x_i + \sqrt q\,z)$ on the left, with an independent standard normal $z$, and of $2\sqrt q\,z$ on the right. With
# the mean read-out the true gradient is not only larger than under independence, it is not even Gaussian: it carries
# a copy of $x$.
#
# ## The semicircle from the same correction
#
# Let $A = (W + W^\top)/\sqrt2$ be symmetric, with $\sigma_w = 1$, and multiply a random vector $v$ by it again and
# again. Were a fresh matrix used each time, $\lVert A^kv\rVert^2/n$ would stay at 1. The correction changes that.
# What $A$ returns to a vector is a new, independent Gaussian vector plus the vector *before* it: with $u_0 = v$,
#
# $$A\,u_j = u_{j+1} + u_{j-1}, \qquad u_{-1} = 0, \qquad \tfrac1n\langle u_i, u_j\rangle \to \delta_{ij} ,$$
#
# and $\lVert A^kv\rVert^2/n$ counts walks on $\{0, 1, 2, \dots\}$ of $2k$ steps from $0$ back to $0$. Their number is
# the Catalan number 1, 2, 5, 14, ..., which are the even moments of Wigner's semicircle on $[-2, 2]$
# {cite:p}`wigner1958distribution`. So the eigenvalue distribution of a random matrix follows from a tensor program,
# and the correction term is all of it. We only need products $A^kv$ (`even_moments`), no eigenvalues, so the matrices
# can be large. A single $v$ is not enough: at $k = 4$ it scatters by several per cent.

# %%
moments = np.asarray(programs["moments"](key_matrices))
expected = np.array([catalan(k) for k in (1, 2, 3, 4)])
measured = moments.mean((0, 2))
errors = np.abs(measured / expected - 1)
print("moments:", measured.round(3), " Catalan:", expected, " fresh matrices: [1 1 1 1]")
paper.report("semicircle-moments", errors.max(), samples=errors)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: even moments of random symmetric matrices on top of the Catalan numbers, far above the value one for fresh matrices. Right: histogram of eigenvalues under the semicircle."}}
w = rng.normal(size=(4, 400, 400)) / 20
eigenvalues = np.linalg.eigvalsh((w + w.transpose(0, 2, 1)) / np.sqrt(2))
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=(1, 1.3))
orders = np.arange(1, 5)
axes[0].plot(orders, expected, "_", ms=22, mew=1.8, color=THEORY, label="Catalan numbers")
axes[0].plot(orders, measured, "o", color=PALETTE["blue"], label="measured")
axes[0].plot(orders, np.ones(4), "^", color=PALETTE["orange"], label="without correction")
axes[0].set(
    yscale="log", xticks=orders, xlabel="$k$", ylabel=r"$\Vert A^kv\Vert^2/n$", xlim=(0.5, 4.5)
)
axes[0].set_yticks([1, 2, 5, 14], ["1", "2", "5", "14"])
axes[0].minorticks_off()
axes[0].legend()
grid = np.linspace(-2.2, 2.2, 221)
axes[1].hist(
    eigenvalues.ravel(),
    50,
    range=(-2.2, 2.2),
    density=True,
    color=PALETTE["blue"],
    alpha=0.45,
    label="eigenvalues, n = 400",
)
axes[1].plot(grid, semicircle_density(grid), color=THEORY, label="semicircle")
axes[1].set(xlabel="eigenvalue of $A$", ylabel="density", ylim=(0, 0.47))
axes[1].legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# Left: the measured moments sit on the Catalan numbers, on a logarithmic scale; without the correction all would be
# 1. Right: what they are the moments of.
#
# ## What differs from the paper
#
# - The paper is a set of theorems, with almost no experiments. Every number on this page is a measurement of ours
#   against its formulas; rates are the ones expected of averages over $n$ coordinates.
# - The theorems hold for every architecture that is a tensor program. The page follows a handful of programs: one
#   recurrent network, one product and its gradient, powers of one symmetric matrix. Convolutions, attention and batch
#   normalisation obey the same rules but are not simulated. The universality is in the proof, not here.
# - The nonlinearity is bounded and smooth, well inside the conditions (polynomially bounded is enough for most
#   statements).
# - All statements are about random initialisation. That the tangent kernel also stays where it is during training
#   needs more {cite:p}`yang2021architectural`; that it need not, in other parametrisations, is the subject of
#   {doc}`infinite-width-feature-learning`.
# - The later papers of the series {cite:p}`yang2020tensor` restate the rules more simply and call the condition the
#   *simple GIA check*.
#
# ## Things to try
#
# - `reprise run tensor-programs-scaling-limits -p weight_std 0.3`: with a weak recurrent matrix the states are mostly
#   made of the current input, tied and untied theory move together, too close for these networks to tell them apart,
#   and the claim about the signature fails.
# - `reprise run tensor-programs-scaling-limits -p length 8`: longer memory, more pairs of times; the slopes stay.
# - `reprise sweep tensor-programs-scaling-limits -p gradient_width=64,256,1024 -p seed=0..4`: the factor of two is a
#   limit; at small widths the ratio scatters, and single draws at width 512 still scatter by some fifteen per cent.
# - In the library, `recurrent_kernels(..., pool="mean")` has the read-out average over time. Then different times do
#   meet in the tangent kernel, and tied and untied limits part.
# - In the notebook, replace `ERF` by `RELU` or by `smooth(jnp.tanh)` of the same module: the kernels take any
#   nonlinearity that has a dual.

# %%
paper.verdicts()
