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
# # Trained Transformers Learn Linear Models In-Context
#
# {doc}`in-context-gradient-descent` trains one layer of linear attention on prompts full of regression examples and
# finds that it becomes one step of gradient descent. That was an observation. {cite:t}`zhang2024trained` turn it
# into a theorem about *training*: they follow gradient flow on the layer's weights from a small initialisation,
# through an objective that is not convex, to a global minimum that they write down. With the minimum in hand,
# questions that are usually settled by trying can be settled by calculation:
#
# - **Where does training end?** At one step of *preconditioned* gradient descent. The preconditioner is nearly the
#   inverse of the inputs' covariance, learned once and stored in the weights.
# - **What is the risk on a prompt of another length?** A formula in two numbers: the length $N$ of the prompts in
#   training and the length $M$ of the prompt at hand. Longer prompts help, down to a floor that only longer
#   *training* prompts lower.
# - **Which shifts does the layer survive?** New tasks and new queries, yes. New inputs, no: a covariance learned in
#   training is the wrong one at test, and nothing in the layer can notice. Showing it many covariances in training
#   does not help.
#
# The first figure below shows the answer to the first question: four random starts, and the same closed form at the
# end of all of them.
#
# ## Prompts and tokens
#
# A prompt shows $N$ labelled examples of a linear function and asks for one more label. Inputs have covariance
# $\Lambda$, and every prompt has a weight vector of its own,
#
# $$x_1, \dots, x_N, x_q \sim N(0, \Lambda), \qquad w \sim N(0, I_d), \qquad y_j = w^\top x_j .$$
#
# Its tokens are the columns of the matrix $E$, with a zero where the answer is missing, and a layer of linear
# self-attention (no softmax) adds to every token a combination of all tokens:
#
# $$E = \begin{pmatrix} x_1 & \cdots & x_N & x_q \\ y_1 & \cdots & y_N & 0 \end{pmatrix}, \qquad
#   f(E) = E + W^{PV} E\,\frac{E^\top W^{KQ} E}{N} .$$
#
# $W^{KQ}$, the product of key and query matrices, decides which tokens attend to which; $W^{PV}$, the product of
# projection and value matrices, decides what is written. Both are $(d+1)\times(d+1)$ and free. The prediction
# $\hat y$ is what the layer writes in place of the zero, the bottom right entry of $f(E)$, and the loss is
# $\frac12\,\mathbb E(\hat y - w^\top x_q)^2$.
#
# The layer is cubic in its input and the prediction is a product of the two matrices, so the loss is a polynomial
# of fourth degree in the weights, with a saddle at the origin.
#
# ## The theorem
#
# Start small, and from the right shape: for some matrix $\Theta$ with $\lVert\Theta\Theta^\top\rVert_F = 1$ and a
# small scale $\sigma$,
#
# $$W^{PV}(0) = \sigma\begin{pmatrix} 0 & 0 \\ 0 & 1\end{pmatrix}, \qquad
#   W^{KQ}(0) = \sigma\begin{pmatrix} \Theta\Theta^\top & 0 \\ 0 & 0\end{pmatrix} .$$
#
# The flow keeps these zeros. What moves is the corner of $W^{PV}$, call it $u$, and the block of $W^{KQ}$, call it
# $U$. With $S = \frac1N\sum_j x_jx_j^\top$ the prediction is then
#
# $$\hat y = w^\top S\,A\,x_q, \qquad A = uU :$$
#
# the weights $Sw = \frac1N\sum_j y_jx_j$ of one gradient step from zero, multiplied by a **preconditioner** $A$.
# Averaging over prompts needs the second moment of $S$, and for Gaussian inputs that is
#
# $$\mathbb E\,S^2 = \Gamma\Lambda, \qquad \Gamma = \Bigl(1 + \frac1N\Bigr)\Lambda + \frac{\operatorname{tr}\Lambda}{N}\,I ,$$
#
# the covariance, inflated a little because $N$ examples show it only roughly. The risk is a quadratic function of
# $A$,
#
# $$R = \operatorname{tr}\Lambda - 2\operatorname{tr}(\Lambda A\Lambda) + \operatorname{tr}(\Gamma\Lambda A\Lambda A^\top),$$
#
# least at $A = \Gamma^{-1}$. It is convex in $A$ but not in $(u, U)$, and here is the theorem's work: with
# $\sigma^2\sqrt d\,\lVert\Gamma\rVert < 2$ the flow cannot get caught at the origin, and a Polyak-Łojasiewicz
# inequality carries it to the minimum. Which of the many factorisations $uU = \Gamma^{-1}$ it reaches is fixed by a
# conserved quantity, $u^2 - \lVert U\rVert_F^2$, zero at the start and so at the end (Theorem 4.1):
#
# $$W^{PV}_* = \bigl[\operatorname{tr}\Gamma^{-2}\bigr]^{1/4}\begin{pmatrix} 0 & 0 \\ 0 & 1\end{pmatrix}, \qquad
#   W^{KQ}_* = \bigl[\operatorname{tr}\Gamma^{-2}\bigr]^{-1/4}\begin{pmatrix} \Gamma^{-1} & 0 \\ 0 & 0\end{pmatrix} .$$

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
variances = [1.0, 0.5, 0.25]  # diagonal of Lambda; distinct, so that A has a shape
train_length = 10  # N of the layers whose limit and risk are tested
long_length = 40  # N of the layers that meet shifted prompts
random_length = 200  # N of the layers that are trained over random covariances
inits = 4  # random starts, all trained on the same prompts
scale = 0.1  # sigma, size of the start
steps = 1500  # gradient steps
batch = 2048  # fresh prompts in each of them
learning_rate = 0.05  # step size: constant for a third of the steps, then linearly to zero
random_rate = 0.02  # the same for random covariances, whose gradients are heavy-tailed
test_prompts = 100000  # fresh prompts behind every measured risk

