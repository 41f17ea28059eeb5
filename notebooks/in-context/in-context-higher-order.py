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
# # Transformers Learn Higher-Order Optimization Methods for In-Context Learning: A Study with Linear Models
#
# One layer of linear attention takes one step of gradient descent on the examples in its prompt
# ({doc}`in-context-gradient-descent`), and no such layer can do better ({doc}`optimal-one-step-in-context`). It is
# tempting to conclude that a transformer of $L$ layers takes $L$ steps. {cite:t}`fu2024transformers` look at trained
# transformers layer by layer and find that it does not: from each layer to the next the predictions improve far more
# than a gradient step would improve them. They advance like the iterations of **Newton's method**, whose number of
# correct digits doubles, and every layer is worth more gradient steps than the one before.
#
# The argument has three parts, all performed on this page:
#
# 1. **Newton's method is exponentially faster than gradient descent**, also where gradient descent is slowest, on badly
#    conditioned inputs.
# 2. **A transformer can run it.** There are weights with which a linear attention layer does exactly one iteration.
# 3. **Trained networks have its pace.** The authors show it for softmax transformers of 12 layers. Here it is shown
#    for the smallest networks in which the question can be asked, stacks of linear attention with two trained numbers
#    a layer.
#
# The last section lays what this part of the book has proved and measured about linear attention into one figure.
#
# ## Two ways to least squares
#
# A prompt holds $n$ examples $x_i\in\mathbb R^d$ with labels $y_i = w_*^\top x_i$, and a query $x_q$. With
#
# $$S = \frac1n\sum_{i=1}^n x_ix_i^\top,\qquad b = \frac1n\sum_{i=1}^n y_ix_i$$
#
# the least-squares weights are $S^{-1}b$. Both methods below approach them through $S$ and $b$ alone.
#
# **Gradient descent** with step size $\eta$ repeats $w_{t+1} = w_t - \eta\,(Sw_t - b)$ from $w_0 = 0$. What is
# missing after $t$ steps is $w_* - w_t = (I - \eta S)^tw_*$: along an eigenvector of $S$ with eigenvalue $\lambda$
# each step multiplies it by $1-\eta\lambda$. With the best $\eta = 2/(\lambda_{\min}+\lambda_{\max})$ the slowest
# direction shrinks by $\frac{\kappa-1}{\kappa+1}$ a step, where $\kappa = \lambda_{\max}/\lambda_{\min}$ is the
# condition number. To an error of $\epsilon$ that takes about $\frac{\kappa}{2}\ln\frac1\epsilon$ steps.
#
# **Newton's method**, also called the Newton-Schulz iteration {cite:p}`schulz1933iterative,benisrael1965iterative`,
# improves an approximate inverse $M_k$ of $S$,
#
# $$M_0 = \alpha S,\qquad M_{k+1} = 2M_k - M_kSM_k,\qquad w_k = M_kb .$$
#
# It is Newton's root finding for $M^{-1} - S = 0$, and it uses no division and no linear solve. Its residual
# $E_k = I - M_kS$ obeys
#
# $$E_{k+1} = I - 2M_kS + (M_kS)^2 = E_k^2 ,$$
#
# so that along an eigenvector $E_k = (1-\alpha\lambda^2)^{2^k}$. For $0<\alpha<2/\lambda_{\max}^2$ it converges; we
# take $\alpha = 1/\lambda_{\max}^2$. The slowest direction starts with a residual of $1 - 1/\kappa^2$, and about
# $2\log_2\kappa$ iterations pass before it is felt. From then on digits double, and an error of $\epsilon$ takes
# $2\log_2\kappa + \log_2\ln\frac1\epsilon$ iterations: the logarithm of what gradient descent needs.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
dim = 5  # d, inputs of the linear function
length = 20  # n, labelled examples in a prompt
tasks = 1000  # prompts on which gradient descent and Newton's method are compared
condition = 100.0  # condition number of the covariance of badly conditioned inputs
spectra = 20000  # prompts whose eigenvalues the stacks are trained on, and as many for the test
depth = 4  # layers of the deepest trained stack, at least 3
models = 3  # stacks of each kind and depth, each from its own start
steps = 3000  # Adam steps
learning_rate = 0.02  # Adam's rate at the start of a cosine decay
spread = 8.0  # the last figure: ratio of largest to smallest variance of an input
label_noise = 0.1  # the last figure: standard deviation of the labels' noise

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.special import logsumexp

from reprise.claims import open_paper
from reprise.networks.attention import curvature_step_weights, linear_attention, newton_weights
from reprise.numerics.newton_schulz import newton_inverse, newton_residual, safe_scale
from reprise.numerics.quadrature import christoffel, gauss_rule
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.tasks.linear_regression import LinearTasks, unfitted
from reprise.tasks.prompt_spectra import (
    descent_risks,
    matching_steps,
    prompt_spectrum,
    ridge_risk,
    spectral_risk,
)
from reprise.training.loop import fit

use_style()
paper = open_paper("in-context-higher-order", globals())

# %% [markdown]
# ## Digits that double
#
# `newton_inverse` is the iteration. We run it in double precision on $S$ of a thousand prompts with $x_i\sim N(0, I)$
# and look at the spectral norm of the residual.


# %%
def generator(*stream):
    return np.random.default_rng([seed, *stream])


