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
# # One Step of Gradient Descent is Provably the Optimal In-Context Learner with One Layer of Linear Self-Attention
#
# Train one layer of linear self-attention to do regression from the examples in its prompt, and it ends up performing a
# single step of gradient descent on them. That was first seen in experiments ({doc}`in-context-gradient-descent`), and
# an experiment leaves a doubt: perhaps training stops there for want of patience, and a better layer exists.
#
# {cite:t}`mahankali2024one` prove that it does not. Among *all* layers of this kind, with any matrices whatsoever, none
# has a smaller expected loss than one gradient step with the right step size. The proof also answers two questions that
# an experiment would have to guess at:
#
# - **What if the inputs are correlated?** Then the best layer is one step of *preconditioned* gradient descent; the
#   inputs' covariance is stored in the weights.
# - **What if the labels are not linear in the inputs?** Then nothing changes but the step size. The layer goes on
#   fitting a linear model.
#
# This page puts numbers on all three statements. Each comes with a prediction without free constants: a step size to
# three digits, a matrix entry by entry, a loss. And because the proof rests on one identity short enough for half a
# page, the identity is derived and measured as well.
#
# ## Task and layer
#
# A prompt holds $n$ examples of a linear function and a query,
#
# $$x_i \sim N(0, I_d),\qquad w\sim N(0, I_d),\qquad y_i = w^\top x_i + \epsilon_i,\quad \epsilon_i\sim N(0, \sigma^2),$$
#
# with a new $w$ for every prompt. Example $i$ enters as the token $v_i = (x_i, y_i)\in\mathbb R^{d+1}$, the query as
# $v_q = (x_q, 0)$. Attention without the softmax, and a linear readout $h$, predict
#
# $$\hat y = h^\top \sum_{i=1}^n W_V v_i\,\big(v_i^\top W_K^\top W_Q\, v_q\big)
#   = \sum_{i=1}^n (u^\top v_i)\,(v_i^\top M x_q),$$
#
# where all that matters of the four weight arrays is the vector $u = W_V^\top h\in\mathbb R^{d+1}$ and the first $d$
# columns of $W_K^\top W_Q$, here called $M\in\mathbb R^{(d+1)\times d}$. The loss is
# $L(u, M) = \mathbb E(\hat y - y_q)^2$ over prompts; it is a polynomial of fourth degree in the weights, and not convex.
#
# Now multiply out with $u = (u_x, u_y)$, and with $M_x$ for the first $d$ rows of $M$ and $m_y^\top$ for the last:
#
# $$\hat y = \sum_i y_i\,x_i^\top\underbrace{\big(u_y M_x + u_x m_y^\top\big)}_{A}\,x_q
#   \;+\;\sum_i (u_x^\top x_i)\,x_i^\top M_x\, x_q \;+\; \sum_i y_i^2\;u_y\, m_y^\top x_q .$$
#
# One step of gradient descent from zero on $\tfrac12\sum_i (w^\top x_i - y_i)^2$, with step size $\eta$, predicts
# $\eta\sum_i y_i\,x_i^\top x_q$: it is a layer with $A = \eta I$ in which the other two terms vanish. One step of gradient
# descent preconditioned by a matrix $P$ is a layer with $A = \eta P$.
#
# ## What the theorems predict
#
# **Theorem 1.** Every minimiser of $L$ computes $\hat y = \eta^*\sum_i y_i\,x_i^\top x_q$, where
#
# $$\eta^* = \frac{\mathbb E\,\hat w_D^\top X^\top y}{\mathbb E\,\lVert X^\top y\rVert^2} = \frac{1}{n + d + 1 + \sigma^2},\qquad
#   L^* = d + \sigma^2 - \frac{nd}{n+d+1+\sigma^2} .$$
#
# $X$ has the examples as rows, $y$ their labels, and $\hat w_D = (X^\top X + \sigma^2 I)^{-1}X^\top y$ is the posterior
# mean of $w$ given the prompt $D$. The first form is the paper's. The second follows because $\hat w_D$ may be exchanged for
# $w$ under the expectation, which leaves moments of Gaussian vectors: $nd$ above, $nd(n+d+1) + nd\sigma^2$ below.
#
# The step is smaller than $1/n$, which would be right for infinitely many examples. The excess $d + 1 + \sigma^2$ in the
# denominator is caution: $d + 1$ because $X^\top X$ is not exactly $n I$, $\sigma^2$ because the labels lie.
#
# **Theorem 2.** With $x\sim N(0, \Sigma)$ and $w\sim N(0, \Sigma^{-1})$, the minimisers have
# $A = \eta^*\,\Sigma^{-1}$ with the same $\eta^*$.
#
# **Theorem 3.** Let labels be $y_i = f(x_i) + \epsilon_i$ with a random function $f$ whose distribution does not change when $f$
# is rotated or flipped in sign. Then the minimisers still have $A = \eta_f I$; only $\eta_f$ depends on $f$.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
dim = 5  # d, inputs of the linear function
length = 10  # n, labelled examples in a prompt
noise = 1.0  # sigma, standard deviation of label noise (none in the noiseless setting)
condition = 16.0  # ratio of the largest to the smallest eigenvalue of Sigma, theorem 2
batch = 512  # prompts in a training step, all fresh
steps = 1000  # Adam steps
learning_rate = 0.05  # Adam's rate at the start of a cosine decay
models = 4  # layers trained in each setting, each from its own initialisation
test_prompts = 100000  # fresh prompts behind each layer's reported loss

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.networks.attention import LinearAttention
from reprise.networks.functional import ensemble
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.tasks.linear_regression import LinearTasks, gram, preconditioned_step
from reprise.training.loop import fit