# %%
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.networks.attention_flow import (
    flow_limit,
    flow_start,
    inflated_covariance,
    preconditioned_risk,
)
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.tasks.condensed_prompts import condensed_prompts
from reprise.tasks.linear_regression import gradient_descent, gram, tokens
from reprise.training.loop import fit

use_style()
paper = open_paper("trained-linear-transformers", globals())

# %% [markdown]
# ## Prompts of any length at the same cost
#
# The layer sees a prompt through $\frac1N EE^\top$ alone, that is through $S$, $w$ and $x_q$. For Gaussian inputs
# $NS$ is a Wishart matrix, and its triangular factor can be drawn entry by entry {cite:p}`bartlett1933theory`: the
# squares of the diagonal are $\chi^2$ variables, everything below it is normal. The factor's $d$ columns are the
# inputs of a prompt of $d$ examples with exactly the statistics of $N$ of them. `condensed_prompts` draws such
# prompts, so that training on 200 examples costs what training on 10 does, and the numbers on this page rest on
# millions of prompts.
#
# `predict` is the layer of the theorem, with all entries of both matrices free. The one entry of $f(E)$ that is
# read depends on the last row $v$ of $W^{PV}$ only: with $e_q = (x_q, 0)$ and $G = \frac1N EE^\top$ it is
#
# $$\hat y = v^\top G\,W^{KQ} e_q = \sum_{k,l,m} v_k W^{KQ}_{lm}\;G_{kl}\,(e_q)_m ,$$
#
# linear in the products $v_kW^{KQ}_{lm}$, whose coefficients are cubic in the prompt and the same for all layers.
# (The query is a column of $E$ like the others and so has a term in $G$. Once the zeros of the theorem are in place
# it adds nothing.)


# %%
def predict(layer, prompts, length):
    """Prediction of one layer for each prompt; `layer` holds W^PV (output) and W^KQ (score)."""
    query = tokens(prompts)[1]
    statistic = gram(prompts) + query[:, :, None] * query[:, None, :] / length
    cubic = statistic[..., None] * query[:, None, None, :]
    products = layer.output[0, -1, :, None, None] * layer.score[0]
    return cubic.reshape(len(query), -1) @ products.ravel()


def schedule(rate):
    third = steps // 3
    return optax.linear_schedule(rate, 0.0, steps - third, transition_begin=third)