iterations = 14
x = generator(0).normal(size=(tasks, length, dim))
w = generator(1).normal(size=(tasks, dim))
second = np.einsum("tni,tnj->tij", x, x) / length
eigenvalues, vectors = np.linalg.eigh(second)
alpha = safe_scale(eigenvalues)
invert = jax.jit(newton_inverse, static_argnames="iterations")
with jax.enable_x64(True):
    inverses = np.asarray(invert(second, alpha, iterations=iterations))
norms = np.linalg.norm(
    np.eye(dim) - inverses @ second, 2, axis=(-2, -1)
)  # [iterations + 1, tasks]

kappa = eigenvalues[:, -1] / eigenvalues[:, 0]
contraction = (kappa - 1) / (kappa + 1)
descent_norms = contraction ** np.arange(iterations + 1)[:, None]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the residual of Newton's method stays near one for a few iterations and then falls off a cliff to rounding level, while gradient descent's falls along a straight line. Right: each residual against the one before, on lines of slope two and one."}}
fig, axes = plt.subplots(1, 2, figsize=(7.8, 3.6))
counts = np.arange(iterations + 1)
band(axes[0], counts, descent_norms.T, PALETTE["orange"], "gradient descent")
band(axes[0], counts, norms.T, PALETTE["purple"], "Newton")
axes[0].set(
    xlabel="steps, iterations", ylabel="spectral norm of the residual", yscale="log",
    ylim=(1e-16, 3), xticks=range(0, iterations + 1, 2),
)  # fmt: skip
axes[0].legend(loc="lower left")
few = slice(0, 60)
ends = np.array([1e-16, 0.999])
size = lambda norm: -np.log10(norm)
for values, name in ((descent_norms, "orange"), (norms, "purple")):
    axes[1].plot(
        size(values[:-1, few]).ravel(), size(values[1:, few]).ravel(), ".", ms=4, mec="none",
        alpha=0.5, color=PALETTE[name], rasterized=True,
    )  # fmt: skip
line = np.geomspace(3e-3, 16, 20)
axes[1].plot(line, 2 * line, color=THEORY, lw=1.2, label=r"$E_{k+1} = E_k^2$")
axes[1].plot(line, line, ":", color=THEORY, lw=1.2, label=r"$E_{k+1} = E_k$")
axes[1].set(
    xlabel=r"digits now, $-\log_{10}\Vert E_k\Vert$", ylabel="digits one iteration later",
    xscale="log", yscale="log", xlim=(3e-3, 20), ylim=(3e-3, 20),
)  # fmt: skip
axes[1].legend(loc="upper left")
plt.show()

# %% [markdown]
# Left: medians, with bands from the 10th to the 90th percentile of prompts. For the first iterations Newton's method
# is *behind*; the residual is close to 1, and squaring it does little. Then it falls off a cliff. Right: Newton's
# points lie on the line of slope 2 in digits, over three decades, up to the last digit that double precision has.
# Gradient descent adds the same number of digits with every step, so its points approach the diagonal.
#
# The claim is about the ratio $\log\lVert E_{k+1}\rVert/\log\lVert E_k\rVert$ wherever $10^{-12}<\lVert
# E_k\rVert<0.9$: its median over those iterations for each prompt, and then over prompts.

# %%
before, after = norms[:-1], norms[1:]
inside = (before > 1e-12) & (before < 0.9)
with np.errstate(divide="ignore", invalid="ignore"):
    ratios = np.where(inside, np.log(after) / np.log(before), np.nan)
doubling = np.nanmedian(ratios, 0)
paper.report("newton-doubles-digits", np.median(doubling), samples=doubling[:100])

# %% [markdown]
# ## Attention layers that run Newton's method
#
# Linear attention adds to a token a sum over examples of a value times an inner product of a key and a query.
# Newton's update has that form, too. Let every token carry, next to its $x$, the vector $a = M_kx$. Then
#
# $$M_{k+1}x = 2M_kx - M_kSM_kx = 2a - \frac1n\sum_i \underbrace{a_i}_{\text{value}}\;
#   \underbrace{x_i^\top}_{\text{key}}\;\underbrace{a}_{\text{query}} .$$
#
# One detail is in the way. A residual connection carries $a$ along *once*, and the formula wants it twice. There is a
# way out that needs no further layers: store $a = 2^{-k}M_kx$ instead. Then the update is
#
# $$a \leftarrow a - \frac{2^{k-1}}{n}\sum_i a_i\,(x_i^\top a),$$
#
# with a plain residual connection, and the power of two is a constant in the layer's weights (and costs no rounding).
# A first layer writes $a = \frac{\alpha}{n}\sum_ix_i\,x_i^\top x = \alpha Sx$, and a last one reads the prediction
# $x_q^\top M_kb = \frac{2^k}{n}\sum_iy_i\,a_i^\top x_q$. That makes $k+2$ layers for $k$ iterations. (The paper
# proves $O(k)$ with another construction.)
#
# `newton_weights` returns those layers for tokens $(x, a, y)$, and `linear_attention` is the same layer that performs
# gradient descent on {doc}`in-context-gradient-descent`. The weights must not depend on the prompt, so here $\alpha$
# is one number for all: $1/\alpha$ is the square of twice the edge $(1+\sqrt{d/n})^2$ of the eigenvalues'
# distribution.

