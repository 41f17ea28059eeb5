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
# # What learning algorithm is in-context learning? Investigations with linear models
#
# A transformer that is shown a few pairs $(x, y)$ in its prompt and then a new $x$ will often give the right $y$,
# with no change to its weights {cite:p}`brown2020language,garg2022what`. Somewhere between the first layer and the
# last it has fitted a model to the pairs. Fitting models is an old trade, with well-known tools: least squares, ridge
# regression, gradient descent, nearest neighbours. Which of them is in there?
#
# {cite:t}`akyurek2023what` take the question literally, and take it apart into two that have answers:
#
# 1. **What could a transformer compute?** They write programs, in an instruction set so small that a transformer
#    layer can execute any one instruction, for a step of gradient descent and for exact ridge regression.
# 2. **What does a trained transformer compute?** They train one on linear regression and compare its predictions,
#    prompt by prompt, with those of every textbook algorithm. The winner depends on the noise in the labels and on
#    the depth of the network, in a way that says something: a deep enough network behaves like the predictor that
#    Bayes' rule prescribes.
#
# Other pages of this book study *one* layer of *linear* attention, which can do a single gradient step and no more
# ({doc}`in-context-gradient-descent`, {doc}`optimal-one-step-in-context`, {doc}`trained-linear-transformers`). Here
# are the full transformer, softmax, layer norm and MLP included, and a question that those pages could not ask: will
# it do better than a gradient step, and how much better? The second figure below holds the answer: of all the
# algorithms' curves, the transformer's own distance is smallest to one that needs to know how noisy the labels are.
#
# ## The task
#
# A task is a weight vector $w\sim N(0, \tau^2 I_d)$, and its examples are
#
# $$x_i \sim N(0, I_d),\qquad y_i = w^\top x_i + \epsilon_i,\qquad \epsilon_i\sim N(0,\sigma^2).$$
#
# We set $\tau = 1$ throughout. Having seen $n$ examples, the network predicts $y_{n+1}$ from $x_{n+1}$; one sequence
# of pairs asks it for all $n = 0, 1, 2, \dots$ at once, because attention is causal.
#
# With Gaussian weights and Gaussian noise the best possible predictor is known. The posterior of $w$ given the
# examples (rows of $X$, labels $y$) is Gaussian, and its mean is **ridge regression**
#
# $$\hat w_\lambda = (X^\top X + \lambda I)^{-1}X^\top y \qquad\text{with}\qquad \lambda^* = \frac{\sigma^2}{\tau^2}. $$
#
# No predictor has a smaller expected squared error than $\hat w_{\lambda^*}^\top x_{n+1}$. Without noise it is least
# squares, and for $n < d$ the least-squares solution of smallest norm.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
dim = 2  # d, inputs of the linear function
pairs = 8  # examples before the last query
noise_variance = 0.25  # sigma^2 of the main experiments (the weights have variance 1)
other_variances = [0.1, 1.0]  # further noise levels, a transformer each
width = 32  # of the residual stream
heads = 4  # of attention
depths = [1, 2]  # blocks of the compared networks; the last depth meets all noise levels
batch = 64  # sequences in a training step, all fresh
steps = 1000  # Adam steps
learning_rate = 0.02  # Adam's rate after warm-up, before its cosine decay
test_prompts = 3840  # sequences behind every distance and risk, a multiple of 320

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.special import ndtr

from reprise.claims import open_paper
from reprise.networks.functional import initialise
from reprise.networks.token_programs import load, ridge_round, run
from reprise.networks.transformer import Transformer
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.fits import loglog_slope
from reprise.tasks.linear_regression import (
    LinearTasks,
    gradient_descent,
    implied_weights,
    nearest_neighbours,
    online_descent,
    prefixes,
    ridge_path,
    sequence_tokens,
)
from reprise.training.loop import fit

use_style()
paper = open_paper("in-context-learning-algorithm", globals())

# %% [markdown]
# Training takes most of this page's run time, so it starts now, on other threads, while the construction is being
# examined. What is trained, and how, is explained where the results are used.


