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
# # Neural Tangent Kernel: Convergence and Generalization in Neural Networks
#
# Training a network is a descent in a parameter space of thousands or billions of dimensions, on a loss that is not
# convex. {cite:t}`jacot2018neural` look at it from the other end. What matters is the *function* $f_\theta$, and when
# the parameters take a gradient step the function takes one too: a step along the gradient of the loss in function
# space, smoothed by a kernel,
#
# $$\Theta(x, x') = \sum_p \frac{\partial f_\theta(x)}{\partial\theta_p}\,\frac{\partial f_\theta(x')}{\partial\theta_p} ,$$
#
# the **neural tangent kernel** (NTK). It says how much the network's output at $x$ moves when the parameters move so
# as to change the output at $x'$. In function space the squared loss *is* convex. Everything difficult about training
# has been swept into $\Theta$, which for a finite network is random (it depends on the initialisation) and drifts (it
# depends on $\theta$, which moves).
#
# The discovery is that both difficulties fade when the layers are wide and scaled in the right way:
#
# 1. **At initialisation the kernel is no longer random.** It tends to an explicit function of the inputs (theorem 1).
# 2. **During training it does not move.** It stays at that limit for all times up to a fixed $T$ (theorem 2).
#
# So a very wide network, trained by gradient descent, performs kernel regression with a kernel that can be written
# down. This page measures how wide is wide: how fast the randomness and the drift fade, whether the residual decays
# along the kernel's principal components at the predicted rates, whether an ensemble of trained networks is the
# predicted Gaussian, and where the one assumption on the nonlinearity, that it is not a polynomial, comes from.
#
# ## The limit in equations
#
# A network of depth $L$ has $L-1$ hidden layers of widths $n_1, \dots, n_{L-1}$ between its $n_0$ inputs and its
# output. All its weights and biases are drawn from $N(0, 1)$, and the scale that is usually part of the
# initialisation sits in the forward pass:
#
# $$\alpha^{(0)} = x, \qquad
#   \tilde\alpha^{(\ell+1)} = \frac{1}{\sqrt{n_\ell}}\,W^{(\ell)}\alpha^{(\ell)} + \beta\, b^{(\ell)}, \qquad
#   \alpha^{(\ell)} = \sigma\bigl(\tilde\alpha^{(\ell)}\bigr), \qquad f_\theta(x) = \tilde\alpha^{(L)} .$$
#
# Here $\sigma$ is the nonlinearity, applied to each unit, and $\beta$ is the strength of the biases, 0.1 as in the
# paper's experiments. At initialisation this **NTK parametrisation** is the usual network. The two part when training
# begins: a gradient with respect to $W^{(\ell)}$ carries the factor $1/\sqrt{n_\ell}$ a second time, so that each
# weight moves a little less the wider its layer is.
#
# Now send the widths to infinity. By the central limit theorem the preactivations of every layer become Gaussian
# processes {cite:p}`neal1996bayesian,lee2018gp` with a covariance $\Sigma^{(\ell)}$ that is found layer by layer,
#
# $$\Sigma^{(1)}(x, x') = \frac{x^\top x'}{n_0} + \beta^2, \qquad
#   \Sigma^{(\ell+1)}(x, x') = \mathbb E_{g\sim N(0,\,\Sigma^{(\ell)})}\bigl[\sigma(g(x))\,\sigma(g(x'))\bigr] + \beta^2 ,$$
#
# and by the law of large numbers the tangent kernel becomes a number, found in the same sweep,
#
# $$\begin{aligned}
#   \Theta^{(1)}_\infty &= \Sigma^{(1)}, \qquad
#   \Theta^{(\ell+1)}_\infty = \Theta^{(\ell)}_\infty\,\dot\Sigma^{(\ell+1)} + \Sigma^{(\ell+1)}, \\
#   \dot\Sigma^{(\ell+1)}(x, x') &= \mathbb E_{g\sim N(0,\,\Sigma^{(\ell)})}\bigl[\dot\sigma(g(x))\,\dot\sigma(g(x'))\bigr] .
#   \end{aligned}$$
#
# The last line is the chain rule read as statistics. The layer on top contributes $\Sigma^{(\ell+1)}$, what its own
# weights and bias can do with the features they are given; all layers below contribute what they could do before,
# $\Theta^{(\ell)}_\infty$, passed on through the slopes $\dot\sigma$. For the ReLU both expectations are elementary,
# the arc-cosine kernels of {cite:t}`cho2009kernel`: with $c = \Sigma(x,x')/\sqrt{\Sigma(x,x)\,\Sigma(x',x')}$ and
# $\varphi = \arccos c$,
#
# $$\mathbb E[\sigma\sigma] = \frac{\sqrt{\Sigma(x,x)\,\Sigma(x',x')}}{2\pi}\,\bigl(\sin\varphi + (\pi - \varphi)\,c\bigr), \qquad
#   \mathbb E[\dot\sigma\dot\sigma] = \frac{\pi - \varphi}{2\pi} .$$