# %%
shown = slice(0, 256)
query = generator(2).normal(size=(256, dim))
labels = np.einsum("tnd,td->tn", x, w)[shown]
edge = (1 + np.sqrt(dim / length)) ** 2
fixed_alpha = 1 / (2 * edge) ** 2
inputs = np.concatenate([x[shown], query[:, None]], 1)
blank = np.zeros_like(inputs)
token_labels = np.concatenate([labels, np.zeros((256, 1))], 1)[..., None]
prompt_tokens = np.concatenate([inputs, blank, token_labels], -1)
moment = np.einsum("tn,tni->ti", labels, x[shown]) / length

attend = jax.jit(linear_attention, static_argnames="context")
read = lambda tokens: np.asarray(tokens)[:, -1, -1]
with jax.enable_x64(True):
    by_layers = np.stack(
        [
            read(
                functools.reduce(
                    lambda tokens, layer: attend(layer, tokens, context=length),
                    newton_weights(dim, fixed_alpha, k),
                    prompt_tokens,
                )
            )
            for k in range(9)
        ]
    )
    fixed = np.asarray(invert(second[shown], np.full(256, fixed_alpha), iterations=8))
by_newton = np.einsum("ti,ktij,tj->kt", query, fixed, moment)
deviations = np.max(np.abs(by_layers / by_newton - 1), 1)
for k in (0, 1, 2, 4, 8):
    missing = np.sqrt(np.mean((by_newton[k] - np.einsum("td,td->t", query, w[shown])) ** 2))
    print(
        f"k = {k}: {k + 2:2} layers; largest relative deviation {deviations[k]:.1e},"
        f" root mean square error of either {missing:.1e}"
    )

# %%
paper.report("attention-runs-newton", np.max(deviations), samples=deviations)

# %% [markdown]
# The deviations are rounding errors, the predictions improve as they should. So the claim that depth means gradient
# steps cannot be a theorem about what the architecture can do.
#
# ## How many gradient steps is an iteration worth?
#
# For each prompt and each $k$ we ask how many gradient steps reach the error $\lVert w_k - w_*\rVert$ of $k$ Newton
# iterations. Both errors are known in closed form from the eigenvalues and the components $c_j$ of $w_*$ along the
# eigenvectors,
#
# $$\lVert w_k-w_*\rVert^2 = \sum_jc_j^2\,(1-\alpha\lambda_j^2)^{2^{k+1}},\qquad
#   \lVert w_t-w_*\rVert^2 = \sum_jc_j^2\,(1-\eta\lambda_j)^{2t},$$
#
# so a bisection over $t$, in logarithms, answers it for errors of any size. Gradient descent has the best constant
# step for each prompt.

# %%
components = np.einsum("tij,ti->tj", vectors, w)
descent_rate = 2 / (eigenvalues[:, 0] + eigenvalues[:, -1])


def log_error(log_shares):
    """Logarithm of |w - w_*|^2 where a log share of each component is left: [..., tasks, dim] to [..., tasks]."""
    return logsumexp(2 * (log_shares + np.log(np.abs(components))), axis=-1)


most = 4096
upto = np.arange(11)
with np.errstate(divide="ignore"):
    newton_logs = np.log1p(-alpha[:, None] * eigenvalues**2)
    descent_logs = np.log(np.abs(1 - descent_rate[:, None] * eigenvalues))
targets = log_error(2.0 ** upto[:, None, None] * newton_logs)
descent_error = lambda t: log_error(t[..., None] * descent_logs)
low, high = np.zeros_like(targets), np.full_like(targets, most)
for _ in range(12):
    middle = (low + high) // 2
    reached = descent_error(middle) <= targets
    low, high = np.where(reached, low, middle), np.where(reached, middle, high)
above, below = descent_error(low), descent_error(high)
gradient_steps = np.where(below <= targets, low + (above - targets) / (above - below), np.inf)

typical_steps = np.median(gradient_steps, 1)
late = upto >= 6
slope = np.polyfit(upto[late], np.log2(typical_steps[late]), 1)[0]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Gradient steps that match Newton's error against the iteration, logarithmic: the curve bends upwards and from about the sixth iteration on follows a line on which steps double with each iteration."}}
fig, ax = plt.subplots()
band(
    ax,
    upto,
    gradient_steps.T,
    PALETTE["purple"],
    "gradient steps that match, median and 80 % of prompts",
)
worth = np.median(np.log1p(-1 / kappa**2) / np.log(contraction))
ax.plot(
    upto[4:],
    worth * 2.0 ** upto[4:],
    "--",
    color=THEORY,
    label="slowest direction alone: doubling",
)
ax.set(xlabel="Newton iterations $k$", ylabel="gradient steps", yscale="log", xticks=upto)
ax.set_yscale("log", base=2)
ax.set_yticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
ax.legend()
plt.show()

# %% [markdown]
# In the default run ten iterations are worth about a hundred gradient steps, and one more would be worth two hundred.
# The dashed line is what the slowest direction alone predicts, $t =
# 2^k\ln(1-\kappa^{-2})/\ln\frac{\kappa-1}{\kappa+1}$. The curve is flatter before it gets there: as long as several
# directions are unfinished, a gradient step works on the fast ones. The doubling begins when $2^k$ exceeds
# $\kappa^2$, and the claim fits the slope from $k = 6$ on.