use_style()
paper = open_paper("optimal-one-step-in-context", globals())

# %% [markdown]
# ## Five tasks, trained at once
#
# `LinearTasks` is a family of prompts that knows its own closed forms. We use five: without noise, with noise, with
# correlated inputs and the matching prior, and with two nonlinear labels, $\tanh(w^\top x)$ and
# $\operatorname{sign}(w^\top x)$. The covariance $\Sigma$ has eigenvalues from $\tfrac14$ to 4 along random directions, so
# that $\Sigma^{-1}$ is a matrix with something to get wrong off its diagonal.
#
# All families turn the *same* random numbers into prompts. In particular $x\mapsto\Sigma^{1/2}x$,
# $w\mapsto\Sigma^{-1/2}w$ leaves $w^\top x$ alone: the correlated task has exactly the labels of the noisy one, seen
# through other inputs.

# %%
key_basis, key_init, key_train, key_fresh, key_identity, key_layers = jax.random.split(
    jax.random.key(seed), 6
)
basis, _ = np.linalg.qr(np.asarray(jax.random.normal(key_basis, (dim, dim)), float))
sigma = (basis * np.geomspace(condition**-0.5, condition**0.5, dim)) @ basis.T

size = {"dim": dim, "length": length, "inputs": "normal"}
families = {
    "noiseless": LinearTasks(**size),
    "noisy": LinearTasks(**size, noise=noise),
    "correlated": LinearTasks(
        **size, noise=noise, covariance=sigma, prior=np.linalg.inv(sigma)
    ),
    "tanh": LinearTasks(**size, noise=noise, link=jnp.tanh),
    "sign": LinearTasks(**size, noise=noise, link=jnp.sign),
}
names = list(families)


def prompts_of(draws, names=names):
    """The prompts that several families make of the same random numbers: a leading axis for the family."""
    return jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(families[name].prompts(draws) for name in names)
    )


# %% [markdown]
# The library's rates are those of the *mean* over examples, the paper's those of the sum, a factor $n$ apart. In the
# paper's convention:

# %%
eta = {
    name: family.optimal_rate() / length
    for name, family in families.items()
    if name != "correlated"
}
predicted = {name: rate * np.eye(dim) for name, rate in eta.items()}
predicted["correlated"] = families["correlated"].optimal_preconditioner() / length
for name, rate in eta.items():
    print(f"{name:<10} predicted step size {rate:.5f} = 1 / {1 / rate:.2f}")
inverse_error = np.abs(predicted["correlated"] - eta["noisy"] * np.linalg.inv(sigma)).max()
print(f"correlated: the optimal matrix differs from eta* Sigma^-1 by {inverse_error:.0e}")