# %% tags=["parameters"]
widths = [64, 128, 256, 512, 1024]  # hidden widths, at least three
networks = [64, 64, 64, 32, 16]  # random networks at each of them, for the initial kernel
trainings = 8  # networks trained at each width, for the drift of the kernel
rate_networks = 16  # networks trained at the largest width, for the decay rates
beta = 0.1  # strength of the biases
fraction = 0.1  # training step in units of N / largest eigenvalue of the limit
steps = 60  # steps of gradient descent, in every training on this page
ensemble_width = 256  # hidden width of the ensemble that is held against the limit
narrow_width = 50  # hidden width of the ensemble drawn beside it
ensemble_size = 256  # networks in each of the two ensembles
at_once = 1  # networks computed together: 1 is fastest on a few cores, more on a GPU
seed = 0  # all random numbers derive from it

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from scipy.special import ndtri

from reprise.claims import open_paper
from reprise.kernels.activations import RELU, polynomial
from reprise.kernels.empirical import layerwise_ntk
from reprise.kernels.gradient_flow import (
    bayesian_posterior,
    converged,
    stable_step,
    trained_ensemble,
)
from reprise.kernels.infinite import mlp_kernels
from reprise.networks.functional import from_vector, functional
from reprise.networks.mlp import MLP, count_parameters
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.statistics.fits import decay_rate, loglog_slope
from reprise.training.loop import fit

use_style()
paper = open_paper("neural-tangent-kernel", globals())

# %% [markdown]
# ## Three ways to the same object
#
# **The limit** is `mlp_kernels`, the recursion above: one rule for an affine layer, one for a nonlinearity, composed.
# It returns $\Sigma^{(L)}$ as `.nngp` and $\Theta^{(L)}_\infty$ as `.ntk`. The inputs are points
# $(\cos\gamma, \sin\gamma)$ on the unit circle, as in the paper.


# %%
def circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


limit = jax.jit(partial(mlp_kernels, bias_std=beta), static_argnames="hidden")

angles = np.arange(32) * 2 * np.pi / 32
points = circle(angles)

# %% [markdown]
# **The network** is a plain multi-layer perceptron with `parametrization="ntk"`. Its parameters are one Gaussian
# vector $\theta$, so `network` returns pure functions of $\theta$.
#
# **Its kernel** needs no Jacobian, which at width 1024 would hold two million numbers for each input. The gradient
# with respect to a weight matrix is the outer product of the layer's input $\alpha^{(\ell)}$ and of the signal
# $\delta^{(\ell+1)} = \partial f/\partial\tilde\alpha^{(\ell+1)}$ that returns to its output, so each layer's share
# is a product of two small Gram matrices:
#
# $$\Theta(x, x') = \sum_{\ell=0}^{L-1} \Bigl(\tfrac{1}{n_\ell}\,\alpha^{(\ell)}(x)^\top\alpha^{(\ell)}(x') + \beta^2\Bigr)\;
#   \delta^{(\ell+1)}(x)^\top\delta^{(\ell+1)}(x') .$$
#
# That is `layerwise_ntk`. Its `rates` let every layer's weights and biases learn at a speed of their own; they are
# all 1 until the control experiment below needs them.


# %%
def network(width, hidden):
    """Output and tangent kernel as functions of the parameters, and the parameters' shapes."""
    make = lambda: MLP(
        [2, *[width] * hidden, 1],
        activation=RELU.function, parametrization="ntk", bias_std=beta, rngs=nnx.Rngs(0),
    )  # fmt: skip
    module = nnx.eval_shape(make)
    output, shapes = functional(module)
    weighted = lambda model, x, rates=None: layerwise_ntk(model, x, rates=rates)
    kernel, _ = functional(module, weighted)
    return lambda params, x: output(params, x)[:, 0], kernel, shapes


rng = np.random.default_rng(seed)
no_key = jax.random.key(0)  # for `fit`: nothing in these losses is random


def random_networks(width, hidden, count):
    """Parameters of `count` networks, one vector each. Drawn on the host: XLA takes seconds to compile a generator."""
    size = count_parameters(network(width, hidden)[2])
    return rng.standard_normal((count, size), dtype=np.float32)