# %%
print("gradient steps for k = 6..10:", np.array2string(typical_steps[late], precision=1))
paper.report("exponentially-more-gd-steps", slope, samples=np.diff(np.log2(typical_steps[5:])))

# %% [markdown]
# ## What does training find?
#
# That a network *can* run Newton's method does not mean that it learns to. The smallest network that has a choice is
# a stack of linear attention in which each layer has two numbers. Layer $l$ maps every token, the query (with label
# 0) included, by
#
# $$y \leftarrow y - \frac{\eta_l}{n}\sum_i y_i\,x_i^\top x,\qquad
#   x \leftarrow x - \frac{\gamma_l}{n}\sum_i x_i\,x_i^\top x .$$
#
# It is the layer that trained stacks were found to consist of in {doc}`in-context-gradient-descent`, under the name
# GD++ {cite:p}`vonoswald2022transformers`: key-query map $\mathrm{diag}(I, 0)$, value map $-\mathrm{diag}(\gamma I,
# \eta)$. With $\gamma_l = 0$ the stack is gradient descent with a step size for each step. With $\gamma_l\neq0$ a
# layer also changes the inputs, and thereby the problem $S$ that the next layer sees:
#
# $$S \leftarrow (I-\gamma_lS)\,S\,(I-\gamma_lS),$$
#
# a cubic map. Products of $S$ with itself are what a second-order method needs, and gradient descent never forms
# them. Up to scale, $x\leftarrow(I-\frac13S)x$ is the Newton-Schulz iteration for $S^{-1/2}$: it whitens the inputs,
# and one gradient step on white inputs is least squares.
#
# Along an eigenvector with eigenvalue $\lambda$ the share of $w_*$ that is still missing after $L$ layers is a
# polynomial, computed by `unfitted`: from $p = q = 1$, layer after layer,
#
# $$q\leftarrow q\,(1-\eta_l\,\lambda p^2),\qquad p\leftarrow p\,(1-\gamma_l\,\lambda p^2),$$
#
# Its degree is $L$ for gradient descent, and $(3^L-1)/2$ with $\gamma$: 1, 4, 13, 40. (Newton's has degree
# $2^{k+1}$.) Since queries are isotropic, the expected squared error, relative to that of predicting zero, is the
# mean of $q(\lambda)^2$ over the eigenvalues of prompts.
#
# That makes exact training cheap. The mean of a polynomial of degree below $2m$ over *any* set of eigenvalues is a
# sum over the $m$ nodes of its Gauss rule. We condense the 100 000 eigenvalues of 20 000 prompts into 64 nodes and
# train on these; it is full-batch training on all the prompts, without approximation. All depths, both kinds
# ($\gamma$ free, $\gamma=0$) and all starts train side by side in one program, on the logarithm of the error.

# %%
train_spectrum = prompt_spectrum(generator(3).normal(size=(spectra, length, dim)))
test_spectrum = prompt_spectrum(generator(4).normal(size=(spectra, length, dim)))
nodes = 64
used = (np.arange(depth) < np.arange(1, depth + 1)[:, None]).astype(
    np.float32
)  # row L - 1: L layers
optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adam(optax.cosine_decay_schedule(learning_rate, steps)),
)


def train_one(start, layers, curved, spectrum, noise):
    """Rates and curvatures [2, depth] of a trained stack; `layers` and `curved` mask what it does not have."""
    allowed = layers * jnp.stack([jnp.ones(()), curved])[:, None]

    def loss(stack, _):
        left = unfitted(spectrum.points, *(stack * allowed))
        return jnp.log(spectral_risk(spectrum, left, noise))

    stack, history = fit(loss, start, optimizer, jax.random.key(0), steps)
    return stack * allowed, jnp.exp(history["loss"][-1])


@jax.jit
def train(starts, spectrum, noise):
    """Trained stacks [kind, depth, models, 2, depth] (kind 0: gamma = 0), and their errors in training."""
    one = functools.partial(train_one, spectrum=spectrum, noise=noise)
    by_start = jax.vmap(one, (0, None, None))
    by_depth = jax.vmap(by_start, (None, 0, None))
    return jax.vmap(by_depth, (None, None, 0))(starts, used, jnp.array([0.0, 1.0]))


@jax.jit
def left_by(stacks, points):
    """The polynomial q of every stack at some eigenvalues."""
    flat = jax.vmap(lambda stack: unfitted(points, *stack))(stacks.reshape(-1, 2, depth))
    return flat.reshape(*stacks.shape[:3], -1)


single = lambda rule: jax.tree.map(lambda part: np.asarray(part, np.float32), rule)
starts = generator(5).uniform(0.2, 0.5, size=(models, 2, depth)).astype(np.float32)
condensed = gauss_rule(*train_spectrum, nodes)
stacks, train_errors = map(np.asarray, train(starts, single(condensed), np.float32(0)))
errors = np.mean(np.asarray(left_by(stacks, np.float32(test_spectrum.points)), float) ** 2, -1)