# %% [markdown]
# A layer sees its prompt only through $G = \frac1n\sum_i v_i v_i^\top$, so a prediction is $u^\top G\, M x_q$. The parameters
# come from `LinearAttention`, the layer of {doc}`in-context-gradient-descent`, of which a readout at the query's label
# uses one row of one matrix and $d$ columns of the other. Every setting starts from the same initialisations, and all
# layers are trained by Adam in one scanned loop on prompts that never repeat. Along the way the loop keeps the matrix
# $A$; what is reported as learned is its mean over the last quarter of training, in which the decaying learning rate has
# already calmed the noise of the batches.


# %%
def predict(layers, prompts):
    """Predictions of several layers (leading axis of ``u`` and ``m``) at prompts of one family: [layers, prompts]."""
    read = jnp.einsum("ki,bij->kbj", layers["u"], gram(prompts))
    return (read * jnp.einsum("kjd,bd->kbj", layers["m"], prompts.query)).sum(-1)


def effective_matrix(layers):
    """A, by which a layer multiplies the terms y_i x_i and x_q."""
    u, m = layers["u"], layers["m"]
    return (
        u[..., -1, None, None] * m[..., :-1, :] + u[..., :-1, None] * m[..., -1:, :]
    ) / length


def losses(layers, prompts):
    """Squared error of each family's layers at the noise-free label of the query: [families, layers]."""
    error = lambda layers, prompts: jnp.mean(
        (predict(layers, prompts) - prompts.target) ** 2, 1
    )
    return jax.vmap(error)(layers, prompts)


every = max(steps // 100, 1)  # steps between two snapshots


@jax.jit
def train(key_init, key_train):
    """Trained layers with leading axes [families, models], and their history."""
    keys = jax.random.split(key_init, models)
    _, start = ensemble(lambda rngs: LinearAttention(dim + 1, std=0.3, rngs=rngs), keys)
    start = {"u": start["output"][...][:, 0, -1], "m": start["score"][...][:, 0, :, :dim]}
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(names), *leaf.shape)), start)

    def loss(layers, key):
        each = losses(layers, prompts_of(families["noisy"].draw(key, batch)))
        return each.sum(), each

    adam = optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=1e-3))
    watch = {"watch": effective_matrix, "watch_every": every}
    return fit(loss, start, adam, key_train, steps, has_aux=True, **watch)


trained, history = jax.tree.map(np.asarray, train(key_init, key_train))
learned = dict(zip(names, history["watch"][-25:].mean(0), strict=True))

# %% [markdown]
# The loss of a trained layer is measured on prompts of its own, 100 000 by default. On the same prompts we score the Bayes
# predictor, $\hat w_D^\top x_q$: ridge regression with penalty $\sigma^2$, which nothing can beat. The noise in the
# query's own label is independent of the prompt and adds exactly $\sigma^2$ to every loss, so it is added and not sampled.

# %%
linear = ["noiseless", "noisy"]
variances = np.array([families[name].noise ** 2 for name in linear])
chunk = min(10000, test_prompts)
draw = jax.jit(lambda key: families["noisy"].draw(key, chunk))


@jax.jit
def score(layers, draws):
    """Losses of one layer in each of the linear families, and of the Bayes predictor with noise."""
    prompts = prompts_of(draws, linear)
    bayes = families["noisy"].posterior_mean(jax.tree.map(lambda leaf: leaf[1], prompts))
    return losses(layers, prompts)[:, 0], jnp.mean((bayes - prompts.target[1]) ** 2)