def over_networks(function, shapes, theta):
    """Apply a function to the parameters of many networks."""
    together = {"batch_size": at_once} if at_once > 1 else {}
    return jax.lax.map(lambda one: function(from_vector(shapes, one)), theta, **together)


# %% [markdown]
# **Training** is full-batch gradient descent on the mean squared loss over $N$ points,
# $\frac{1}{2N}\sum_i (f_\theta(x_i) - y_i)^2$. The step is the same for all widths; it is a fixed fraction of
# $N/\lambda_{\max}$, where $\lambda_{\max}$ is the largest eigenvalue of the *limiting* Gram matrix
# $\Theta_\infty(X, X)$. Nothing is tuned.
#
# The 16 training points are every second one of the 32, and the target
# $1 + \cos\gamma + \sin\gamma + \tfrac12\sin 2\gamma$ has weight on the kernel's leading principal components.

# %%
every_second = slice(None, None, 2)
train_angles = angles[every_second]
x_train = points[every_second]
y_train = 1 + np.cos(train_angles) + np.sin(train_angles) + 0.5 * np.sin(2 * train_angles)
y_train = y_train.astype(np.float32)

gram = np.asarray(limit(x_train, hidden=2).ntk)
step = float(stable_step(gram, fraction))


@partial(jax.jit, static_argnames="width")
def train(theta, rates, step, *, width):
    """Kernels on all 32 points before and after training, and the residual at every step."""
    output, kernel, shapes = network(width, hidden=2)
    in_order = [rate for weight, bias in rates for rate in (bias, weight)]
    per_leaf = jax.tree.unflatten(jax.tree.structure(shapes), in_order)
    scale = optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, per_leaf))

    def loss(params, _):
        residual = output(params, x_train) - y_train
        return 0.5 * jnp.mean(residual**2), residual

    def one(start):
        optimizer = optax.chain(scale, optax.sgd(step))
        end, history = fit(loss, start, optimizer, no_key, steps, has_aux=True)
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), start, end)
        return *jax.lax.map(lambda params: kernel(params, points, rates), both), history["aux"]

    return over_networks(one, shapes, theta)


ones = [(1.0, 1.0)] * 3
counts = [trainings] * (len(widths) - 1) + [max(trainings, rate_networks)]
starts = {w: random_networks(w, 2, count) for w, count in zip(widths, counts, strict=True)}
pool = ThreadPoolExecutor(2)  # XLA compiles for one width while networks of another one train
trained = list(
    pool.map(lambda w: jax.device_get(train(starts[w], ones, step, width=w)), widths)
)

# %% [markdown]
# ## The kernel becomes deterministic, and stops moving
#
# Here is the whole paper in one picture: the kernel $\Theta(x_0, x)$ as a function of the angle of $x$, with
# $x_0 = (1, 0)$, for eight networks of depth 3, before and after training.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels of tangent kernels against angle. At the smallest width the eight dashed initial curves scatter widely and move during training; at the largest width they lie close to the analytic curve and hardly move."}}
fine = np.linspace(-np.pi, np.pi, 201)
exact = np.asarray(limit(circle(np.zeros(1)), circle(fine), hidden=2).ntk)[0]
order = np.r_[16:32, 0:17]
shown = (angles[order] + np.pi) % (2 * np.pi) - np.pi
shown[-1] = np.pi
fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.6, 3.5))
for ax, index in zip(axes, (0, -1), strict=True):
    before, after, _ = trained[index]
    for k in range(trainings):
        ax.plot(
            shown,
            before[k, 0, order],
            "--",
            color=PALETTE["grey"],
            lw=1.1,
            label="at initialisation" if k == 0 else None,
        )
        ax.plot(
            shown,
            after[k, 0, order],
            color=PALETTE["blue"],
            lw=1.1,
            label="after training" if k == 0 else None,
        )
    ax.plot(fine, exact, color=THEORY, lw=2.4, label=r"limit $\Theta_\infty$")
    ax.set(title=f"width {widths[index]}", xlabel=r"angle $\gamma$ of $x$ (rad)")
    ax.set_xticks([-np.pi, 0, np.pi], [r"$-\pi$", "0", r"$\pi$"])
axes[0].set_ylabel(r"kernel $\Theta(x_0, x)$")
axes[1].legend()
plt.show()