# %%
def transformer(depth):
    """The network as a function of its parameters and tokens, and its initial parameters."""
    sizes = {"depth": depth, "heads": heads, "hidden": 2 * width, "length": pairs + 1}
    sizes["unroll"] = depth <= 2  # two blocks run faster written out than in a loop
    make = lambda rngs: Transformer(2 * dim + 2, width, 1, **sizes, rngs=rngs)
    return initialise(make, np.random.default_rng([seed, depth]))


clean = LinearTasks(dim, pairs + 1, "normal")  # every example of a sequence is once a query


def labelled(draws, noise):
    """Inputs and noisy labels of sequences; families of different noise share their draws."""
    prompts = clean.prompts(draws)
    return prompts.x, prompts.y + noise * draws.noise


def schedule(step):
    """Linear warm-up over 50 steps, cosine decay to zero."""
    decay = 0.5 * (1 + jnp.cos(jnp.pi * step / steps))
    return learning_rate * jnp.minimum(step / 50, decay)


def compiled(apply, start):
    """The compiled training of one network: (initial parameters, key, noise) to parameters and losses."""

    def train(start, key, noise):
        def loss(params, key):
            x, y = labelled(clean.draw(key, batch), noise)
            return jnp.mean((predict(apply, params, x, y) - y) ** 2)

        adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.95))
        params, history = fit(loss, start, optax.flatten(adam), key, steps)
        return params, history["loss"]

    return jax.jit(train).lower(start, key, 1.0).compile()


def predict(apply, params, x, y):
    """Predictions at all positions of sequences."""
    return apply(params, sequence_tokens(x, y))[..., 0]


# The generator "rbg" compiles several times faster than JAX's default one.
key, test_key = jax.random.split(jax.random.key(seed, impl="rbg"))
draws = jax.jit(clean.draw, static_argnums=1)(test_key, test_prompts)
at_noise = jax.jit(labelled)
tests = {  # sequences for every noise level
    variance: jax.device_get(at_noise(draws, variance**0.5))
    for variance in (noise_variance, *other_variances)
}
networks = {depth: transformer(depth) for depth in depths}
predictors = {depth: jax.jit(partial(predict, networks[depth][0])) for depth in depths}


def perform(depth, variance):
    """Parameters, training losses and predictions [n, prompts] on the test prompts of one network."""
    train = programs[depth].result()
    params, losses = jax.device_get(train(networks[depth][1], key, variance**0.5))
    return params, losses, np.asarray(predictors[depth](params, *tests[variance])).T


jobs = [(depths[-1], variance) for variance in tests]
jobs += [(depth, noise_variance) for depth in depths[:-1]]
pool = ThreadPoolExecutor(2)
programs = {depth: pool.submit(compiled, *networks[depth]) for depth in sorted(depths)[::-1]}
trainings = {job: pool.submit(perform, *job) for job in jobs}

# %% [markdown]
# ## What a transformer could compute
#
# A transformer's hidden states are a memory: one column a token, and a column's entries can be set aside for
# different purposes, like registers. Layers change the memory. The paper defines four instructions (its section 3)
# and shows for each how one layer executes it:
#
# | instruction | effect | done by |
# |---|---|---|
# | `mov` | copy a register to a later column | attention to one position |
# | `mul` | multiply two matrices that stand in registers of the same column | the GELU of the MLP |
# | `div` | divide a register by the absolute value of an entry | layer norm |
# | `aff` | $W_1 a + W_2 b + c$ for two registers $a$, $b$ | the linear maps of the MLP |
#
# Multiplication is the surprising one. The GELU is $g(t) = t\,\Phi(t)$ with $\Phi$ the normal distribution function,
# and near zero $g(t) = t/2 + t^2/\sqrt{2\pi} + O(t^4)$. So
#
# $$\sqrt{\tfrac{\pi}{2}}\,\big[g(s+t) - g(s) - g(t)\big] = s\,t + O(4),$$
#
# a product out of sums and an activation, as exact as one likes if the factors are first made small.

# %%
gelu = lambda t: t * ndtr(t)
for scale in (1.0, 0.1, 0.01):
    s, t = scale * 0.8, scale * -0.5
    product = np.sqrt(np.pi / 2) * (gelu(s + t) - gelu(s) - gelu(t))
    print(
        f"factors of size {scale:<4}: relative error of the product {product / (s * t) - 1:+.1e}"
    )