every = max(steps // 50, 1)  # steps between two snapshots


@jax.jit
def train(thetas, prompts, length, rate):
    """Snapshots of layers [inits, snapshots, ...] trained on one stream of prompts [steps, batch, ...]."""

    def loss(layer, _, prompts):
        return 0.5 * jnp.mean((predict(layer, prompts, length) - prompts.target) ** 2)

    def run(theta):
        optimizer, start = optax.sgd(schedule(rate)), flow_start(theta, scale)
        watch = {"watch": lambda layer: layer, "watch_every": every}
        return fit(loss, start, optimizer, jax.random.key(0), steps, inputs=prompts, **watch)[1]

    return jax.vmap(run)(thetas)["watch"]


@jax.jit
def descend(thetas, covariance, length, rate):
    """The same without noise: gradient descent on the expected loss, from the same starts."""

    def loss(layer, _):
        return 0.5 * preconditioned_risk(preconditioner(layer), covariance, length)

    def run(theta):
        optimizer, start = optax.sgd(schedule(rate)), flow_start(theta, scale)
        watch = {"watch": lambda layer: layer, "watch_every": every}
        return fit(loss, start, optimizer, jax.random.key(0), steps, **watch)[1]

    return jax.vmap(run)(thetas)["watch"]


def preconditioner(layer):
    """A = uU."""
    return layer.output[..., 0, -1:, -1:] * layer.score[..., 0, :-1, :-1]


def generator(*stream):
    return np.random.default_rng([seed, *stream])


def stream(number, length, variances):
    """Fresh prompts for every step of a training."""
    flat = condensed_prompts(generator(number), variances, length, steps * batch)
    return jax.tree.map(lambda leaf: leaf.reshape(steps, batch, *leaf.shape[1:]), flat)


def exponential_stream(number, length):
    """The same, with independent exponential variances in every prompt."""
    return stream(number, length, generator(number, 1).exponential(size=(steps * batch, dim)))


dim = len(variances)
covariance = np.diag(variances).astype(np.float32)
thetas = generator(0).normal(size=(inits, dim, dim)).astype(np.float32)

drawing = ThreadPoolExecutor(1)  # draws prompts while this thread compiles and trains
streams = [
    drawing.submit(stream, 1, train_length, variances),
    drawing.submit(stream, 2, long_length, variances),
    drawing.submit(exponential_stream, 6, random_length),
]
shapes = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct((steps, batch, *leaf.shape[1:]), jnp.float32),
    condensed_prompts(generator(0), variances, train_length, 1),
)
train_compiled = train.lower(thetas, shapes, 1.0, 1.0).compile()


def trained_on(prompts, length, rate):
    """Snapshots of layers trained on a stream, as NumPy arrays."""
    return jax.tree.map(
        np.asarray, train_compiled(thetas, prompts.result(), float(length), rate)
    )


noiseless = jax.tree.map(
    np.asarray, descend(thetas, covariance, float(train_length), learning_rate)
)
short = trained_on(streams[0], train_length, learning_rate)
long = trained_on(streams[1], long_length, learning_rate)
last = lambda snapshots: jax.tree.map(lambda leaf: leaf[:, -1], snapshots)

# %% [markdown]
# ## Does training end where the theorem says?
#
# Four random $\Theta$, prompts of length $N = 10$. The distance is that of both weight matrices together from
# $(W^{PV}_*, W^{KQ}_*)$, relative to the size of these; time is flow time, the sum of the step sizes so far.


# %%
def stacked(layer):
    return np.concatenate([np.asarray(layer.output), np.asarray(layer.score)], axis=-3)


def distance(layers, limit):
    """Relative Frobenius distance of both matrices from a limit."""
    size = lambda x: np.sqrt(np.sum(np.square(x), axis=(-3, -2, -1)))
    return size(stacked(layers) - stacked(limit)) / size(stacked(limit))


limit = jax.tree.map(np.asarray, jax.jit(flow_limit)(covariance, float(train_length)))
over_time = distance(short, limit)
rates = learning_rate * np.minimum(1, (steps - np.arange(steps)) / (steps - steps // 3))
time = np.append(0, np.cumsum(rates))[np.append(np.arange(0, steps, every), steps)]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the distance of four trained layers from the closed form falls from one to about a hundredth, along the curve of noise-free descent. Right: the three diagonal entries of the preconditioner rise one after another to the inverse entries of Gamma."}}
coordinate_colors = [PALETTE[name] for name in ("blue", "orange", "green")]
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.5))
for i in range(inits):
    axes[0].plot(
        time,
        over_time[i],
        color=PALETTE["blue"],
        lw=1.3,
        label="trained layers" if i == 0 else None,
    )
    axes[0].plot(
        time,
        distance(noiseless, limit)[i],
        "--",
        color=THEORY,
        lw=1,
        label="without noise" if i == 0 else None,
    )
axes[0].set(
    xlabel="flow time", ylabel="relative distance to $(W^{PV}_*, W^{KQ}_*)$", yscale="log",
    ylim=(3e-3, 1.5),
)  # fmt: skip
axes[0].legend(loc="lower left")
learned, target = preconditioner(short), np.asarray(preconditioner(limit))
for k, color in enumerate(coordinate_colors[:dim]):
    for i in range(inits):
        label = rf"$\lambda = {variances[k]:g}$" if i == 0 else None
        axes[1].plot(time, learned[i, :, k, k], color=color, lw=1.3, label=label)
    axes[1].axhline(target[k, k], color=THEORY, ls="--", lw=1, zorder=1)
axes[1].set(xlabel="flow time", ylabel=r"diagonal of the preconditioner $A$", ylim=(0, None))
axes[1].legend(loc="lower right", title="variance of the input")
plt.show()