# %% [markdown]
# At the small width every network has a kernel of its own (the dashed curves), and training changes it (solid) by as
# much as the networks differ. At the large width the dashed curves close in on the limit and the solid ones cover
# them. The shape of the peak tells how the network generalises: what it learns at $x_0$ it also believes nearby, and
# the kink at 0, from the ReLU, makes the functions it learns not quite smooth.
#
# ### Theorem 1: the randomness at initialisation
#
# The kernel is an average over units, so its fluctuations should shrink like $n^{-1/2}$. We measure the relative
# deviation $\lVert\Theta - \Theta_\infty\rVert_F / \lVert\Theta_\infty\rVert_F$ on the 32 points for networks with
# three hidden layers ($L = 4$), take its root mean square over networks, and fit a power law over the widths.


# %%
@partial(jax.jit, static_argnames="width")
def initial_kernels(theta, *, width):
    _, kernel, shapes = network(width, hidden=3)
    return over_networks(lambda params: kernel(params, points), shapes, theta)


def relative(difference, reference):
    return np.linalg.norm(difference, axis=(1, 2)) / np.linalg.norm(reference, axis=(-2, -1))


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


limit4 = np.asarray(limit(points, hidden=3).ntk)


def deviations_at(width, theta):
    return relative(jax.device_get(initial_kernels(theta, width=width)) - limit4, limit4)


deeper = [random_networks(w, 3, count) for w, count in zip(widths, networks, strict=True)]
deviations = list(pool.map(deviations_at, widths, deeper))
deviation = [rms(d) for d in deviations]
fluctuation_slope = loglog_slope(widths, deviation)
between_widths = np.diff(np.log(deviation)) / np.diff(np.log(widths))
paper.report("init-fluctuation-rate", fluctuation_slope, samples=between_widths)

# %% [markdown]
# ### Theorem 2: the drift during training
#
# The drift is $\lVert\Theta_T - \Theta_0\rVert_F / \lVert\Theta_0\rVert_F$ on the 16 training points, between the
# start and a training time $T$ that is the same for all widths. The theorem says that it vanishes; it does not say
# how fast. Each weight moves by $O(n^{-1/2})$ and the kernel feels the sum of many such small and nearly random
# changes, which suggests a drift of order $1/n$; the finite-width theory that came later confirms it
# {cite:p}`huang2020hierarchy,dyer2020feynman`.
#
# A frozen kernel is cheap to have if nothing is learned, so the claim only counts if the loss has fallen at least
# tenfold in every network.


# %%
def drift_of(before, after):
    before, after = before[:trainings, ::2, ::2], after[:trainings, ::2, ::2]
    return relative(after - before, before)


def loss_fall(residuals):
    loss = np.mean(residuals**2, axis=-1)
    return loss[:, 0] / loss[:, -1]


drifts = [drift_of(before, after) for before, after, _ in trained]
drift = [rms(d) for d in drifts]
smallest_fall = min(loss_fall(residuals).min() for _, _, residuals in trained)
drift_slope = loglog_slope(widths, drift) if smallest_fall >= 10 else np.nan
print(f"the loss falls by a factor of at least {smallest_fall:.0f} in every network")
between_widths = np.diff(np.log(drift)) / np.diff(np.log(widths))
paper.report("kernel-freezes-in-training", drift_slope, samples=between_widths)

# %% [markdown]
# **A control: the same networks in the standard parametrisation.** How much of this is due to the scaling? In the
# usual parametrisation the weights are drawn from $N(0, 1/n_\ell)$ and the forward pass has no factor. It is the same
# function of other parameters: $W_{\rm standard} = W/\sqrt{n_\ell}$. A gradient step in them is therefore a step of
# our network in which the weights of layer $\ell$ learn $n_\ell$ times, the biases $1/\beta^2$ times as fast, and its
# tangent kernel is the sum over layers with these factors in it. (That is what `rates` is for.) This kernel grows in
# proportion to $n$, so that a learning rate which does not depend on the width must be small enough for the widest
# network; we take our step divided by the largest width of the control.

# %%
control_widths = widths[:-1]
control = []
for width in control_widths:
    standard = [(2.0, 1 / beta**2), (float(width), 1 / beta**2), (float(width), 1 / beta**2)]
    scaled = step / control_widths[-1]
    before, after, _ = train(
        random_networks(width, 2, trainings), standard, scaled, width=width
    )
    before, after = np.asarray(before), np.asarray(after)
    control.append((rms(drift_of(before, after)), np.linalg.norm(before, axis=(1, 2)).mean()))