# %% [markdown]
# Two checks before the result. First, the stacks are attention layers: put into `linear_attention`, layer by layer
# and token by token, the trained numbers must predict what the polynomials say. Second, the stacks without $\gamma$
# have a known optimum. The least mean square of a polynomial of degree $L$ with $q(0) = 1$ is the reciprocal of
# $\sum_{j\le L}p_j(0)^2$, with the orthonormal polynomials $p_j$ of the eigenvalues' distribution (`christoffel`).
# All its zeros are positive, so it *is* $L$ gradient steps, with the inverse zeros as step sizes.

# %%
rates, curvatures = stacks[1, -1, 0]
small_tokens = np.concatenate([inputs, token_labels], -1)
tokens_now = small_tokens
for rate, curvature in zip(rates, curvatures, strict=True):
    tokens_now = attend(
        curvature_step_weights(dim, rate, curvature), tokens_now, context=length
    )
left = np.asarray(left_by(stacks[1:, -1:, :1], np.float32(eigenvalues.ravel()))).reshape(
    tasks, dim
)
fitted = np.einsum("tij,tj,tj->ti", vectors, 1 - left, components)[shown]
gap = np.abs(-read(tokens_now) - np.einsum("ti,ti->t", query, fitted)).max()
print(f"{depth} attention layers against the polynomial: largest difference {gap:.1e}")

best_descent = christoffel(*condensed, 0.0, depth)[1:]
for layers, found, exact in zip(
    range(1, depth + 1), train_errors[0].min(1), best_descent, strict=True
):
    print(f"{layers} layers, gamma = 0: trained {found:.5f}, best {exact:.5f}")

# %% [markdown]
# Now the comparison. How many steps of gradient descent, with one constant step size, are as good as $L$ layers?
# Gradient descent gets the best possible step size *for each number of steps*, tuned on the very eigenvalues that the
# stacks are tested on. Newton's method runs on the same ones, with $\alpha = 1/\lambda_{\max}^2$ of each prompt.

# %%
test_condensed = gauss_rule(*test_spectrum, 2 * nodes)
counts = np.arange(1, 2 * nodes - 3)
tuned_rates, tuned = descent_risks(test_condensed, counts)
descent_errors = np.append(1.0, tuned)
equivalent = matching_steps(descent_errors, errors)  # [kind, depth, models]

by_prompt = test_spectrum.points.reshape(-1, dim)
scale = safe_scale(by_prompt)[:, None]
newton_errors = np.array(
    [np.mean(newton_residual(by_prompt, scale, k) ** 2) for k in range(13)]
)
newton_equivalent = matching_steps(newton_errors, errors)
for name, kind in (("gamma = 0", 0), ("gamma free", 1)):
    for title, matched in (
        ("gradient steps", equivalent),
        ("Newton iterations", newton_equivalent),
    ):
        beyond = np.nan_to_num(matched[kind], nan=np.inf)  # more than all that were compared
        row = np.array2string(np.median(beyond, -1), precision=2)
        print(f"{name:10}: {title} that match 1..{depth} layers (median): {row}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: squared error against layers or steps, logarithmic: trained stacks fall far below gradient descent and below Newton's method. Right: equivalent number of gradient steps against layers, growing ever faster for stacks that change their inputs and almost linearly for gradient descent with a rate for each step."}}
fig, axes = plt.subplots(1, 2, figsize=(7.8, 3.7))
deep = np.arange(1, depth + 1)
ax = axes[0]
ax.plot(
    range(13), descent_errors[:13], color=PALETTE["orange"], label="gradient descent, one rate"
)
online = (1 - 1 / (dim + 2)) ** np.arange(13)
ax.plot(range(13), online, color=PALETTE["grey"], label="online gradient descent")
ax.plot(range(13), newton_errors, color=PALETTE["purple"], label="Newton")
ax.plot(deep, best_descent, "--", color=THEORY, lw=1.2, label="best rate for each step")
for kind, (color, name) in enumerate(
    (("blue", r"trained, $\gamma = 0$"), ("green", r"trained, $\gamma$ free"))
):
    ax.plot(
        deep, errors[kind], "o", ms=6, mec="white", mew=0.8, color=PALETTE[color],
        label=[name, *[None] * (models - 1)],
    )  # fmt: skip
ax.set(
    xlabel="steps, iterations, layers", ylabel="squared error / that of predicting 0", yscale="log",
    ylim=(1e-6, 2), xticks=range(0, 13, 2),
)  # fmt: skip
axes[1].plot(deep, np.median(equivalent[1], -1), color=PALETTE["green"], lw=1.2)
axes[1].plot(deep, np.median(equivalent[0], -1), color=PALETTE["blue"], lw=1.2)
axes[1].plot(deep, equivalent[1], "o", ms=6, mec="white", mew=0.8, color=PALETTE["green"])
axes[1].plot(deep, equivalent[0], "o", ms=6, mec="white", mew=0.8, color=PALETTE["blue"])
axes[1].plot(deep, deep, ":", color=PALETTE["orange"], lw=1.6)
axes[1].set(xlabel="layers", ylabel="gradient steps that match", xticks=deep, ylim=(0, None))
fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# Left: the error, with Newton's slow start and its cliff. A step size for each step (blue, on the closed form) helps
# gradient descent a little. Letting each layer change the inputs (green; one dot a start) takes the error down by
# orders of magnitude: three layers are ahead of six of Newton's iterations. They were trained on this distribution of
# eigenvalues, while Newton's method knows nothing but the largest. (Online gradient descent, grey, takes one example
# a step, here with its best rate $1/(d+2)$, and forgets it.)
#
# Right: the same as an exchange rate. If layers were gradient steps, the dots would lie on the dotted line. They bend
# upwards; the third layer is worth several times as many gradient steps as the second. Different starts end in
# somewhat different places, for the error has several local minima in the $\gamma_l$, but all show the bend.
#
# The claim compares increments, $\big(t(3)-t(2)\big)/\big(t(2)-t(1)\big)$, where $t(L)$ is the number of gradient
# steps that match $L$ layers. Equal steps would give 1, the stack without $\gamma$ gives about 1.3.