# %% [markdown]
# Left: the layers follow noise-free gradient descent on the expected loss (dashed) from the same starts, and the
# noise of the mini-batches that is left dies down with the step size. Right: what is learned when. Growth is
# multiplicative near the origin, so for a moment nothing seems to happen; then the directions of large variance are
# learned first, because their gradients carry $\lambda^2$, and the direction of the smallest variance, which needs
# the largest factor, comes last. Dashed are the entries of $\Gamma^{-1}$: about $1/\lambda$, but less, and most so
# for the smallest $\lambda$. With ten examples a direction of small variance is not resolved well enough to be
# divided by all of it.
#
# Two fine points of the theorem can be read off the end points: the zeros and the balance.

# %%
trained = last(short)
errors = distance(trained, limit)
corner, block = trained.output[:, 0, -1, -1], trained.score[:, 0, :-1, :-1]
outside = np.sqrt(
    np.sum(stacked(trained) ** 2, axis=(1, 2, 3)) - corner**2 - np.sum(block**2, axis=(1, 2))
)
whole = np.linalg.norm(stacked(limit))
print(
    f"norm of the entries that should be zero: {np.max(outside) / whole:.1e} of all (largest)"
)
print(
    "balance u^2 / ||U||^2:",
    np.array2string(corner**2 / np.sum(block**2, axis=(1, 2)), precision=3),
)
paper.report("gradient-flow-limit", np.median(errors), samples=errors)

# %% [markdown]
# Neither is exact here, because both hold for the flow of the *expected* loss. Mini-batches shake the entries
# outside $u$ and $U$, and pull them back: they are small, not zero. The balance has no restoring force at all. Each
# step of finite size changes $u^2 - \lVert U\rVert_F^2$ by the square of the step size times what the squared
# gradients differ by, so it drifts, a little, and only an early decay of the step size stops it.
#
# ## The risk at other prompt lengths
#
# The layer that was trained on prompts of length $N$ has $A = \Gamma_N^{-1}$ in its weights whatever the prompt
# that it meets; only the average over examples adapts, to $\frac1M\sum_{j\le M}$. Its risk on prompts of length $M$
# follows from the quadratic form above, with $\Gamma_M$ for the prompt and $\Gamma_N^{-1}$ for the layer:
#
# $$\begin{aligned}
#   R(N, M) = \operatorname{tr}\Lambda &- 2\operatorname{tr}\bigl(\Lambda^2\Gamma_N^{-1}\bigr) \\
#   &+ \operatorname{tr}\Bigl(\Lambda\,\Gamma_N^{-2}\bigl[\tfrac{M+1}{M}\Lambda^2 +
#     \tfrac{\operatorname{tr}\Lambda}{M}\Lambda\bigr]\Bigr) .
#   \end{aligned}$$
#
# For long prompts the bracket becomes $\Lambda^2$, and what remains is a floor,
# $\operatorname{tr}[\Lambda(I - \Gamma_N^{-1}\Lambda)^2]$. It is there because $\Gamma_N^{-1}$ was trimmed for
# prompts of length $N$, and it falls with *training* length only, like $1/N^2$. The prompt's own contribution falls
# like $1/M$.

# %%
test_lengths = [5, 10, 40, 160]
shifted_length = 400  # of the prompts with shifted covariates
lengths = [*test_lengths, train_length, long_length, shifted_length]
grid = np.unique(np.r_[np.geomspace(5, 2000, 40), lengths]).astype(np.float32)


@jax.jit
def predictions(layers, prompts, length):
    """Predictions of layers [layers, prompts], and of one plain gradient step of size 1 [prompts]."""
    plain = gradient_descent(prompts, jnp.ones(1))
    return jax.vmap(predict, (0, None, None))(layers, prompts, length), plain


@jax.jit
def risk_table(preconditioners, covariances, lengths):
    """Closed-form risk of every preconditioner under every covariance at every length."""
    over_lengths = jax.vmap(preconditioned_risk, (None, None, 0))
    over_covariances = jax.vmap(over_lengths, (None, 0, None))
    return jax.vmap(over_covariances, (0, None, None))(preconditioners, covariances, lengths)


def test(layers, number, variances, length, **changes):
    """Predictions for fresh prompts and for one plain step, and the targets."""
    prompts = condensed_prompts(
        generator(3, number), variances, length, test_prompts, **changes
    )
    ours, plain = predictions(layers, prompts, float(length))
    return np.asarray(ours), np.asarray(plain), prompts


def risk(predicted, targets):
    return np.mean(np.square(predicted - targets), axis=-1)


both = jax.tree.map(lambda a, b: np.concatenate([a, b]), last(short), last(long))
measured = []
for number, length in enumerate(test_lengths):
    ours, _, prompts = test(both, number, variances, length)
    measured.append(risk(ours, prompts.target))