control_drift, control_size = np.transpose(control)
print(f"from width {control_widths[0]} to {control_widths[-1]}:")
for name, values in (
    ("drift, NTK parametrisation", drift[:-1]),
    ("drift, standard parametrisation", control_drift),
    ("size of the kernel, standard parametrisation", control_size),
):
    print(f"  {name} ~ n^{loglog_slope(control_widths, values):.2f}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Log-log plot against width: deviation of the kernel at initialisation falls along the slope -1/2 guide, drift during training along the slope -1 guide, while the drift in the standard parametrisation does not fall."}}
fig, ax = plt.subplots(figsize=(6.4, 3.8))
n = np.array(widths, float)
for at, values, each, color, marker, label in (
    (
        widths,
        deviation,
        deviations,
        "orange",
        "o",
        "deviation from the limit at initialisation",
    ),
    (widths, drift, drifts, "blue", "s", "drift during training"),
):
    for width, samples in zip(at, each, strict=True):
        ax.plot(
            [width] * len(samples),
            samples,
            ".",
            color=PALETTE[color],
            alpha=0.25,
            ms=4,
            rasterized=True,
        )
    ax.plot(at, values, marker, color=PALETTE[color], label=label)
ax.plot(
    control_widths,
    control_drift,
    "^:",
    color=PALETTE["red"],
    label="drift, standard parametrisation (control)",
)
ax.plot(
    n, deviation[0] * (n / n[0]) ** -0.5, color=THEORY, lw=1, label="slope −1/2 and slope −1"
)
ax.plot(n, drift[1] * (n / widths[1]) ** -1.0, color=THEORY, lw=1)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="hidden width $n$",
    ylabel="relative change of the kernel",
)
ax.set_xticks(widths, widths, minor=False)
ax.minorticks_off()
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# Large symbols are root mean squares over networks, small dots single networks. The randomness at initialisation
# falls along the line of slope $-1/2$, the drift along the steeper line of slope $-1$: the kernel stops moving well
# before it stops being random. A network of a thousand units still starts some ten per cent away from the limit, but
# then hardly leaves its own kernel. In the control, the triangles, width buys next to nothing. (It lies low because
# its narrow networks hardly learn in the same number of steps: their step had to be safe for the wider one.)
#
# ## Principal components are learned one by one
#
# With a constant kernel gradient flow on the squared loss is a linear differential equation for the function,
#
# $$\begin{aligned}
#   \partial_t f_t(x) &= -\frac1N\,\Theta_\infty(x, X)\,\bigl(f_t(X) - y\bigr), \\
#   f_t(X) - y &= e^{-t\,\Theta_\infty(X, X)/N}\,\bigl(f_0(X) - y\bigr) .
#   \end{aligned}$$
#
# Along each eigenvector $v_i$ of the Gram matrix the residual decays by itself, as $e^{-\lambda_i t/N}$. The largest
# components, which are the smoothest, go first, and the paper's argument for early stopping is this order. Gradient
# descent with a step $\eta$ multiplies the component by $1 - \eta\lambda_i/N$ instead, a rate of
# $-\log(1 - \eta\lambda_i/N)/\eta$.
#
# On equally spaced points of the circle a kernel that depends only on the angle between its arguments has a circulant
# Gram matrix, so its eigenvectors are Fourier modes: the constant is first, then $\cos\gamma$ and $\sin\gamma$, which
# share one eigenvalue.

# %%
modes = np.stack([np.ones_like(train_angles), np.cos(train_angles), np.sin(train_angles)])
modes /= np.linalg.norm(modes, axis=1, keepdims=True)
eigenvalues = np.einsum("ki,ij,kj->k", modes, gram, modes)
following = np.linalg.eigvalsh(gram)[-4]
print(
    "eigenvalues / N:", (eigenvalues / 16).round(4), " and the next:", (following / 16).round(4)
)
print("not eigenvectors by:", np.abs(modes @ gram - eigenvalues[:, None] * modes).max())