def fresh_losses(i, key):
    """Losses of the i-th layers and of the Bayes predictor, the noise of the query's label included."""
    layers = {name: leaf[:2, i : i + 1] for name, leaf in trained.items()}
    parts = [score(layers, draw(key)) for key in jax.random.split(key, test_prompts // chunk)]
    one, bayes = (np.mean([np.asarray(part[j]) for part in parts], axis=0) for j in range(2))
    return one + variances, bayes + noise**2


fresh_keys = jax.random.split(key_fresh, models)
fresh, bayes_loss = map(
    np.array, zip(*map(fresh_losses, range(models), fresh_keys), strict=True)
)
best_loss = np.array([families[name].one_step_loss() for name in linear]) + variances

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels, without and with noise: training losses of four layers fall from the loss of predicting zero to the dashed line of the one-step optimum and stay there, above the Bayes loss."}}
fig, axes = plt.subplots(1, 2, sharey=True)
smooth = history["aux"][: steps // every * every].reshape(-1, every, len(names), models).mean(1)
at = (np.arange(len(smooth)) + 0.5) * every
floors = (0.0, bayes_loss.mean())
for j, (ax, name) in enumerate(zip(axes, linear, strict=True)):
    variance = families[name].noise ** 2
    for i in range(models):
        ax.plot(
            at, smooth[:, j, i] + variance, color=PALETTE["blue"], lw=1.2, alpha=0.7,
            label="attention layers, trained" if i == 0 else None,
        )  # fmt: skip
    ax.axhline(dim + variance, color=PALETTE["grey"], ls=":", label="predicting 0")
    ax.axhline(best_loss[j], color=THEORY, ls="--", label=r"one gradient step: $L^*$")
    ax.axhline(floors[j], color=PALETTE["green"], label="Bayes: ridge regression")
    ax.set(
        title=rf"$\sigma = {families[name].noise:g}$",
        xlabel="Adam steps",
        ylim=(-0.2, 1.5 * (dim + noise**2)),
        xticks=[0, steps // 2, steps],
    )
axes[0].set_ylabel("squared error at the query")
axes[0].legend(loc="upper right")
plt.show()

# %% [markdown]
# All layers come down to the dashed line and none crosses it (the wiggles are batches). The line was computed
# without any network. Below it lies what is possible in principle, so the layers stop for want of means, not of
# information: without noise ten examples determine five weights exactly, and the layer still misses by more than a third
# of what predicting zero misses.
#
# The claim takes the median over layers of loss over $L^*$ and, of the two noise levels, the one that is closer to leaving
# the admitted range.

# %%


def nearest_to_failing(claim, values):
    """Of several values, the one with the least room inside a claim's criterion."""
    criterion = paper.card.claim(claim).criterion
    return min(values, key=lambda value: min(value - criterion.low, criterion.high - value))


loss_ratios = fresh / best_loss
for j, name in enumerate(linear):
    print(
        f"{name:<10} L* = {best_loss[j]:.4f}; trained: "
        + " ".join(f"{value:.4f}" for value in fresh[:, j])
    )
worst_loss = nearest_to_failing("global-minimum-loss", np.median(loss_ratios, 0))
paper.report("global-minimum-loss", worst_loss, samples=loss_ratios)

# %% [markdown]
# ## The step size
#
# The loss of one gradient step is a parabola in its step size. Where on it did the layers come to rest?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two parabolas of loss against step size, without and with noise; the trained layers' points lie at their minima, clearly apart from each other and from one over n."}}
fig, ax = plt.subplots()
grid = np.linspace(0, 0.125, 200) * 10 / length
for j, (name, color) in enumerate(zip(linear, ("orange", "purple"), strict=True)):
    family = families[name]
    ax.plot(
        grid,
        family.one_step_loss(grid * length) + family.noise**2,
        color=PALETTE[color],
        lw=1.4,
    )
    ax.plot(
        eta[name],
        best_loss[j],
        "o",
        ms=11,
        mfc="none",
        color=THEORY,
        label=r"theorem: $(\eta^*, L^*)$" if j else None,
    )
    slopes = np.trace(learned[name], axis1=1, axis2=2) / dim
    ax.plot(
        slopes, fresh[:, j], ".", color=PALETTE["blue"], label="trained layers" if j else None
    )
    ax.annotate(
        rf"$\sigma = {family.noise:g}$", (grid[-60], family.one_step_loss(grid[-60] * length) + family.noise**2),
        xytext=(8, -12), textcoords="offset points", color=PALETTE[color],
    )  # fmt: skip
ax.axvline(1 / length, color=PALETTE["grey"], ls=":", label=r"$1/n$")
ax.set(
    xlabel=r"step size $\eta$ (mean diagonal of $A$)",
    ylabel="squared error at the query",
    ylim=(0, dim + noise**2),
)
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# The blue dots sit inside the black circles. At $\sigma = 1$ the minimum lies further left than at $\sigma = 0$: the layer has
# learned to trust its labels less. The parabola is flat at the bottom, so the loss alone would not have told the two step
# sizes apart so sharply; the weights do.

# %%
step_ratios = np.array(
    [np.trace(learned[name], axis1=1, axis2=2) / dim / eta[name] for name in linear]
)
worst_step = nearest_to_failing("learned-step-size", np.median(step_ratios, 1))
paper.report("learned-step-size", worst_step, samples=step_ratios)

# %% [markdown]
# A mean diagonal says nothing about the two terms that should vanish from the prediction. They are proportional to $u_x$ and to
# $m_y$, so it is enough to look at these parts of the weights, next to the parts that carry the $A$-term.

# %%
size_of = np.linalg.norm
label_free = size_of(trained["u"][..., :-1], axis=-1) / np.abs(trained["u"][..., -1])
squared = size_of(trained["m"][..., -1, :], axis=-1) / size_of(
    trained["m"][..., :-1, :], axis=(-2, -1)
)
for name, first, second in zip(names, label_free.max(1), squared.max(1), strict=True):
    print(
        f"{name:<10} |u_x| / |u_y| = {first:.4f}   |m_y| / |M_x| = {second:.4f}   (worst layer)"
    )

# %% [markdown]
# ## Correlated inputs: the layer learns to precondition

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three heat maps: the matrix learned on isotropic inputs is the identity; the one learned on correlated inputs is indistinguishable from the inverse covariance beside it."}}
fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.9))
shown = {
    r"learned, $\Sigma = I$": learned["noisy"][0] / eta["noisy"],
    r"learned, correlated": learned["correlated"][0] / eta["noisy"],
    r"predicted: $\Sigma^{-1}$": predicted["correlated"] / eta["noisy"],
}
limit = np.abs(shown[r"predicted: $\Sigma^{-1}$"]).max()
for ax, (title, matrix) in zip(axes, shown.items(), strict=True):
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
fig.colorbar(image, ax=axes, shrink=0.8, label=r"entry of $A/\eta^*$")
plt.show()

# %% [markdown]
# Left, one of the layers trained on isotropic inputs: the identity. Middle, the same layer trained on correlated ones: it
# has written the inverse of their covariance into its weights, off-diagonal entries included. Right, the prediction.
#
# $\Sigma^{-1}$ undoes the inputs' correlation, since $x^\top\Sigma^{-1}x_q$ is the inner product of whitened inputs. It
# is not computed from the prompt: it is a property of the training distribution, frozen into the weights. On another
# covariance the layer would precondition with the wrong matrix.
#
# The prior $N(0, \Sigma^{-1})$ makes the result neat, by giving all whitened directions the same weight. For
# $w\sim N(0, W)$ the same calculation gives the best one-step matrix
# $\big[(n+1)W\Sigma + (\operatorname{tr}W\Sigma + \sigma^2)I\big]^{-1}W$, which is `optimal_preconditioner`; for $W = I$ it
# is the limit of gradient flow in {doc}`trained-linear-transformers`, where directions of little variance are given up
# as not worth the noise.


# %%
def relative_error(name):
    """Relative Frobenius distance of each learned matrix of a family from the predicted one."""
    target = predicted[name]
    return np.linalg.norm(learned[name] - target, axis=(1, 2)) / np.linalg.norm(target)


isotropic_guess = np.trace(predicted["correlated"]) / dim * np.eye(dim)
isotropic_error = np.linalg.norm(isotropic_guess - predicted["correlated"]) / np.linalg.norm(
    predicted["correlated"]
)
print(f"the best multiple of the identity misses the predicted matrix by {isotropic_error:.0%}")
correlated_errors = relative_error("correlated")
meaningful = isotropic_error > 0.5
paper.report(
    "preconditioning-appears",
    np.median(correlated_errors) if meaningful else np.inf,
    samples=correlated_errors,
)

# %% [markdown]
# ## Nonlinear labels: same algorithm, another step size
#
# For $f(x) = g(w^\top x)$ the step size of theorem 3 can be evaluated. Given $r = \lVert w\rVert$, with $t\sim N(0, 1)$,
#
# $$\begin{gathered}
# b(r) = \mathbb E\,[g(rt)\,t],\qquad c(r) = \mathbb E\,[g(rt)^2\,(t^2 + d - 1)],\\
# \eta_f = \frac{\mathbb E\,b^2}{\mathbb E\,c + \sigma^2 d + (n-1)\,\mathbb E\,b^2},
# \end{gathered}$$
#
# two integrals over $t$ and one over $r$, by quadrature. For signs everything is elementary: $b^2 = 2/\pi$ and $c = d$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Predicted step size against noise for linear, tanh and sign labels: the curves almost coincide without noise and part with it; measured step sizes of trained layers lie on their curves."}}
fig, ax = plt.subplots()
levels = np.linspace(0, 2, 60)
links = {
    "linear": (None, "orange", linear),
    "tanh": (jnp.tanh, "green", ["tanh"]),
    "sign": (jnp.sign, "red", ["sign"]),
}
for label, (link, color, runs) in links.items():
    curve = [
        LinearTasks(**size, noise=level, link=link).optimal_rate() / length for level in levels
    ]
    ax.plot(levels, curve, color=PALETTE[color], lw=1.4, label=rf"{label}, predicted")
    for name in runs:
        slopes = np.trace(learned[name], axis1=1, axis2=2) / dim
        ax.plot(
            np.full(models, families[name].noise),
            slopes,
            ".",
            ms=9,
            color=PALETTE["blue"],
            zorder=3,
        )
ax.plot([], [], ".", ms=9, color=PALETTE["blue"], label="trained layers")
ax.set(
    xlabel=r"label noise $\sigma$",
    ylabel=r"step size $\eta$ (mean diagonal of $A$)",
    ylim=(0, None),
)
ax.legend()
plt.show()

# %% [markdown]
# Without noise the three curves nearly meet at the left edge, and a formula for $\eta_f$ would go untested. Noise tells
# the tasks apart, because bounded labels carry less signal: their step sizes fall faster, and at $\sigma = 1$ are about
# a third below that of linear labels. The trained layers follow.
#
# The claim compares whole matrices, $\lVert A - \eta_f I\rVert_F / \lVert\eta_f I\rVert_F$, and takes the worse of the two links.

# %%
link_errors = np.array([relative_error(name) for name in ("tanh", "sign")])
for name, errors in zip(("tanh", "sign"), link_errors, strict=True):
    apart = 1 - eta[name] / eta["noisy"]
    print(
        f"{name}: eta_f is {apart:.0%} below the linear eta*; errors of A: "
        + " ".join(f"{e:.3f}" for e in errors)
    )
paper.report(
    "nonlinear-labels-same-algorithm", np.median(link_errors, 1).max(), samples=link_errors
)

# %% [markdown]
# ## Why no layer can do better
#
# Training found the one-step loss, but a better minimum might hide where Adam does not go. Here is the argument that it
# does not, for theorem 1.
#
# The prediction is linear in the query, $\hat y = w(D)^\top x_q$ with $w(D) = M^\top G u$ (up to the factor $n$), and so
# is the best one, $\hat w_D^\top x_q$. The query is independent of the prompt and isotropic, hence
#
# $$L(u, M) = \mathbb E\,\lVert w(D) - \hat w_D\rVert^2 + \text{const} .$$
#
# Insert the gradient step $\eta X^\top y$ between the two. The square splits into two squares and a cross term,
# $2\,\mathbb E\big[(w(D) - \eta X^\top y)^\top(\eta X^\top y - \hat w_D)\big]$. The first bracket is a linear combination of
# entries of $G$: products $x_ax_b$, $y^2$ and $x_a y$ summed over examples. Now use two symmetries of the distribution of prompts:
#
# - **Flip the sign of all labels.** The entries $x_ax_b$ and $y^2$ stay, the second bracket changes sign. They contribute
#   nothing.
# - **Rotate all inputs.** What remains is $\mathbb E\big[(X^\top y)_a\,(\eta X^\top y - \hat w_D)_c\big]$, a matrix that commutes
#   with all rotations, hence a multiple of the identity. Its trace, $\eta\,\mathbb E\lVert X^\top y\rVert^2 - \mathbb E\,\hat w_D^\top X^\top y$,
#   is zero for the $\eta = \eta^*$ of the theorem.
#
# So the cross term vanishes *for every layer*, and
#
# $$L(u, M) = L^* + \mathbb E\,\lVert w(D) - \eta^* X^\top y\rVert^2 .$$
#
# A layer's excess loss *is* its squared distance from one gradient step. Nothing can be below $L^*$, and whatever attains it
# is the gradient step. Theorem 2 is the same in whitened coordinates. For theorem 3 replace $\hat w_D$ by
# $\mathbb E[f(x_q)\,x_q\mid D]$: of linearity, only the two symmetries were used.
#
# The identity can be seen directly. We draw random layers, near and far from the optimum, train nothing, and
# measure both sides on the same prompts. Their ratio must be 1. As a control, the same layers are measured from a gradient
# step with another step size, $1/n$: for it the cross term does not vanish.

# %%
random_layers = 48
three = ["noisy", "correlated", "sign"]
optimum = length * np.stack([predicted[name] for name in three])


@jax.jit
def both_sides(key, draws):
    """Squared distance of random layers from a step and their excess loss over it: [families, optimal or 1/n, layers]."""
    scales = jnp.geomspace(0.03, 0.6, random_layers)
    spread = jax.random.normal(key, (random_layers, dim + 1, dim + 1)) * scales[:, None, None]
    layers = {"u": spread[..., 0].at[:, -1].add(1.0), "m": spread[..., 1:]}

    def one(matrix, prompts):
        predictions = predict(layers | {"m": layers["m"].at[:, :-1].add(matrix)}, prompts)
        steps = jnp.stack([preconditioned_step(prompts, p) for p in (matrix, jnp.eye(dim))])[
            :, None
        ]
        excess = (predictions - prompts.target) ** 2 - (steps - prompts.target) ** 2
        return jnp.mean((predictions - steps) ** 2, -1), jnp.mean(excess, -1)

    return jax.vmap(one)(optimum, prompts_of(draws, three))


parts = [both_sides(key_layers, draw(key)) for key in jax.random.split(key_identity, 4)]
distance, excess = (np.mean([np.asarray(part[j]) for part in parts], axis=0) for j in range(2))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Ratio of excess loss to squared distance for random layers: one at all distances when measured from the optimal gradient step, in three tasks; between minus one and one when measured from a step of size 1/n."}}
fig, ax = plt.subplots()
for j, (name, color) in enumerate(zip(three, ("purple", "cyan", "red"), strict=True)):
    ax.plot(
        distance[j, 0],
        excess[j, 0] / distance[j, 0],
        ".",
        ms=7,
        color=PALETTE[color],
        label=f"from the optimal step, {name}",
    )
ax.plot(
    distance[0, 1],
    excess[0, 1] / distance[0, 1],
    "x",
    ms=5,
    color=PALETTE["grey"],
    label="from a step of size $1/n$, noisy",
)
ax.axhline(1, color=THEORY, ls="--", lw=1.2, zorder=0)
ax.set(
    xscale="log", ylim=(-1.2, 1.6), xlabel="mean squared distance of a random layer from the gradient step",
    ylabel="excess loss / distance",
)  # fmt: skip
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# Coloured: random layers in three tasks, over decades of distance, all at 1. (What scatter there is comes from
# the finite number of prompts, and is largest for the layers nearest to the optimum.) Grey: measured from a step of the wrong
# size the ratio is anything, below zero where a random layer happens to be better than that step. Only $\eta^*$ is a
# bottom.
#
# Seen as a landscape: over the space of *predictors* the loss is a paraboloid with the gradient step at its lowest point. It
# is not convex in $(u, M)$, because a layer's predictor is a product of the two.
#
# ## Optimal, for one layer
#
# None of this makes gradient descent a good way to do regression. The theorem is about the architecture: one linear layer
# can do no better. The Bayes predictor on the same prompts can:

# %%
gaps = 1 - bayes_loss / fresh[:, 1]
print(
    f"loss with noise: trained layers {fresh[:, 1].mean():.3f}, Bayes {bayes_loss.mean():.3f}"
)
paper.report("one-step-loses-to-ridge", np.median(gaps), samples=gaps)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Excess loss against number of examples, log-log: one gradient step and the Bayes predictor start together for few examples, then run parallel with slope minus one, the Bayes predictor several times lower."}}
lengths = np.unique(np.geomspace(1, 300, 40).astype(int))
inputs = np.random.default_rng(seed).normal(size=(400, lengths[-1], dim))
counts = np.concatenate(
    [np.zeros((400, 1, dim, dim)), np.cumsum(inputs[..., None] * inputs[..., None, :], 1)], 1
)
eigenvalues = np.linalg.eigvalsh(counts[:, lengths])
bayes_excess = (noise**2 / (eigenvalues + noise**2)).sum(-1).mean(0)
step_excess = [LinearTasks(dim, n, "normal", noise).one_step_loss() for n in lengths.tolist()]
fig, ax = plt.subplots()
ax.plot(
    lengths, step_excess, color=THEORY, ls="--", label=r"one gradient step, $L^* - \sigma^2$"
)
ax.plot(lengths, bayes_excess, color=PALETTE["green"], label=r"Bayes: ridge regression")
ax.plot(
    np.full(models, length),
    fresh[:, 1] - noise**2,
    ".",
    ms=9,
    color=PALETTE["blue"],
    label="trained layers",
    zorder=3,
)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="examples in the prompt, $n$",
    ylabel=r"loss less the noise $\sigma^2$",
)
ax.legend()
plt.show()

# %% [markdown]
# With one or two examples there is little to choose: both predictors can only shrink. Then ridge regression inverts
# $X^\top X$ while the layer must make do with its average. Both curves fall as $1/n$ in the end, towards
# $d(d + 1 + \sigma^2)/n$ and $d\sigma^2/n$: the layer needs $(d + 1 + \sigma^2)/\sigma^2$ times as many examples. What full transformers, with
# more layers and nonlinearities, make of the same task is the question of {doc}`in-context-learning-algorithm`.
#
# ## What differs from the paper
#
# - **The paper proves, this page measures.** Training shows which minimum is found at $d = 5$, $n = 10$ and from four initialisations;
#   that there is no better one is the theorem, illustrated by the identity above.
# - **Parameters.** The layer is trained in the products $u$ and $M$ and not in $W_K, W_Q, W_V, h$. Both
#   describe the same set of predictors, and the theorems are about predictors.
# - **Normalisation.** Sums over examples are divided by $n$ inside the layer, which changes the scale of the weights and nothing
#   else. Step sizes are quoted for the sum, as in the paper.
# - **Training loss.** Layers are trained on the noise-free label of the query. The noise of the query's label adds $\sigma^2$ to the
#   expected loss of every predictor; leaving it out of training changes no minimiser and calms the gradient. Reported losses include it.
# - **Closed forms.** The paper leaves $\eta$ as a ratio of expectations. $1/(n + d + 1 + \sigma^2)$ and the integrals for $\eta_f$ are
#   that ratio, evaluated.
# - **Theorem 3 on two links.** The theorem covers every rotation-invariant and sign-symmetric law of functions, random
#   networks among them. Here it is tested on $\tanh(w^\top x)$ and $\operatorname{sign}(w^\top x)$, bounded so that batches of moderate
#   size have gradients of moderate variance.
#
# Related theory reaches the same layer from other sides: {cite:t}`ahn2023transformers` for the landscape of one and several
# layers, {cite:t}`zhang2024trained` for the path of gradient flow. The empirical observations that called for a proof are in
# {cite:t}`vonoswald2022transformers` and {cite:t}`akyurek2023what`. {doc}`in-context-higher-order` lays the layer's risk
# beside those of deeper stacks.
#
# ## Things to try
#
# - `reprise run optimal-one-step-in-context -p noise 2.0`: every step size with noise shrinks, and the
#   three tasks move further apart. The gap to ridge regression closes, since noise is then what limits everybody.
# - `reprise run optimal-one-step-in-context -p length 40`: the optimal step approaches $1/n$ and the loss falls; so does
#   that of ridge regression, only faster, and the last claim's range, which is for $n = 10$, is left upwards.
# - `reprise run optimal-one-step-in-context -p condition 100`: directions of small variance need large entries of $A$;
#   training takes longer to write them.
# - `reprise run optimal-one-step-in-context -p batch 64`: the loss is still attained, the matrices get noisy and the two claims
#   about them suffer first. The loss is flat where the weights still wander.
# - `reprise sweep optimal-one-step-in-context -p seed=0..4 -p dim=3,5,8`: the step size follows $1/(n + d + 1 + \sigma^2)$.
# - In the notebook: replace `jnp.tanh` by another odd function, say `lambda y: jnp.sign(y) * jnp.sqrt(jnp.abs(y))`. The
#   predicted step size moves, and the learned matrix stays a multiple of the identity. With an even one like `jnp.abs` the
#   best step size is zero: $\sum_i y_ix_i$ then says nothing about the function.

# %%
paper.verdicts()