# %%
increments = np.diff(equivalent[:, :3], axis=1)
growth = increments[:, 1] / increments[:, 0]
print(f"gamma = 0: {np.median(growth[0]):.2f}")
paper.report("trained-depth-outpaces-gd", np.median(growth[1]), samples=growth[1])

# %% [markdown]
# The paper's finer evidence is a match of whole predictors: the transformer's layers line up with Newton's
# iterations, about three to a layer. By the error, our layers do the same: the printed table gives two to three more
# Newton iterations with every layer. Are they Newton's method, then? The polynomials answer that.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels for two, three and four layers: absolute share of the weights left unlearned against the eigenvalue. Newton's method and gradient descent leave much of the small eigenvalues; trained stacks oscillate at a low level over the whole range in which eigenvalues lie, and rise steeply beyond."}}
grid = np.linspace(0.02, 3.2, 700)
typical_largest = np.median(by_prompt[:, -1])
fig, axes = plt.subplots(1, 3, figsize=(7.8, 3.6), sharey=True)
for ax, layers in zip(axes, (2, 3, depth), strict=True):
    best = int(np.argmin(errors[1, layers - 1]))
    steps_matched, newton_matched = (
        int(np.median(np.round(np.nan_to_num(matched[1, layers - 1], nan=last))))
        for matched, last in ((equivalent, counts[-1]), (newton_equivalent, 12))
    )
    density = ax.twinx()
    density.hist(
        test_spectrum.points, bins=64, range=(0, 3.2), color=PALETTE["grey"], alpha=0.3
    )
    density.set(yticks=[], ylim=(0, 2.2 * density.get_ylim()[1]))
    density.spines["right"].set_visible(False)
    ax.set_zorder(1)
    ax.patch.set_visible(False)
    lines = (
        (1 - tuned_rates[steps_matched - 1] * grid) ** steps_matched,
        np.where(
            grid < typical_largest,
            newton_residual(grid, typical_largest**-2, newton_matched),
            np.nan,
        ),
        np.asarray(
            left_by(stacks[1:, layers - 1 : layers, best : best + 1], np.float32(grid))
        ).ravel(),
    )
    names = (
        f"{steps_matched} gradient steps",
        f"{newton_matched} Newton iterations",
        f"{layers} trained layers",
    )
    for q, color, name in zip(lines, ("orange", "purple", "green"), names, strict=True):
        ax.plot(grid, np.abs(q), color=PALETTE[color], lw=1.5, label=name)
    ax.set(xlabel=r"eigenvalue $\lambda$", yscale="log", ylim=(1e-5, 60), xlim=(0, 3.2))
    ax.legend(loc="upper center", fontsize=9)
axes[0].set_ylabel(r"share of $w_*$ left, $|q(\lambda)|$")
plt.show()

# %% [markdown]
# Shown is how much of $w_*$ each method leaves along an eigenvector (grey: how frequent its eigenvalue is), at steps
# of about equal error. Newton's residual, drawn for a prompt of typical largest eigenvalue and up to it, is monotone:
# it finishes large eigenvalues first and works its way down to the small ones. Gradient descent does the same, with a
# rate that is too large for the rarest. A trained stack does something else: it spreads its zeros over the range in
# which eigenvalues lie, keeps $|q|$ low over all of it, and gives up what hardly ever occurs. It is a method of high
# order, fitted to its distribution.
#
# ## Badly conditioned inputs
#
# The two rates part when $\kappa$ is large. We draw inputs with a covariance $\Sigma$ of condition number 100, with
# random eigenvectors for each prompt, so that no network could keep the right preconditioner in its weights (compare
# {doc}`trained-linear-transformers`). Both methods run until the expected squared error at a query from the same
# distribution, $(w-w_*)^\top\Sigma(w-w_*)$, is $10^{-6}$ of its value at $w=0$.

# %%
rotations, _ = np.linalg.qr(generator(6).normal(size=(tasks, dim, dim)))
variances = np.geomspace(condition**-0.5, condition**0.5, dim)
covariances = np.einsum("tij,j,tkj->tik", rotations, variances, rotations)
roots = np.einsum("tij,j,tkj->tik", rotations, np.sqrt(variances), rotations)
skewed = generator(7).normal(size=(tasks, length, dim)) @ roots
hard_values, hard_vectors = np.linalg.eigh(np.einsum("tni,tnj->tij", skewed, skewed) / length)
hard_components = np.einsum("tij,ti->tj", hard_vectors, w)
metric = np.einsum("tij,tik,tkl->tjl", hard_vectors, covariances, hard_vectors, optimize=True)