_, _, residuals = trained[-1]
components = np.einsum("sti,ki->skt", residuals[:rate_networks], modes)
times = step * np.arange(steps)
rates = decay_rate(times, components, efoldings=2)
predicted = -np.log(1 - step * eigenvalues / 16) / step
errors = np.abs(rates.mean(axis=0) / predicted - 1)
paper.report("spectral-convergence-rates", errors.max(), samples=errors)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: residual components decay exponentially along the predicted lines, the constant mode fastest. Right: the ratio of measured to predicted rate for every network scatters around one, and its mean lies within the criterion's band."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), gridspec_kw={"width_ratios": [1.6, 1]})
names, colors = ("constant", r"$\cos\gamma$", r"$\sin\gamma$"), ("purple", "green", "orange")
for k, (name, color) in enumerate(zip(names, colors, strict=True)):
    band(axes[0], times, np.abs(components[:, k] / components[:, k, :1]), PALETTE[color], name)
    axes[0].plot(
        times,
        np.exp(-predicted[k] * times),
        color=THEORY,
        lw=1.2,
        ls="--",
        label="prediction" if k == 2 else None,
    )
    axes[1].plot(
        k + np.linspace(-0.18, 0.18, len(rates)),
        rates[:, k] / predicted[k],
        ".",
        color=PALETTE[color],
        alpha=0.6,
    )
    axes[1].plot(
        [k - 0.28, k + 0.28],
        [rates[:, k].mean() / predicted[k]] * 2,
        color=PALETTE[color],
        lw=2.5,
    )
axes[0].set(
    yscale="log",
    ylim=(5e-3, 1.3),
    xlabel="training time $t$ = step size × steps",
    ylabel="residual along the mode / initial",
)
axes[0].legend()
axes[1].axhspan(0.88, 1.12, color=PALETTE["grey"], alpha=0.15, lw=0)
axes[1].axhline(1, color=THEORY, lw=1.2, ls="--")
axes[1].set(xticks=range(3), ylabel="measured rate / predicted rate", ylim=(0.7, 1.3))
axes[1].set_xticklabels(names)
plt.show()

# %% [markdown]
# Left: the median over networks of the largest width (line) with a band from the 10th to the 90th percentile, and the
# prediction from $\Theta_\infty$ alone (dashed). The constant is learned about twice as fast as the first Fourier
# pair. The bands fan out because every finite network has its own kernel and so its own rates. Right: the rates of
# the single networks scatter by nearly ten per cent, the size of the kernel's own fluctuation at this width; their
# mean (the bar) lies inside the criterion's grey band.
#
# Far down, below a few per cent, the curves can leave the prediction: there the residual left on one mode is no
# larger than what the others leak into it, because the modes of $\Theta_\infty$ are not exactly the eigenvectors of a
# finite network's kernel. That is why the rate is fitted over the first two e-foldings only.
#
# ## What an ensemble of trained networks knows
#
# At initialisation $f_0$ is a Gaussian process with covariance $\Sigma^{(L)}$, and training is linear in $f_0$, so
# the trained function is Gaussian too. Train to convergence and write
# $\Pi = \Theta_\infty(\cdot, X)\,\Theta_\infty(X, X)^{-1}$ for kernel regression: then
#
# $$f_\infty = \Pi\,y + (f_0 - \Pi\,f_0(X)) , \qquad
#   \mathbb E[f_\infty] = \Pi\,y, \qquad \operatorname{Cov}[f_\infty] = (I - \Pi)\,\Sigma^{(L)}\,(I - \Pi)^\top .$$
#
# The mean is kernel regression; the spread is what is left of the initial function where no data pins it down. This
# is `trained_ensemble`, with the spectral filter `converged()` in place of a training time.
#
# The experiment is the paper's figure 2: four training points on the circle, target $\cos\gamma\sin\gamma$, and many
# networks trained from different initialisations. We draw a narrow ensemble (width 50, as in the paper) and a wider
# one.

# %%
few_angles = np.array([0.3, 1.9, 3.3, 4.9])
x_few, y_few = circle(few_angles), (np.cos(few_angles) * np.sin(few_angles)).astype(np.float32)
grid_angles = np.linspace(-np.pi, np.pi, 100, endpoint=False)
grid = circle(grid_angles)


@partial(jax.jit, static_argnames="width")
def trained_functions(theta, step, *, width):
    """The trained functions on the grid, and their residuals at the training points."""
    output, _, shapes = network(width, hidden=2)
    loss = lambda params, _: 0.5 * jnp.mean((output(params, x_few) - y_few) ** 2)

    def one(start):
        end, _ = fit(loss, start, optax.sgd(step), no_key, steps)
        values = output(end, jnp.concatenate([grid, x_few]))
        return values[: len(grid)], values[len(grid) :] - y_few

    return over_networks(one, shapes, theta)


few = limit(x_few, hidden=2)
across, on_grid = limit(grid, x_few, hidden=2), limit(grid, hidden=2)
few_step = float(stable_step(few.ntk))
law = jax.jit(lambda: trained_ensemble(few, across, on_grid, y_few, converged()))()
posterior = jax.jit(lambda: bayesian_posterior(few, across, on_grid, y_few))()
levels = ndtri([0.1, 0.5, 0.9])[:, None]
analytic = np.asarray(law.mean) + levels * np.asarray(law.std)
bayes = np.asarray(posterior.mean) + levels * np.asarray(posterior.std)