# %% [markdown]
# ### Ridge regression in eleven instructions an example
#
# A step of gradient descent on an example, $w \leftarrow w - 2\alpha\,\big(x_i(x_i^\top w - y_i) + \lambda w\big)$,
# is a few `mul`s and `aff`s (theorem 1; `descent_round` in the library). More surprising is theorem 2: the *exact*
# ridge solution, which needs the inverse of a matrix, also takes a constant number of layers per example. The trick
# is never to invert. Let $P = (\lambda I + \sum_j x_jx_j^\top)^{-1}$. A new example changes the matrix inside by a
# rank-one term, and the formula of {cite:t}`sherman1950adjustment` says what happens to its inverse:
#
# $$P \leftarrow P - \frac{P x\,x^\top P}{1 + x^\top P x},\qquad b\leftarrow b + y\,x,\qquad w = P\,b .$$
#
# One division by a *number* is all it takes. The price is memory, $d^2$ entries a column for $P$, where gradient
# descent gets by with $d$.
#
# `ridge_round` is this program. Below is its run on the second example of a prompt with $d = 2$, in the column of the
# label $y_2$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A grid of memory registers against the eleven instructions of a round: each instruction changes one register, and the last writes the weight vector."}}
small = ridge_round(2)
rng = np.random.default_rng([seed, 1])


@jax.jit
def traced(x, y, query):
    """The column of the second label: before its round, and after each instruction."""
    memory = load(small, x, y, query)
    for instruction in [*small.start, *small.round]:
        memory = instruction.apply(memory, 1)
    seen = [memory[3]]
    for instruction in small.round:
        memory = instruction.apply(memory, 3)
        seen.append(memory[3])
    return jnp.stack(seen, 1)


shown = np.array(traced(rng.normal(size=(2, 2)), rng.normal(size=2), rng.normal(size=2)))
texts = [f"{step.kind}  ${step.text}$" for step in small.round]
written = []  # which registers an instruction writes, from its text
for step in small.round:
    names = step.text.split(",\\ ") if step.kind == "mov" else [step.text.split(" = ")[0]]
    written.append([small.registers[name] for name in names])
used = np.zeros(shown.shape, bool)
used[small.registers["y"]] = True
for column, parts in enumerate(written, 1):
    for part in parts:
        used[part, column:] = True