def excess(share):
    """Squared error at a query, relative to w = 0, where a share of each component is left."""
    error = share * hard_components
    whole = np.einsum("ti,tij,tj->t", hard_components, metric, hard_components, optimize=True)
    return np.einsum("ti,tij,tj->t", error, metric, error, optimize=True) / whole


tolerance = 1e-6
hard_alpha = safe_scale(hard_values)[:, None]
newton_excess = np.stack(
    [excess(newton_residual(hard_values, hard_alpha, k)) for k in range(31)]
)
newton_needs = np.where(
    (newton_excess <= tolerance).any(0), np.argmax(newton_excess <= tolerance, 0), np.inf
)
hard_rate = 2 / (hard_values[:, :1] + hard_values[:, -1:])
share, descent_needs, descent_excess = np.ones_like(hard_values), np.full(tasks, np.inf), []
for step in range(1, most + 1):
    share = share * (1 - hard_rate * hard_values)
    descent_excess.append(excess(share))
    descent_needs = np.where(
        descent_excess[-1] <= tolerance, np.minimum(descent_needs, step), descent_needs
    )
    if np.all(np.isfinite(descent_needs)):
        break
advantage = descent_needs / newton_needs

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative error on badly conditioned inputs against steps, both axes logarithmic: Newton's method reaches one part in a million after about twenty iterations, gradient descent after several hundred steps."}}
fig, ax = plt.subplots()
band(ax, np.arange(1, 31), newton_excess[1:].T, PALETTE["purple"], "Newton")
at = np.unique(np.geomspace(1, len(descent_excess), 80).astype(int))
band(
    ax,
    at,
    np.stack(descent_excess)[at - 1].T,
    PALETTE["orange"],
    "gradient descent, best constant rate",
)
ax.axhline(tolerance, color=THEORY, ls="--", lw=1.2, label="tolerance")
ax.set(
    xlabel="iterations, steps", ylabel="squared error / that of $w = 0$", xscale="log", yscale="log",
    ylim=(1e-9, 2), xlim=(1, 3000),
)  # fmt: skip
ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
ax.legend(loc="lower left")
plt.show()
hard_kappa = np.median(hard_values[:, -1] / hard_values[:, 0])
print(
    f"condition number of S: {hard_kappa:.0f} (median; {np.median(kappa):.0f} on isotropic inputs)"
)
print(
    f"median gradient steps {np.median(descent_needs):.0f}, Newton iterations {np.median(newton_needs):.0f}"
)

# %% [markdown]
# Gradient descent reduces the error quickly at first, in the directions of large variance, and then waits for the
# others. Newton's method spends most of its iterations in the plateau, $2\log_2\kappa$ of them, and needs only a few
# more for the six digits.

# %%
paper.report("ill-conditioned-data", np.median(advantage), samples=advantage[:100])

# %% [markdown]
# ## The part in one figure
#
# Four pages of this part make exact statements about the same object, linear attention on regression prompts:
#
# - the hand-written layer is one gradient step, with a best step size in closed form
#   ({doc}`in-context-gradient-descent`);
# - trained by gradient flow, a layer becomes one step *preconditioned* by $\Gamma^{-1}$
#   ({doc}`trained-linear-transformers`), and this is the best that any one layer can do
#   ({doc}`optimal-one-step-in-context`);
# - stacks that also change their inputs are GD++ ({doc}`in-context-gradient-descent` again), and they have the pace
#   of Newton's method (this page).
#
# To see them together, take one task: $d$ inputs with variances that span a factor of 8, $w_*\sim N(0, I)$, and
# labels with a little noise of standard deviation $\sigma$, so that there is a floor which nothing can pass, the
# Bayes risk of ridge regression. With noise, a share $q$ left unlearned costs
#
# $$\mathbb E\Big[q(\lambda)^2 + \frac{\sigma^2}{n}\,\frac{(1-q(\lambda))^2}{\lambda}\Big],$$
#
# the second term for the noise that was fitted, where an eigenvector $v$ of $S$ counts with its share $v^\top\Sigma
# v/\operatorname{tr}\Sigma$ of the query's variance. All curves are expected risks from this formula, and the two
# single layers are closed forms.

# %%
one_family = LinearTasks(
    dim, length, "normal", label_noise, covariance=np.diag(np.geomspace(1, 1 / spread, dim))
)
total = np.trace(one_family.covariance)
noise = label_noise**2 / length
skewed = generator(8).normal(size=(spectra, length, dim)) * np.sqrt(
    np.diag(one_family.covariance)
)
family_spectrum = prompt_spectrum(skewed, one_family.covariance)
family_condensed = gauss_rule(*family_spectrum, nodes)
_, family_errors = map(np.asarray, train(starts, single(family_condensed), np.float32(noise)))
family_counts = np.unique(np.geomspace(1, nodes - 1, 30).astype(int))
_, family_descent = descent_risks(family_condensed, family_counts, noise)
scale = np.repeat(safe_scale(family_spectrum.points.reshape(-1, dim)), dim)
family_newton = [
    spectral_risk(family_spectrum, newton_residual(family_spectrum.points, scale, k), noise)
    for k in range(13)
]
floor = ridge_risk(family_spectrum, noise)