def ensemble(width, theta):
    return jax.device_get(trained_functions(theta, few_step, width=width))


two_widths = (narrow_width, ensemble_width)
ensembles = {}
draws = [random_networks(width, 2, ensemble_size) for width in two_widths]
for width, (functions, left) in zip(
    two_widths, pool.map(ensemble, two_widths, draws), strict=True
):
    ensembles[width] = np.quantile(functions, (0.1, 0.5, 0.9), axis=0)
    print(f"width {width}: largest residual left at a training point {np.abs(left).max():.1e}")


def distance(curves):
    """RMS difference of percentile curves from the analytic ones, over the RMS analytic spread."""
    return rms(curves - analytic) / rms(law.std)


print(f"distance at width {narrow_width}: {distance(ensembles[narrow_width]):.3f}")
print(f"distance of the Bayesian posterior: {distance(bayes):.3f}")
paper.report("trained-ensemble-matches-limit", distance(ensembles[ensemble_width]))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels with the tenth, fiftieth and ninetieth percentile of trained functions on the circle over the analytic band. The wider ensemble follows the band closely, the narrow one less so."}}
fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.6, 4.0))
for ax, (width, curves) in zip(axes, ensembles.items(), strict=True):
    ax.fill_between(
        grid_angles,
        analytic[0],
        analytic[2],
        color=THEORY,
        alpha=0.12,
        lw=0,
        label="limit: 10% to 90%",
    )
    ax.plot(grid_angles, analytic[1], color=THEORY, label="limit: median")
    ax.plot(grid_angles, curves[1], color=PALETTE["blue"], lw=1.5, label="networks: median")
    for k, curve in enumerate(curves[[0, 2]]):
        ax.plot(
            grid_angles,
            curve,
            "--",
            color=PALETTE["blue"],
            lw=1.3,
            label="networks: 10%, 90%" if k == 0 else None,
        )
    ax.plot(
        (few_angles + np.pi) % (2 * np.pi) - np.pi,
        y_few,
        "o",
        color=PALETTE["red"],
        ms=5,
        zorder=5,
        label="training data",
    )
    ax.set(title=f"width {width}", xlabel=r"angle $\gamma$ (rad)")
    ax.set_xticks([-np.pi, 0, np.pi], [r"$-\pi$", "0", r"$\pi$"])
axes[0].set_ylabel(r"trained function $f(\cos\gamma, \sin\gamma)$")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# All networks agree on the training data; between the points their opinions spread, and the limit predicts by how
# much. With a few hundred networks the percentiles themselves are noisy: sampling alone gives a distance of about 0.1
# analytic standard deviations, most of what is left at the larger width. Even at width 50 the limit is a good
# description.
#
# One warning about what this does *not* show. The trained ensemble is not the Bayesian posterior of the network's
# Gaussian process, which has the covariance $\Sigma$ in place of $\Theta$ throughout {cite:p}`lee2019wide`, but on
# four points the two laws are close (the distance is printed above), so that this experiment alone could hardly tell
# them apart. The kernel itself is tested by the other claims.
#
# ## Why the nonlinearity must not be a polynomial
#
# Training reaches zero loss if $\Theta_\infty(X, X)$ is positive definite, since then every component decays. The
# paper's proposition 2 says that on the unit sphere it is, for any distinct points, if the nonlinearity is not a
# polynomial and $L \ge 2$. A polynomial shows what the assumption is for: with one hidden layer of degree $d$, both
# expectations in the recursion are polynomials in $x^\top x' = \cos(\gamma - \gamma')$, and so is the kernel, of
# degree $d$. Such a kernel only contains the harmonics $1, \cos k\gamma, \sin k\gamma$ with $k \le d$: however many
# points there are, the rank of its Gram matrix is at most $2d + 1$, and the network can never learn the other
# components, at any width.


# %%
@jax.jit
def deep_and_polynomial(x):
    shallow = lambda *c: mlp_kernels(x, hidden=1, nonlinearity=polynomial(c), bias_std=beta).ntk
    deep = mlp_kernels(x, hidden=3, bias_std=beta).ntk
    return deep, shallow(0, 0, 1), [shallow(*[1] * (degree + 1)) for degree in range(1, 6)]