measured = np.stack(measured, 1).reshape(2, inits, -1)  # [N, inits, M]
gammas = np.asarray(jax.jit(jax.vmap(inflated_covariance, (None, 0)))(covariance, grid))
inverses = np.linalg.inv(gammas)
scales = np.append(np.linspace(0.1, 2.6, 100), 1.0)[::-1].astype(np.float32)  # the first is 1
table = np.asarray(risk_table(inverses, scales[:, None, None] * covariance, grid))
theory = table[:, 0]  # [N, M], both in order of the grid
place = lambda length: np.searchsorted(grid, length)
row = lambda length: theory[place(length)]
at_test = place(test_lengths)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Risk against the length of the test prompt, log-log. The layers trained on 10 and on 40 examples follow their closed forms, falling at first and then levelling out at floors; each touches the envelope of layers trained at the test length where the two lengths agree."}}
fig, ax = plt.subplots(figsize=(7.2, 3.8))
length_colors = [(train_length, PALETTE["blue"]), (long_length, PALETTE["orange"])]
for (length, color), dots in zip(length_colors, measured, strict=True):
    ax.plot(grid, row(length), color=color, label=f"$R(N, M)$, $N = {length}$")
    ax.plot(
        test_lengths, dots.T, "o", color=color, ms=6, mec="white", mew=0.8, zorder=3,
        label=[f"trained layers, $N = {length}$", *[None] * (inits - 1)],
    )  # fmt: skip
ax.plot(
    grid,
    np.diagonal(theory),
    color=THEORY,
    ls="--",
    lw=1.2,
    label="$R(M, M)$: trained at this length",
)
ax.axhline(np.trace(covariance), color=PALETTE["grey"], ls=":", label="predicting 0")
ax.set(
    xlabel="length $M$ of the test prompt (examples)",
    ylabel=r"risk, $\mathbb{E}\,(\hat y - w^\top x_q)^2$",
    xscale="log",
    yscale="log",
)
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# Lines are the formula, dots are trained layers on fresh prompts. A layer trained at $N = 10$ improves with more
# examples up to a hundred or so and then stops; the one trained at $N = 40$ goes on and on, to a floor that is many
# times lower. At short prompts the order is reversed, a little: there the trimming that makes the floor is worth
# having. Each curve touches the dashed envelope where the test prompt is as long as the training prompts were.
#
# A sober comparison: there is no noise in these labels, so least squares is *exact* from $M = d$ examples on. One
# step of gradient descent, even with the best preconditioner, falls short of that at any length. The paper's
# statement is about long prompts: training on long ones, the layer's risk goes to that of the best linear
# predictor.

# %%
deviations = np.max(np.abs(measured[0] / row(train_length)[at_test] - 1), axis=1)
for length, dots, value in zip(
    test_lengths, measured[0].T, row(train_length)[at_test], strict=True
):
    print(f"M = {length:4}: risk {np.median(dots):.4f} (median layer), formula {value:.4f}")
floor = row(train_length)[-1] / row(long_length)[-1]
print(
    f"at M = {grid[-1]:.0f} the layer trained on {train_length} has {floor:.0f} times the risk of the other"
)
paper.report("risk-formula", np.max(deviations), samples=deviations)

# %% [markdown]
# The reported number is the worst of all trained layers and all test lengths.
#
# ## Which shifts are harmless?
#
# Now the prompt comes from another distribution than in training. We take the layers trained at $N = 40$ and look
# at four cases; in each, the layer's risk is given relative to the variance of the targets, so that 1 is as good as
# predicting zero.
#
# - **Task shift.** $w$ uniform on a sphere of radius 3. The prediction is linear in $w$, and so is the target: all
#   errors scale with $w$, and nothing else about its distribution matters but $\mathbb E\,ww^\top$.
# - **Query shift.** $x_q \sim N(0, 4\Lambda)$. Both are linear in $x_q$, too. (The query must be independent of the
#   examples. One that is chosen orthogonal to all of them asks for what the prompt does not contain.)
# - **Covariate shift.** All inputs from $N(0, c\Lambda)$. The examples enter through $S$, which is now about
#   $c\Lambda$, and the preconditioner is still about $\Lambda^{-1}$: predictions come out $c$ times too large.
#
# To see that the first two leave the layer's *skill* intact, and not just its risk, we compare with a one-step
# learner without a preconditioner, $A = cI$, whose $c$ is tuned on the very prompts it is tested on. It suffers
# from no shift at all; if $\Gamma^{-1}$ were only right for the training distribution, its advantage would shrink.