values = np.where(used, shown, np.nan)
fig, ax = plt.subplots(figsize=(7.2, 5.4))
image = ax.imshow(values, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", alpha=0.45)
for column, parts in enumerate(written, 1):
    for part in parts:
        block = np.full(values.shape, np.nan)
        block[part, column] = values[part, column]
        ax.imshow(block, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto")
        corner = (column - 0.5, part.start - 0.5)
        ax.add_patch(
            plt.Rectangle(
                corner, 1, part.stop - part.start, fill=False, ec=THEORY, lw=1.5, zorder=3
            )
        )
for part in small.registers.values():
    ax.axhline(part.stop - 0.5, color="white", lw=3)
middles = [(part.start + part.stop - 1) / 2 for part in small.registers.values()]
ax.set_yticks(middles, [f"${name}$" for name in small.registers])
ax.set_xticks(
    range(len(texts) + 1), ["before", *texts], rotation=60, ha="right", rotation_mode="anchor"
)
ax.grid(False)
scale = plt.cm.ScalarMappable(image.norm, image.cmap)
fig.colorbar(scale, ax=ax, label="entry", shrink=0.7, extend="both")
plt.show()

# %% [markdown]
# Time runs to the right, one instruction a column of the picture; a frame marks the register that an instruction
# writes. Two `mov`s fetch the input and what earlier examples have left behind, nine instructions work inside the
# column, and the last one writes the weight vector $w$.
#
# The claim asks whether it is really ridge regression: $d = 8$, up to 16 examples, 256 tasks, in double precision,
# against a direct solve.

# %%
with jax.enable_x64(True):
    program = ridge_round(8, noise_variance)
    x, y, query = (rng.normal(size=shape) for shape in ((256, 16, 8), (256, 16), (256, 8)))
    by_program = np.asarray(jax.jit(lambda *p: run(program, load(program, *p)))(x, y, query))
errors = []
for n in range(1, 17):
    gram = np.einsum("tni,tnj->tij", x[:, :n], x[:, :n]) + noise_variance * np.eye(8)
    moment = np.einsum("tni,tn->ti", x[:, :n], y[:, :n])
    direct = np.linalg.solve(gram, moment[..., None])[..., 0]
    size = np.linalg.norm(direct, axis=1)
    errors.append(np.max(np.linalg.norm(by_program[n - 1] - direct, axis=1) / size))
print(f"{len(program.round)} instructions an example, {program.size} entries a column")
paper.report("sherman-morrison-construction", np.max(errors), samples=errors)

# %% [markdown]
# Rounding errors. So a transformer *can* be exact, given enough layers: this program would need about eleven for
# every example, one after the other. That is an upper bound on what is needed, and a construction says nothing about
# what training finds. Networks with two blocks, as below, have no room for it. They must find something else.
#
# ## What trained transformers compute
#
# Token $k$ of a sequence is $(x_k, x_{k-1}, y_{k-1}, s)$: the input whose label is asked for, and the last example
# with its label ($s$ flags the first token, which has none before it). A token never contains the label that it is to
# predict. (The paper gives inputs and labels a token each, and the network then spends its first layer on bringing
# them together.) The loss is the squared error averaged over all positions,
#
# $$\mathcal L = \frac{1}{N+1}\sum_{n=0}^{N}\mathbb E\,\big(T(x_1, y_1, \dots, x_n, y_n, x_{n+1}) - y_{n+1}\big)^2 ,$$
#
# and no prompt is seen twice. There is one network for each noise level, all of the same depth, trained on the same
# inputs, weights and (in units of $\sigma$) noise; and shallower ones for the middle noise level.

# %% [markdown]
# ### The suspects
#
# All algorithms below get the same prompts as the networks. `prefixes` turns a sequence into its prompts of $n = 1,
# \dots, N$ examples.
#
# - **Ridge regression** with $\lambda^* = \sigma^2$, the Bayes predictor, and with 60 other strengths.
# - **Least squares**, of smallest norm where there are fewer examples than inputs.
# - **One gradient step** from zero on the whole prompt, with the best step size for each $n$: in closed form $1/(n +
#   d + 1 + \sigma^2)$ {cite:p}`mahankali2024one`.
# - **One pass of stochastic gradient descent**, one step an example, the best of 15 step sizes for each $n$.
# - **Nearest neighbours**: the mean label of the 3 nearest inputs, or the label of the nearest.
# - **Zero**, the prediction without any example.

# %%
lengths = np.arange(1, pairs + 1)
strengths = np.geomspace(0.005, 20, 60)
online_rates = np.geomspace(0.02, 0.8, 15).astype(np.float32)


@jax.jit
def ridge_regressions(x, y, variance):
    """Predictions of ridge with the Bayes strength, (almost) zero and all other strengths: [62, n, prompts]."""
    first = jnp.stack([variance, 1e-10])
    return ridge_path(prefixes(x, y)[0], jnp.concatenate([first, strengths]))


@jax.jit
def cruder(x, y, step_sizes):
    """Predictions of the algorithms that solve nothing: [n, prompts] each."""
    prompts, present = prefixes(x, y)
    constant = lambda rate: online_descent(prompts, jnp.full(pairs, rate))
    passes = jax.lax.map(constant, online_rates)
    best = jnp.mean((passes - prompts.target) ** 2, -1).argmin(0)
    return {
        "one step": jax.vmap(gradient_descent)(prompts, step_sizes),
        "one pass": jnp.take_along_axis(passes, best[None, :, None], 0)[0],
        "3 neighbours": nearest_neighbours(prompts, 3, present),
        "1 neighbour": nearest_neighbours(prompts, 1, present),
        "zero": jnp.zeros_like(prompts.target),
    }


paths = {}  # predictions of ridge regression for every noise level
with jax.enable_x64(True):
    for variance, sequences in tests.items():
        path = ridge_regressions(*(part.astype(float) for part in sequences), variance)
        paths[variance] = np.asarray(path)

# The mean over examples inside gradient_descent is one over all places, present or not.
step_sizes = pairs / (lengths + dim + 1 + noise_variance)[:, None].astype(np.float32)
suspects = jax.tree.map(np.asarray, cruder(*tests[noise_variance], step_sizes))
suspects["ridge"], suspects["least squares"] = paths[noise_variance][:2]

# %% [markdown]
# And the networks, trained by now:

# %%
results = {job: training.result() for job, training in trainings.items()}
pool.shutdown()
models = {job: predictions[1:] for job, (_, _, predictions) in results.items()}  # n = 1, 2, ...
for (depth, variance), (_, losses, _) in results.items():
    print(
        f"{depth} blocks, sigma^2 = {variance:<4g}: final training loss {losses[-50:].mean():.3f}"
    )

# %% [markdown]
# ### Squared prediction difference
#
# How alike are two algorithms $A_1$ and $A_2$? The paper's measure compares what they *do*, on prompts $D$ and
# queries $x'$:
#
# $$\mathrm{SPD}(A_1, A_2) = \mathbb E_{D, x'}\,\big(A_1(D)(x') - A_2(D)(x')\big)^2 .$$


# %%
def spd(one, two):
    """Squared prediction differences at every n: of all prompts, and of five parts of them (first axis)."""
    squares = (one - two) ** 2
    parts = squares.reshape(*squares.shape[:-1], 5, -1).mean(-1)
    return parts.mean(-1), np.moveaxis(parts, -1, 0)


main = models[depths[-1], noise_variance]
labels = tests[noise_variance][1].T[1:]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Squared prediction difference between the trained transformer and seven algorithms against the number of examples: the curve for Bayes ridge lies lowest, an order of magnitude below one gradient step, neighbours and zero."}}
LOOKS = {
    "zero": ("grey", "predicting 0"),
    "1 neighbour": ("brown", "nearest neighbour"),
    "3 neighbours": ("purple", "3 nearest neighbours"),
    "one pass": ("cyan", "one pass of SGD"),
    "one step": ("orange", "one gradient step"),
    "least squares": ("red", "least squares"),
    "ridge": ("green", r"ridge, $\lambda = \sigma^2$ (Bayes)"),
}
fig, ax = plt.subplots(figsize=(7.2, 3.9))
for name, (color, label) in LOOKS.items():
    ax.plot(
        lengths, spd(main, suspects[name])[0], "o-", ms=4, color=PALETTE[color], label=label
    )
ax.set(
    xlabel="examples $n$ in the prompt",
    ylabel="SPD to the transformer",
    yscale="log",
    ylim=(None, 8),
)
ax.set_xticks(lengths if pairs < 12 else lengths[:: pairs // 8])
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# The transformer's distance from each algorithm, in squared units of the labels. Green lies lowest at every length.
# Nearest neighbours and zero are out of the question, and so is a single gradient step, the algorithm of one linear
# layer: its curve stays high and flat. Least squares is the closest rival once there are plenty of examples, as it
# must be: ridge and least squares approach each other as $n$ grows. Around $n = d$ it is far off, because least
# squares through as many noisy points as there are unknowns is wild there. (At $n = d$ and $d + 1$ its squared error
# even has no finite mean, and the curve leaves the figure.) For the claim the means are taken over $n \ge 2d$, where
# least squares is at its most dangerous as a rival.

# %%
late = lengths >= 2 * dim
rivals = ("least squares", "one step", "3 neighbours", "zero")
means = {name: spd(main, suspects[name])[0][late].mean() for name in ("ridge", *rivals)}
for name, value in means.items():
    print(f"{name:<14} mean SPD {value:.4f}")
nearest = min(rivals, key=means.get)
by_part = (spd(main, suspects[name])[1][:, late].mean(1) for name in ("ridge", nearest))
paper.report(
    "nearest-algorithm-is-ridge-bayes", means["ridge"] / means[nearest], samples=np.divide(*by_part)
)  # fmt: skip

# %% [markdown]
# ### Does it know how noisy the labels are?
#
# The Bayes predictor contains a number, $\lambda^* = \sigma^2/\tau^2$, that no prompt states. A network that has
# become the Bayes predictor must have learned it in training. So turn the question round: pretend not to know
# $\lambda$, and look for the ridge strength that explains the network's predictions best.

# %%
enough = lengths >= dim
variances = sorted(tests)
curves, fitted, fitted_parts = {}, [], []
for variance in variances:
    whole, parts = spd(models[depths[-1], variance], paths[variance][2:])
    curves[variance] = whole[:, enough].mean(1)
    fitted.append(strengths[curves[variance].argmin()])
    fitted_parts.append(strengths[parts[:, :, enough].mean(2).argmin(1)])
    print(f"sigma^2 = {variance:<5g} best-fitting ridge strength {fitted[-1]:.3f}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: distance to ridge against its strength, three curves with minima that move right as noise grows. Right: the fitted strength against the noise variance, near the identity line and slightly above it."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.6))
colors = plt.cm.Blues(np.linspace(0.45, 0.95, len(variances)))  # all are transformers
for variance, color, best in zip(variances, colors, fitted, strict=True):
    axes[0].plot(strengths, curves[variance], color=color, label=rf"$\sigma^2 = {variance:g}$")
    axes[0].plot(best, curves[variance].min(), "o", color=color)
    axes[0].axvline(variance, ymax=0.7, color=color, ls=":", lw=1.6)
    axes[1].plot(variance, best, "o", color=color, ms=8)
axes[0].set(
    xlabel=r"ridge strength $\lambda$", ylabel="SPD(transformer, ridge)", xscale="log",
    yscale="log", ylim=(None, 20),
)  # fmt: skip
axes[0].legend(loc="upper right")
ends = np.array([0.05, 2.0])
axes[1].plot(ends, ends, color=THEORY, ls="--", label=r"Bayes: $\lambda = \sigma^2$")
axes[1].set(
    xlabel=r"variance of the label noise $\sigma^2$", ylabel=r"fitted $\lambda$", xscale="log",
    yscale="log",
)  # fmt: skip
axes[1].legend(loc="upper left")
plt.show()

# %% [markdown]
# Left: the distance between network and ridge regression as a function of its strength; each curve has its dip near
# the dotted line, at its own $\sigma^2$. Right: where the dips are. Three networks that differ in nothing but the
# noise of the labels they were trained on have adopted three different strengths of regularisation, in the right
# order and nearly on the line. They lie a little above it, most of all for little noise. That is the mark of a small
# network after a short training: whoever cannot compute the weights exactly does best to shrink them, and so the
# network's own inaccuracy counts as some extra noise. It flattens the slope that the claim measures. With longer
# training the points move towards the line.

# %%
slopes = [loglog_slope(variances, one) for one in np.transpose(fitted_parts)]
paper.report("implied-regularisation", loglog_slope(variances, fitted), samples=slopes)

# %% [markdown]
# ### How much risk is left on the table?
#
# Being close to the best predictor in squared difference is the same as having little excess risk: the Bayes
# predictor is a conditional mean, so that for any predictor $\mathrm{MSE}(A) = \mathrm{MSE}(\text{Bayes}) +
# \mathrm{SPD}(A, \text{Bayes})$. The risk is measured here directly, with the noisy labels, since it guards against a
# mistake that the differences would not show: if a label leaked into the token that is to predict it, the network
# would beat Bayes' rule, and its excess risk would be negative. What counts is the share of what could be gained over
# predicting zero that the network leaves:
#
# $$\frac{\mathrm{MSE}(\text{transformer}) - \mathrm{MSE}(\text{Bayes})}{\mathrm{MSE}(0) - \mathrm{MSE}(\text{Bayes})} .$$

# %%
risks = {name: spd(values, labels) for name, values in suspects.items() if name in LOOKS}
risks["transformer"] = spd(main, labels)
excess, excess_parts = (
    (risks["transformer"][i] - risks["ridge"][i]) / (risks["zero"][i] - risks["ridge"][i])
    for i in range(2)
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: mean squared error against the number of examples; the transformer's points follow the Bayes curve down towards the noise floor, below least squares and one gradient step. Right: the transformer's excess as a share of what can be gained, a few percent at all lengths."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.6), width_ratios=(1.25, 1))
for name in ("zero", "one step", "least squares", "ridge"):
    color, label = LOOKS[name]
    axes[0].plot(lengths, risks[name][0], color=PALETTE[color], label=label)
axes[0].plot(lengths, risks["transformer"][0], "o", color=PALETTE["blue"], label="transformer")
axes[0].axhline(noise_variance, color=THEORY, ls=":", lw=1.2)
axes[0].annotate(
    r"$\sigma^2$", (1, noise_variance), xytext=(0, -12), textcoords="offset points"
)
axes[0].set(
    xlabel="examples $n$", ylabel="mean squared error", ylim=(0, 1.1 * risks["zero"][0].max())
)
fig.legend(loc="outside upper center", ncols=3)
axes[1].fill_between(
    lengths, excess_parts.min(0), excess_parts.max(0), color=PALETTE["blue"], alpha=0.2, lw=0
)
axes[1].plot(lengths, excess, "o-", ms=5, color=PALETTE["blue"])
axes[1].axhline(0, color=PALETTE["green"])
axes[1].set(
    xlabel="examples $n$", ylabel="excess risk / possible gain", ylim=(-0.02, max(0.1, 1.2 * excess.max()))
)  # fmt: skip
plt.show()

# %% [markdown]
# Left: the transformer (dots) follows the Bayes curve towards the floor $\sigma^2$ that nobody can get under. Right:
# the share of the possible gain that it misses (band: five parts of the test prompts). Least is missed after a single
# example, where the Bayes predictor is $y_1 x_1^\top x_2/(\lVert x_1\rVert^2 + \sigma^2)$ and there is no matrix to
# invert; most around $n = d$ and just above it, where ridge regression depends most sharply on the prompt. It is
# never negative, so no label leaks.

# %%
paper.report("near-bayes-risk", excess.mean(), samples=excess_parts.mean(1))

# %% [markdown]
# ### The weights that are not there
#
# Nowhere in the network is a vector $w$. But if its prediction is linear in the query, it implies one, which can be
# measured: keep the examples, vary the query, and regress the predictions on it. The distance of two algorithms'
# implied weights is the paper's second measure, the *implicit linear weight difference*, $\mathrm{ILWD} = \mathbb
# E\,\lVert\hat w_{A_1} - \hat w_{A_2}\rVert^2$. We use 64 random queries a prompt, at the end of prompts of full
# length.

# %%
probes = 64
probing = test_prompts // probes
x, y = tests[noise_variance]
queries = np.random.default_rng([seed, 2]).normal(size=(probes, dim)).astype(np.float32)
probed = np.repeat(x[:probing, None], probes, 1)
probed[:, :, -1] = queries
answers = predictors[depths[-1]](
    results[depths[-1], noise_variance][0],
    probed.reshape(-1, *x.shape[1:]),
    np.repeat(y[:probing], probes, 0),
)
answers = np.asarray(answers)[:, -1].reshape(probing, probes)
weights, linear = map(np.asarray, jax.jit(implied_weights)(queries, answers))
gram = np.einsum("tni,tnj->tij", x[:probing, :-1], x[:probing, :-1])
moment = np.einsum("tni,tn->ti", x[:probing, :-1], y[:probing, :-1])[..., None]
solve = lambda penalty: np.linalg.solve(gram + penalty * np.eye(dim), moment)[..., 0]
step = moment[..., 0] / (pairs + dim + 1 + noise_variance)
print(
    f"a linear function of the query explains {linear.mean():.1%} of the predictions' mean square"
)
for name, w in (
    ("ridge", solve(noise_variance)),
    ("least squares", solve(0.0)),
    ("one step", step),
):
    print(f"ILWD to {name:<14} {np.mean(np.sum((weights - w) ** 2, -1)):.4f}")

# %% [markdown]
# The network, with its softmax and its MLPs, has become an almost linear function of the query, as if it held a
# weight vector; and this vector is nearest to that of ridge regression, in the same order as before.
#
# ### Depth
#
# The paper finds *phases*. A single layer behaves like a gradient step, a few layers like ridge regression, many like
# exact least squares (without noise). We compare networks of different depth, trained alike on the middle noise
# level, by the ratio
#
# $$R(L) = \frac{\mathrm{SPD}(\text{transformer with } L \text{ blocks},\ \text{ridge})}{\mathrm{SPD}(\text{transformer with } L \text{ blocks},\ \text{one gradient step})} ,$$
#
# which is large for a network that resembles the gradient step and small for one that resembles ridge regression.

# %%
distances = {
    depth: {name: spd(models[depth, noise_variance], suspects[name]) for name in ("ridge", "one step")}
    for depth in depths
}  # fmt: skip


def ratio(depth, part):
    """R(depth): of all prompts (part 0), or of five parts of them (part 1)."""
    mean = lambda name: distances[depth][name][part][..., enough].mean(-1)
    return mean("ridge") / mean("one step")


for depth in depths:
    print(f"R({depth}) = {ratio(depth, 0):.3f}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "One panel a depth: the transformer's distance to ridge regression and to one gradient step against the number of examples. With one block the two distances are comparable, with two the distance to ridge is far smaller."}}
fig, axes = plt.subplots(
    1, len(depths), figsize=(max(7.2, 2.4 * len(depths)), 3.5), sharey=True
)
for ax, depth in zip(axes, depths, strict=True):
    for name in ("one step", "ridge"):
        color, label = LOOKS[name]
        ax.plot(
            lengths, distances[depth][name][0], "o-", ms=4, color=PALETTE[color], label=label
        )
    blocks = "1 block" if depth == 1 else f"{depth} blocks"
    ax.set(title=f"{blocks}: $R = {ratio(depth, 0):.2f}$", xlabel="examples $n$", yscale="log")
axes[0].set_ylabel("SPD to the transformer")
axes[0].legend(loc="lower right")
plt.show()

# %% [markdown]
# How far the network is from the Bayes predictor (green) and from the gradient step (orange). One block sits between
# the two; the second block brings the green curve down by a multiple and pushes the orange one up. The direction is
# the paper's. The first phase, however, is not seen in pure form: even our single block tends to be nearer to ridge
# than to the gradient step. It has an MLP and, with a whole example in each token, no need to spend its attention on
# pairing inputs with labels. The claim therefore speaks of the change with depth only.

# %%
first, second = depths[:2]
paper.report(
    "depth-transition", ratio(first, 0) / ratio(second, 0), samples=ratio(first, 1) / ratio(second, 1)
)  # fmt: skip

# %% [markdown]
# ## What differs from the paper
#
# - **Size.** The paper's main experiments have $d = 8$, sequences of 40 pairs, up to 16 layers of width up to 512 and
#   half a million training steps. Here $d = 2$, 8 pairs, one or two blocks of width 32 and some tens of thousands of
#   sequences. The regime $n < d$, in which least squares must choose among many solutions, has one point here and is
#   not tested.
# - **Tokens.** An example is one token, not two.
# - **Noise in every claim.** The paper first studies labels without noise, where the deep network matches least
#   squares, and then adds noise. With noise there is more to find out, since the right answer then contains a number,
#   $\lambda^*$.
# - **No probing.** The paper also trains probes that read $X^\top y$ and the least-squares weights off the hidden
#   layers. This page looks at behaviour alone: it shows which *function* of the prompt is computed, not by which
#   steps. A network as shallow as ours cannot run the eleven-instruction program, and we do not know what it runs
#   instead. Iterations of second order are one candidate for deeper ones {cite:p}`fu2024transformers`.
# - **One network a setting.** Spreads in the table of verdicts are over parts of the test prompts, not over
#   trainings; other trainings are a matter of other seeds.
#
# ## Things to try
#
# - `reprise sweep in-context-learning-algorithm -p seed=0..4`: other trainings, other prompts.
# - `reprise run in-context-learning-algorithm -p steps 4000`: four times the training. The distance to ridge falls,
#   and the fitted strengths move down onto the identity line.
# - `reprise run in-context-learning-algorithm -p learning_rate 0.003`: a cautious rate leaves the networks
#   undertrained. Watch the fitted strength at low noise: it is too large, as if the labels were noisier than they
#   are.
# - `reprise run in-context-learning-algorithm -p depths [1,2,4]`: does a deeper network come still closer? All noise
#   levels then use four blocks.
# - `reprise sweep in-context-learning-algorithm -p width=8,16,32,64`: the paper finds that width, too, must suffice
#   before the network gets past cruder algorithms.

# %%
paper.verdicts()