def rank(kernel, tolerance=1e-9):
    values = np.linalg.eigvalsh(kernel)
    return int(np.sum(np.abs(values) > tolerance * np.abs(values).max()))


generic = np.sort(np.random.default_rng(seed).uniform(-np.pi, np.pi, 24))
with jax.enable_x64(True):
    cosines = np.stack([np.cos(generic), np.sin(generic)], axis=1)
    deep, square, polynomials = jax.tree.map(np.asarray, deep_and_polynomial(cosines))
print("rank of the ReLU kernel on 24 points:", rank(deep))
print("rank for polynomials of degree 1 to 5:", [rank(kernel) for kernel in polynomials])
paper.report("polynomial-degenerate-kernel", rank(square) if rank(deep) == 24 else np.nan)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Eigenvalues of two kernels on 24 points, on a logarithmic scale: those of the ReLU kernel decay slowly and stay far above the tolerance, those of the quadratic kernel drop to rounding error after the fifth."}}
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for kernel, marker, color, label in (
    (deep, "o", "blue", "ReLU, three hidden layers"),
    (square, "s", "red", r"$\sigma(u) = u^2$, one hidden layer"),
):
    values = np.abs(np.linalg.eigvalsh(kernel)[::-1])
    ax.plot(
        range(1, 25),
        np.sort(values)[::-1] / values.max(),
        marker,
        color=PALETTE[color],
        ms=5,
        label=label,
    )
ax.axhline(1e-9, color=THEORY, lw=1, ls=":", label="tolerance of the rank")
ax.axvline(5.5, color=PALETTE["grey"], lw=1)
ax.set(yscale="log", xlabel="index of the eigenvalue", ylabel="eigenvalue / largest")
ax.legend(loc="center right", bbox_to_anchor=(0.9, 0.62))
plt.show()

# %% [markdown]
# After the fifth eigenvalue, the last of the harmonics up to degree 2, the quadratic kernel's spectrum drops by many
# orders of magnitude to rounding error. The ReLU's decays slowly and stays positive: its kink contains all degrees.
# Higher polynomials gain two dimensions a degree, as printed above.
#
# ## What differs from the paper
#
# - The theorems send the widths to infinity one after another, the first hidden layer first. Here all hidden layers
#   have the same width and grow together, as in practice.
# - Theorem 2 gives no rate; the slope near $-1$ is a measurement, compared with later theory.
# - The paper's figures use networks of up to 10 000 units, depth 4 and fewer networks; ours have up to 1024 units and
#   more networks, which is what exponents and percentiles need. Training and ensembles use depth 3.
# - The paper's third experiment follows the second principal component of MNIST. The circle replaces it: its
#   components are known exactly, so that the rates can be compared with numbers.
# - Proposition 2 is about nonlinearities that are *not* polynomial. The rank of a polynomial network's kernel is its
#   elementary converse, and the ReLU's full rank on 24 points illustrates the proposition without proving it.
#
# All inputs lie on a circle and all targets are smooth. Nothing here says how kernel regression compares with
# networks that *do* move their kernel; {doc}`grokking-lazy-to-rich` is about one that does so late, and
# {doc}`infinite-width-feature-learning` about the scaling in which every width does.
#
# Where to go from here: {doc}`tensor-programs-scaling-limits` has the limit for recurrent networks and says when the usual
# derivation is allowed, {doc}`neural-network-svm-equivalence` trains on other losses, {doc}`more-is-better` predicts test
# errors from the kernel's spectrum, and {doc}`principles-of-deep-learning-theory` computes what is left at finite width.
#
# ## Things to try
#
# - `reprise run neural-tangent-kernel -p beta 0.5 -p steps 240` makes the biases stronger: the kernel gains a constant,
#   and the first mode is learned about six times as fast as the next two. The step has to follow the first one, so the
#   others need more steps.
# - `reprise run neural-tangent-kernel -p ensemble_width 64` or `16`: how narrow can an ensemble be before the Gaussian
#   fails? The distance rises slowly; at 16 some networks have not even fitted the data in the time allowed.
# - `reprise run neural-tangent-kernel -p steps 240` trains four times as long. The loss falls much further, the
#   exponent of the drift stays.
# - `reprise sweep neural-tangent-kernel -p seed=0..9` shows how far the two exponents scatter. With 16 networks at
#   the largest width the first scatters by about 0.05.
# - In the library, `mlp_kernels(..., nonlinearity=smooth(jax.nn.gelu))` gives the kernels of a nonlinearity that has
#   no closed form, by quadrature; use its `.function` in the networks to run this page with it.

# %%
paper.verdicts()