# %%
shift = 2.0  # c
directions = generator(4).normal(size=(test_prompts, dim)).astype(np.float32)
sphere = 3 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
four_fold = 4 * np.array(variances)
shifts = {
    "in distribution": test(last(long), 10, variances, long_length),
    "task shift": test(last(long), 11, variances, long_length, weights=sphere),
    "query shift": test(last(long), 12, variances, long_length, query_variances=four_fold),
    "covariate shift": test(last(long), 13, shift * np.array(variances), shifted_length),
}
normalised, against_plain = {}, {}
print("                    risk / target variance    over tuned isotropic step")
for name, (ours, plain, prompts) in shifts.items():
    targets = prompts.target
    tuned = plain * (plain @ targets) / (plain @ plain)
    normalised[name] = risk(ours, targets) / np.mean(targets**2)
    against_plain[name] = risk(ours, targets) / risk(tuned, targets)
    print(
        f"{name:18} {np.median(normalised[name]):19.3f} {np.median(against_plain[name]):26.2f}"
    )

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four scatter plots of predictions against targets. In distribution, under task shift and under query shift the points lie around the diagonal; under covariate shift they lie around a line of about twice its slope."}}
fig, axes = plt.subplots(1, 4, figsize=(7.8, 2.6))
shown = slice(0, 1500)
for ax, (name, (ours, _, prompts)) in zip(axes, shifts.items(), strict=True):
    targets = prompts.target
    reach = np.quantile(np.abs(targets), 0.995)
    color = PALETTE["red" if name == "covariate shift" else "blue"]
    ax.plot(
        targets[shown],
        ours[0, shown],
        ".",
        ms=3,
        alpha=0.5,
        color=color,
        mec="none",
        rasterized=True,
    )
    ax.plot([-reach, reach], [-reach, reach], color=THEORY, lw=1.2)
    ax.set(xlim=(-reach, reach), ylim=(-2.2 * reach, 2.2 * reach), title=name, xlabel="target")
    tick = 10 ** np.floor(np.log10(reach)) * (5 if reach > 6 else 4 if reach > 4 else 2)
    ax.set(xticks=[-tick, 0, tick], yticks=[-2 * tick, 0, 2 * tick])
axes[0].set_ylabel("prediction")
plt.show()

# %% [markdown]
# Each panel spans its own targets, and the line is prediction = target. Task and query shift stretch the axes and
# change nothing else. Under covariate shift, with prompts ten times as long, the points are as tight around *their*
# line as one could wish, and the line is wrong: about twice too steep. More examples make the wrong answer more
# certain.
#
# The first of two claims: the worse of task and query shift, and of all layers, in units of the tuned isotropic
# step. It counts as infinite if the risk relative to the targets has grown by more than a fifth.

# %%
tolerated = ("task shift", "query shift")
growth = max(np.max(normalised[name] / normalised["in distribution"]) for name in tolerated)
lead = np.max([against_plain[name] for name in tolerated], axis=0)
print(f"largest growth of the normalised risk under task or query shift: {growth:.3f}")
paper.report(
    "task-and-query-shift-tolerated", np.max(lead) if growth <= 1.2 else np.inf, samples=lead
)

# %% [markdown]
# The second: the slope of predictions on targets at $c = 2$. From
# $\mathbb E\,\hat y\,w^\top x_q = \operatorname{tr}(c\Lambda A\,c\Lambda)$ and
# $\mathbb E(w^\top x_q)^2 = c\operatorname{tr}\Lambda$ it should be
# $c\operatorname{tr}(\Lambda^2\Gamma^{-1})/\operatorname{tr}\Lambda$, which is $c$ up to the trimming of
# $\Gamma^{-1}$.

# %%
ours, _, prompts = shifts["covariate shift"]
targets = prompts.target
slopes = ours @ targets / (targets @ targets)
inverse = inverses[place(long_length)]
predicted_slope = shift * np.trace(covariance @ covariance @ inverse) / np.trace(covariance)
print(f"slope {np.median(slopes):.3f}, theory {predicted_slope:.3f}")
paper.report(
    "covariate-shift-breaks",
    np.median(slopes) / predicted_slope,
    samples=slopes / predicted_slope,
)

# %% [markdown]
# How does it look over a range of $c$?

# %%
curves = table[place(long_length)][:, place([long_length, shifted_length])].T
curves = (curves / (scales * np.trace(covariance)))[:, 1:]
dots_at = [0.25, 0.5, 1.0, 1.5, 2.0, 2.5]
dots = []
for number, c in enumerate(dots_at):
    ours, _, prompts = test(last(long), 20 + number, c * np.array(variances), shifted_length)
    dots.append(risk(ours, prompts.target) / np.mean(prompts.target**2))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative risk against the scale c of the inputs' covariance: parabolas with their minimum near one that reach the level of predicting zero at two or a little above; trained layers lie on theirs."}}