# %% tags=["hide-input", "part-figure"] mystnb={"image": {"alt": "Risk of linear attention on one regression task against the number of layers, both axes logarithmic. At one layer the hand-written gradient step lies a little above the trained, preconditioned one. Stacks with a rate for each layer fall slowly, gradient descent needs sixty steps to reach the Bayes floor, Newton's method about twelve layers, trained stacks that change their inputs four."}}
fig, ax = plt.subplots(figsize=(7.2, 4.4))
ax.plot(
    family_counts, family_descent, color=PALETTE["orange"], label="gradient descent, one rate"
)
ax.plot(
    np.arange(13) + 2, family_newton, "^-", ms=5, color=PALETTE["purple"],
    label="Newton, $k$ iterations in $k+2$ layers",
)  # fmt: skip
ax.plot(
    deep, family_errors[0].min(-1), "s-", ms=5, color=PALETTE["blue"],
    label=r"trained stack, $\gamma = 0$: GD, a rate a layer",
)  # fmt: skip
ax.plot(
    deep, family_errors[1].min(-1), "o-", ms=5, color=PALETTE["green"],
    label=r"trained stack, $\gamma$ free: GD++",
)  # fmt: skip
ax.plot(
    1, one_family.one_step_loss() / total, "o", ms=12, mfc="none", mew=1.8, color=THEORY,
    label="one layer by hand: a step, best rate",
)  # fmt: skip
ax.plot(
    1, one_family.preconditioned_loss() / total, "D", ms=7, color=PALETTE["red"],
    label="one layer, limit of gradient flow",
)  # fmt: skip
ax.axhline(floor, color=THEORY, ls="--", lw=1.2, label="Bayes: ridge regression")
ax.set(
    xlabel="layers, or steps of gradient descent", ylabel="risk / that of predicting 0",
    xscale="log", yscale="log", ylim=(floor / 1.6, 1.2), xlim=(0.85, 80),
)  # fmt: skip
ax.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
ax.minorticks_off()
fig.legend(loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# Read from the left. At **one layer**, the step written by hand (ring) is what stacks start from, green and blue dots
# lie in it: the second number of a last layer has nothing to act on. The limit of gradient flow (diamond) is lower
# because the free matrices of that layer hold the inverse of the inputs' covariance, inflated for the finite prompt
# and the noise. Nothing with one layer is below the diamond.
#
# With **more layers** the question is what they are used for. As gradient steps (blue, or orange with one rate for
# all) they pay off slowly, for the condition number of prompts is what it is. Newton's method (purple) begins badly,
# falls off its cliff, and ends at least squares, a hair above the floor. The trained stack that may change its inputs
# (green; the best of its starts) comes near the floor with four layers, for which gradient descent takes about sixty
# steps. The **floor** is the Bayes risk, which trained softmax transformers are known to approach on such tasks
# {cite:p}`garg2022what,akyurek2023what`.
#
# ## What differs from the paper
#
# - **The trained networks.** The paper's evidence comes from softmax transformers with 12 layers and 8 heads at $d =
#   20$, read out layer by layer with fitted readouts, and compared with Newton's method, gradient descent and an
#   LSTM. Here the trained objects are stacks of at most four linear layers with two numbers each, and depth itself is
#   varied. The shape of the result is the same, gradient steps grow faster and faster with depth and Newton
#   iterations steadily; that a layer is worth about three iterations in both is a coincidence as far as this page can
#   tell.
# - **Not Newton's method.** The paper finds that predictors coincide. The stacks here only share the pace: their
#   polynomials are fitted to the distribution of eigenvalues. Stacks of linear layers whose matrices are all free do
#   not train reliably in seconds and are left out.
# - **The construction** keeps the residual connection as it is and scales $a$ by $2^{-k}$; the theorem's uses more
#   layers for one iteration. Others have built Newton's method into transformers for logistic regression
#   {cite:p}`giannou2025how`.
# - **Constants.** $\alpha = 1/\lambda_{\max}^2$ is known for each prompt (except in the constructed layers), and so
#   is the best constant rate of gradient descent. Gradient descent with momentum, or with Chebyshev's rates, needs of
#   the order of $\sqrt\kappa$ steps rather than $\kappa$; that is still exponentially more than $\log\kappa$.
# - **Ill-conditioned data.** The paper trains a transformer on them. This page compares the two algorithms, and
#   trains nothing on $\kappa = 100$.
#
# ## Things to try
#
# - `reprise sweep in-context-higher-order -p condition=10,100,1000`: gradient steps grow in proportion to the
#   condition number, Newton iterations with its logarithm. At 10 the advantage falls below the criterion of 20, and
#   that claim fails as it should.
# - `reprise run in-context-higher-order -p length 80`: longer prompts are better conditioned. All methods are faster,
#   and the doubling of gradient steps sets in earlier.
# - `reprise run in-context-higher-order -p learning_rate 0.1`: larger steps of Adam find deeper minima for four
#   layers in some starts and worse ones in others.
# - `reprise run in-context-higher-order -p depth 5`: the fifth layer. The green dots scatter more, because $(3^5-1)/2
#   = 121$ is a high degree for ten numbers.
# - `reprise run in-context-higher-order -p label_noise 1.0 -p spread 1.0`: in the last figure the floor comes up
#   until most of depth is useless, and with equal variances ring and diamond nearly coincide.
# - In the notebook: leave out the factor `gain` of one of the layers that `newton_weights` returns. The identity is
#   gone, and so is convergence.

# %%
paper.verdicts()