fig, ax = plt.subplots()
ax.plot(scales[1:], curves[0], color=PALETTE["orange"], label=f"formula, $M = {long_length}$")
ax.plot(scales[1:], curves[1], color=PALETTE["red"], label=f"formula, $M = {shifted_length}$")
ax.plot(
    dots_at, dots, "o", color=PALETTE["red"], ms=6, mec="white", mew=0.8,
    label=[f"trained layers, $M = {shifted_length}$", *[None] * (inits - 1)],
)  # fmt: skip
ax.plot(
    scales[1:],
    (1 - scales[1:]) ** 2,
    color=THEORY,
    ls="--",
    lw=1.2,
    label="$(1 - c)^2$: $N, M \\to\\infty$",
)
ax.axhline(1, color=PALETTE["grey"], ls=":", label="predicting 0")
ax.set(
    xlabel="scale $c$ of the inputs' covariance at test",
    ylabel="risk / variance of the targets",
    ylim=(0, 2.8),
)
ax.legend(loc="upper center")
plt.show()

# %% [markdown]
# The dashed parabola is what happens when everything is long: $\hat y = c\,w^\top x_q$, an error of $(1-c)^2$ of
# the signal, and at $c = 2$ no skill left. The trained layers have a parabola of their own, moved to the right
# because $\Gamma^{-1}$ is trimmed: a little more covariance than expected makes up for the trimming, a lot of it
# does the harm. With short test prompts the same curve lies on top of the prompt's own noise. A learner that
# *estimated* the covariance from the prompt, as least squares does, would not notice $c$ at all.
#
# ## Does it help to train on many covariances?
#
# The obvious remedy is to let the covariance vary in training: every prompt has its own $\Lambda_\tau$, here
# diagonal with independent entries from the exponential distribution with mean 1. The layer still has one $A$ for
# all of them. By symmetry it is a multiple of the identity, $A = aI$, and for long prompts the risk for each
# coordinate is $\mathbb E\,\lambda(1 - a\lambda)^2$, least at
#
# $$a = \frac{\mathbb E\lambda^2}{\mathbb E\lambda^3} = \frac{2}{6} = \frac13, \qquad
#   \text{with risk}\quad \mathbb E\lambda - \frac{(\mathbb E\lambda^2)^2}{\mathbb E\lambda^3} = 1 - \frac46 = \frac13 .$$
#
# No number of examples removes it, in training or in the prompt. For prompts of finite length (Theorem 4.5, with
# $\Gamma_\tau$ built from $\Lambda_\tau$)
# $A = \bigl(\mathbb E\,\Gamma_\tau\Lambda_\tau^2\bigr)^{-1}\mathbb E\Lambda_\tau^2$, so that
# $a = 2/\bigl(6 + \tfrac{1}{N}[6 + 6 + 2(d-1)]\bigr)$, which we use for the line below.

# %%
random = last(trained_on(streams[2], random_length, random_rate))
drawing.shutdown()
fresh = generator(7).exponential(size=(test_prompts, dim))
known = generator(8).normal(size=(test_prompts, dim)).astype(np.float32)
random_lengths = [5, 20, 100, 2000]
random_risks = []
for number, length in enumerate(random_lengths):
    ours, _, prompts = test(random, 30 + number, fresh, length, weights=known)
    random_risks.append(risk(ours, prompts.target) / dim)
queries = prompts.query  # those of the longest
random_risks = np.stack(random_risks, 1)
optimal = 2 / (6 + (12 + 2 * (dim - 1)) / random_length)
in_theory = 1 - 4 * optimal + optimal**2 * (6 + (12 + 2 * (dim - 1)) / grid)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the risk per coordinate of layers trained over random covariances levels out at one third while that of a layer trained on one covariance keeps falling. Right: the share of a weight that the layer recovers grows linearly with the input's variance instead of being one."}}
fig, axes = plt.subplots(1, 2, figsize=(7.8, 3.5))
axes[0].plot(grid, in_theory, color=PALETTE["purple"], label="random covariances")
axes[0].plot(
    random_lengths, random_risks.T, "o", color=PALETTE["purple"], ms=6, mec="white", mew=0.8
)
axes[0].plot(
    grid,
    row(long_length) / np.trace(covariance),
    color=PALETTE["orange"],
    label=r"one known $\Lambda$",
)
axes[0].axhline(1 / 3, color=THEORY, ls="--", lw=1.2, label="floor, 1/3")
axes[0].set(
    xlabel="length $M$ of the test prompt", ylabel="risk / variance of the targets",
    xscale="log", ylim=(0, 1.1),
)  # fmt: skip
axes[0].legend(loc="center right", bbox_to_anchor=(1, 0.72))
bins = np.append(np.arange(0, 4, 0.5), 8)
inside = np.digitize(fresh[:, 0], bins) - 1
signal = queries[:, 0] * known[:, 0]
typical = int(np.argsort(random_risks[:, -1])[(inits - 1) // 2])
centres, share = [], []
for b in range(len(bins) - 1):
    chosen = inside == b
    power = signal[chosen] @ signal[chosen]
    centres.append(signal[chosen] ** 2 @ fresh[chosen, 0] / power)
    share.append(ours[typical, chosen] @ signal[chosen] / power)
fine = np.linspace(0, 5, 50)
density = axes[1].twinx()
density.fill_between(fine, np.exp(-fine), color=PALETTE["grey"], alpha=0.25, lw=0)
density.set(ylim=(0, 2.5), yticks=[])
density.spines["right"].set_visible(False)
axes[1].set_zorder(1)
axes[1].patch.set_visible(False)
axes[1].plot(fine, fine / 3, color=THEORY, label=r"$\lambda / 3$")
axes[1].plot(centres, share, "o", color=PALETTE["purple"], label="trained layer")
axes[1].axhline(1, color=THEORY, ls=":", lw=1.2, label="all of it")
axes[1].set(
    xlabel=r"variance $\lambda$ of an input",
    ylabel="share of its weight recovered",
    ylim=(0, 1.8),
)
axes[1].legend(loc="upper left")
plt.show()

# %% [markdown]
# Left: the layer trained over random covariances (dots, on the curve for finite $N$ and $M$) settles at a third of
# the signal, where one that knows its covariance goes on improving. Right: how it fails. It gives back the share
# $\lambda/3$ of a weight whose input has variance $\lambda$, too little for most inputs (grey: how common they
# are), too much for the rare large ones. To do better a layer would have to divide by a variance that it finds in
# the prompt, and one layer of linear attention cannot divide by anything that is not in its weights. Deeper stacks
# can, by iterating ({doc}`in-context-higher-order`).

# %%
final = random_risks[:, -1]
print(
    f"a = {np.median(np.diagonal(preconditioner(random), axis1=1, axis2=2)):.4f}, theory {optimal:.4f}"
)
paper.report("random-covariance-floor", np.median(final), samples=final)

# %% [markdown]
# ## What differs from the paper
#
# - **Gradient flow is stochastic gradient descent** on fresh mini-batches with a small, decaying step. The theorem
#   is about the expected loss; how far the difference goes is in the first figure.
# - **Size.** Three inputs, so that $\Gamma$ can be seen entry by entry. Theorems hold for any $d$; the `gpu`
#   profile has more inputs, more examples and longer training. $\Lambda$ is diagonal, which is no restriction: a
#   rotation of the inputs is a rotation of $U$.
# - **Labels have no noise**, as in the paper's training; its Theorem 4.2 on the risk of a fixed layer also covers
#   test prompts whose labels are not linear in the inputs at all, which is not tested here.
# - **Large nonlinear transformers.** The paper's last experiment trains GPT-2-style transformers with softmax
#   attention over random covariances and finds them more robust. Nothing on this page speaks about those.
#
# That preconditioned gradient descent is optimal for one linear layer was found at the same time, from the
# landscape rather than the dynamics, by {cite:t}`ahn2023transformers` and {cite:t}`mahankali2024one`, the latter
# performed in {doc}`optimal-one-step-in-context`. Later work has followed the dynamics themselves, with separate
# keys and queries, where learning goes from saddle to saddle {cite:p}`zhang2025training`.
#
# ## Things to try
#
# - `reprise run trained-linear-transformers -p learning_rate 0.2`: larger steps keep the risk where it was and lose
#   the limit. The balance between $u$ and $U$ drifts several times as far, so the weights end at another
#   factorisation of the same preconditioner: the claim about the limit fails, the other four hold.
# - `reprise run trained-linear-transformers -p variances [1.0,1.0,1.0]`: without a shape in $\Lambda$ the best
#   preconditioner is a multiple of the identity, and the lead over the isotropic step vanishes, as it should: that
#   claim fails. (So does the limit: three directions of large variance make noisier gradients, and the balance
#   drifts.)
# - `reprise sweep trained-linear-transformers -p scale=0.003,0.01,0.03,0.1`: a start nearer to the saddle. The
#   plateau at the beginning of the first figure gets longer, though only with the logarithm of the scale, and at
#   0.01 all claims still hold.
# - `reprise sweep trained-linear-transformers -p train_length=5,10,20,80`: the floor falls, and the entries of $A$
#   approach $1/\lambda$.
# - In the notebook: replace `thetas` by starts on the wrong side of zero: negate the block that `flow_start`
#   returns. The balance $u^2 = \lVert U\rVert_F^2$ keeps $u$ from crossing zero, so it is $U$ that has to turn
#   round, close by the saddle.

# %%
paper.verdicts()
