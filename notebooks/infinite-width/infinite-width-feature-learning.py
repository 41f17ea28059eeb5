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
# # Feature Learning in Infinite-Width Neural Networks
#
# Let a network grow infinitely wide in the way of {doc}`neural-tangent-kernel`, and it becomes a kernel method: the
# output learns, but every hidden unit stays where it was initialised. That is convenient for theory and bad news for
# practice, because hidden representations that adapt to the data are what pretraining and transfer live on.
#
# {cite:t}`yang2020feature` ask whether this is a property of width, or of the *way* in which we let the width grow. How
# large should initial weights, multipliers and learning rates be at width $n$? Each choice has its own limit, and most
# choices have none: training blows up, or nothing moves. The paper sorts out all of them at once:
#
# 1. **A dichotomy.** A limit in which training is stable and does something either moves its features, or is kernel
#    gradient descent. Never both.
# 2. **A formula.** One number $r$, made of the scaling exponents, says which: features move by $n^{-r}$. The standard
#    and the NTK scaling both have $r = \tfrac12$.
# 3. **A way out.** Changing the scale of the first and the last layer makes $r = 0$. In this *maximal update
#    parametrisation* ($\mu$P) features move as far as they can without blowing up, at any width, and its
#    infinite-width limit can be computed. On word embeddings it does what a kernel cannot.
#
# On this page all three are measured: the exponents with networks up to width 2048, the dichotomy by comparing every
# trained network with its own linearisation, and the limit on a small language, where infinite width beats every finite
# one.
#
# ## A family of parametrisations
#
# A network with $L$ hidden layers of width $n$, inputs $x^0 = \xi$ and a nonlinearity $\phi$ computes
#
# $$h^l = W^l x^{l-1}, \qquad x^l = \phi(h^l) \quad (l = 1,\dots,L), \qquad f(\xi) = W^{L+1} x^L .$$
#
# How its behaviour depends on $n$ is a matter of three sets of exponents, hence **abc-parametrisation**:
#
# $$W^l = n^{-a_l}\,w^l, \qquad w^l_{ij} \sim N(0,\, n^{-2b_l}), \qquad
#   w^l \leftarrow w^l - \eta\, n^{-c}\, \frac{\partial\mathcal L}{\partial w^l} .$$
#
# The multipliers $n^{-a_l}$ stay in the forward pass, the trained parameters $w^l$ start with the scale $n^{-b_l}$,
# and the learning rate shrinks like $n^{-c}$. Writing a factor into the multiplier or into the initialisation makes
# no difference to $f$ at the start, but a great difference to the gradient. (There is one redundancy: with
# $a_l + \theta$, $b_l - \theta$ and $c - 2\theta$ the same functions are trained, for every $\theta$.) Familiar members are
#
# | | $a_1$ | $a_2,\dots,a_L$ | $a_{L+1}$ | $b_1$ | $b_2,\dots,b_{L+1}$ | $c$ | $r$ |
# |---|---|---|---|---|---|---|---|
# | standard, largest stable rate | $0$ | $0$ | $0$ | $0$ | $\tfrac12$ | $1$ | $\tfrac12$ |
# | NTK {cite:p}`jacot2018neural` | $0$ | $\tfrac12$ | $\tfrac12$ | $0$ | $0$ | $0$ | $\tfrac12$ |
# | maximal update | $-\tfrac12$ | $0$ | $\tfrac12$ | $\tfrac12$ | $\tfrac12$ | $0$ | $0$ |
# | mean field, $L = 1$ {cite:p}`mei2018mean,chizat2018global` | $0$ | | $1$ | $0$ | $0$ | $-1$ | $0$ |
#
# The last two are the same parametrisation for one hidden layer, shifted by $\theta = \tfrac12$.
#
# ## One exponent decides
#
# Where does $n^{-r}$ come from? Look at a gradient step on a hidden layer. The signal that comes back to $x^L$ from
# the output has entries of the size of $W^{L+1}$, which is $n^{-(a_{L+1}+b_{L+1})}$ at the start; after one step,
# $w^{L+1}$ has also gained an update of size $n^{-c - a_{L+1}}$, which contributes $n^{-(2a_{L+1}+c)}$. The larger of
# the two counts, hence the minimum of the exponents. The step on $w^l$ carries the multiplier $n^{-a_l}$ and the rate
# $n^{-c}$, the forward pass multiplies by $n^{-a_l}$ again, and the sum over the layer's $n$ inputs, which are all
# aligned with the update, gives a factor $n$ (not so in the first layer, whose inputs do not grow in number).
# Collected:
#
# $$r = \min\bigl(a_{L+1} + b_{L+1},\; 2a_{L+1} + c\bigr) + c - 1 + \min_{l \le L}\bigl[\,2a_l + \mathbb 1(l = 1)\,\bigr].$$
#
# In the same way one finds when nothing explodes. A parametrisation is **stable** if activations start at order one
# ($a_1 + b_1 = 0$, and $a_l + b_l = \tfrac12$ for $2\le l\le L$), the output starts no larger ($a_{L+1} + b_{L+1} \ge
# \tfrac12$), features do not run away ($r \ge 0$), and neither does the output:
#
# $$\begin{aligned} 2a_{L+1} + c \ge 1 &\qquad\text{(moved by the last layer)}, \\[4pt]
#   a_{L+1} + b_{L+1} + r \ge 1 &\qquad\text{(moved by the features below)} . \end{aligned}$$
#
# It is **nontrivial** if one of these two is an equality, so that the output does move. The theorem: a stable,
# nontrivial parametrisation with $r = 0$ learns features, and one with $r > 0$ is in the kernel regime.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
widths = [128, 256, 512, 1024, 2048]  # widths n of the nonlinear networks
networks = [8, 8, 8, 8, 4]  # networks at each of these widths
steps = 10  # full-batch gradient steps of the nonlinear networks
points = 16  # training inputs
inputs = 8  # their dimension
embedding_widths = [64, 256, 1024, 4096]  # widths of the word embeddings, at least three
embedding_networks = 8  # networks at each of these widths
embedding_rate = 5.0  # their learning rate eta, and the limit's
embedding_steps = 100  # their gradient steps, a multiple of 10
stems = 10  # word stems of the little language
forms = 6  # forms of each stem

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.networks.linearize import value_and_change
from reprise.networks.parametrizations import (
    ABC,
    forward,
    initialise,
    maximal_update,
    mean_field,
    ntk,
    stack,
    standard,
)
from reprise.networks.two_layer_linear import gram_descent
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.statistics.fits import loglog_slope
from reprise.tasks.word_analogies import analogy_accuracy, stem_form_language
from reprise.training.loop import fit

use_style()
paper = open_paper("infinite-width-feature-learning", globals())

# %% [markdown]
# In the library a parametrisation is just its exponents, `ABC(a, b, c)`, and $r$ and the conditions above are its
# properties. To see what the theorem says, fix everything but the last layer's multiplier $a_{L+1}$ and the learning
# rate $c$ (with $b_{L+1} = \tfrac12$ and hidden layers as in $\mu$P) and ask at every point of that plane.

# %%
halfway = maximal_update(2)._replace(a=(-0.5, 0.0, 0.25), c=0.5)
members = {"standard": standard(2), "NTK": ntk(2), "µP": maximal_update(2), "halfway": halfway}
for name, member in members.items():
    print(
        f"{name:9} r = {member.feature_exponent:.2f}, stable: {member.is_stable}, "
        f"nontrivial: {member.is_nontrivial}, learns features: {member.learns_features}"
    )
color = {"standard": "orange", "NTK": "blue", "µP": "green", "halfway": "purple"}

# %% tags=["hide-input"] mystnb={"image": {"alt": "Map of the plane of last-layer multiplier and learning-rate exponent: below a line training blows up, above it nothing moves, and on the line the exponent r falls from one half at the standard and NTK parametrisations to zero at maximal update."}}
a_axis, c_axis = np.linspace(-0.15, 0.9, 400), np.linspace(-0.3, 1.4, 400)
a_last, c_all = np.meshgrid(a_axis, c_axis)
plane = ABC((-0.5, 0.0, a_last), (0.5, 0.5, 0.5), c_all)
fig, ax = plt.subplots(figsize=(6.4, 4.2))
shown = np.where(plane.is_stable, plane.feature_exponent, np.nan)
levels = np.arange(0, 1.51, 0.125)
drawn = ax.contourf(a_axis, c_axis, shown, levels, cmap="Greens_r", extend="max")
fig.colorbar(drawn, label="$r$: features move by $n^{-r}$", ticks=[0, 0.5, 1, 1.5])
ax.plot([0, 0.5], [1, 0], color=THEORY, lw=3, solid_capstyle="butt")
for name, (a, c), offset in (
    ("NTK", (0, 1), (8, 10)),
    ("halfway", (0.25, 0.5), (10, 6)),
    ("µP", (0.5, 0), (12, 0)),
):
    ax.plot(a, c, "o", color=PALETTE[color[name]], ms=10, mec="white", zorder=5)
    text = "standard, NTK" if name == "NTK" else "µP, mean field" if name == "µP" else name
    ax.annotate(text, (a, c), textcoords="offset points", xytext=offset, zorder=6)
ax.text(0.04, 0.1, "training\nblows up", color=PALETTE["red"], ha="center")
ax.text(0.62, 1.02, "stable, but the\noutput stays put", ha="center")
ax.set(xlabel="last layer's multiplier, $a_{L+1}$", ylabel="learning rate, $c$")
plt.show()

# %% [markdown]
# The white region is unstable, the green one trivial; what is left for training is the dark segment between them. At
# its upper end sit the standard and the NTK parametrisation (the latter shifted by $\theta = -\tfrac12$; the two
# differ in the first layer, which does not change $r$), with $r = \tfrac12$. At its lower end, and only there, $r =
# 0$: this is $\mu$P. (On the edge to the right of it features move too, but the output no longer does.) In between,
# $r$ takes every value; "halfway" is a parametrisation without a name or use, with $r = \tfrac14$, which will test
# whether the formula means what it says.
#
# ## Measuring the exponents
#
# Networks with two hidden tanh layers see 16 Gaussian inputs in $\mathbb R^8$ and take ten full-batch gradient steps
# on half the mean squared error. Three details make the exponents sharp.
#
# - Targets are $f_0(x) \pm 1$ with random signs, so that every network starts with the same residuals. Otherwise the
#   random initial output, of order one in the standard and the NTK scaling but $n^{-1/2}$ in $\mu$P, would blur the
#   slopes.
# - $\eta$ is set once, at width 128: the smallest of a half-octave grid that brings the mean loss of four networks
#   below three quarters of its start. The same rule for all, and steps small enough for the expansion in $n$ to hold
#   at the smallest width.
# - The same standard normal draws serve all parametrisations, so they differ in nothing but scale.
#
# We record the change of the last hidden layer, $\lVert x^L_{t} - x^L_0\rVert_{\rm rms}$, over its $n$ units and the
# inputs; the change of the output; and, for the dichotomy, how far this is from what the linearisation around the
# initial parameters $\theta_0$ gives for the same displacement, $\partial_\theta f(\theta_0)\,(\theta_t - \theta_0)$.

# %%
rng = np.random.default_rng(seed)
x_train = (rng.normal(size=(points, inputs)) / np.sqrt(inputs)).astype(np.float32)
signs = rng.choice([-1.0, 1.0], points).astype(np.float32)
rms = lambda values: jnp.sqrt(jnp.mean(values**2))


@partial(jax.jit, static_argnames="width")
def trial(key, parametrizations, etas, *, width):
    """Train one network in every parametrisation from the same draws."""

    def train(member):
        parametrization, eta = member
        start = initialise(parametrization, key, inputs, width)
        network = lambda weights: forward(parametrization, weights, x_train)
        output, features = network(start)
        target = output[:, 0] + signs
        loss = lambda weights, _=None: 0.5 * jnp.mean((network(weights)[0][:, 0] - target) ** 2)
        descent = optax.sgd(parametrization.learning_rate(eta, width))
        end, _ = fit(loss, start, descent, key, steps)
        moved_output, moved_features = network(end)
        displacement = jax.tree.map(jnp.subtract, end, start)
        _, linear = value_and_change(lambda weights: network(weights)[0], start, displacement)
        change = moved_output - output
        return {
            "features": rms(moved_features - features),
            "output": rms(change),
            "nonlinear": rms(change - linear) / rms(change),
            "loss": 0.5 * jnp.mean((moved_output[:, 0] - target) ** 2),
        }

    return jax.lax.map(train, (parametrizations, etas))


family = stack(list(members.values()))
key_tune, key_trials, key_words = jax.random.split(jax.random.key(seed), 3)
some_etas = np.ones(len(members), np.float32)
pool = ThreadPoolExecutor(2)  # two programs at a time are compiled, or run
build = lambda width: trial.lower(key_tune, family, some_etas, width=width).compile()
compiled = dict(zip(widths, pool.map(build, widths), strict=True))


def trials(key, count, etas, width):
    """The measurements of `count` networks, each an array [networks, parametrisations]."""
    run = lambda one: jax.tree.map(np.asarray, compiled[width](one, family, etas))
    runs = pool.map(run, jax.random.split(key, count))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *runs)


grid = 2.0 ** np.arange(-1, 2.5, 0.5, dtype=np.float32)
losses = np.stack(
    [trials(key_tune, 4, eta * some_etas, widths[0])["loss"].mean(0) for eta in grid]
)
fast_enough = losses < 0.75 * 0.5 * np.mean(signs**2)
etas = np.where(fast_enough.any(0), grid[fast_enough.argmax(0)], np.nan).astype(np.float32)
print("eta:", ", ".join(f"{name} {eta:.2f}" for name, eta in zip(members, etas, strict=True)))

measured = [
    trials(jax.random.fold_in(key_trials, width), count, etas, width)
    for width, count in zip(widths, networks, strict=True)
]
over_networks = lambda name: np.sqrt([(run[name] ** 2).mean(0) for run in measured])
curves = {name: over_networks(name) for name in ("features", "output", "nonlinear")}
slopes = {
    name: np.array([loglog_slope(widths, column) for column in values.T])
    for name, values in curves.items()
}
exponents = np.array([member.feature_exponent for member in members.values()])

# %% [markdown]
# If the theorem is right, the movement of features against width is a straight line of slope $-r$ in logarithmic axes,
# and that of the output is level.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Feature change and output change against width in four parametrisations. Features: flat for maximal update, falling as the square root of the width for standard and NTK, halfway between for the halfway one, each on its predicted line. Outputs: all flat."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.8))
for ax, name, predicted, label in (
    (axes[0], "features", -exponents, r"feature change, rms"),
    (axes[1], "output", 0 * exponents, r"output change, rms"),
):
    for k, member in enumerate(members):
        values = curves[name][:, k]
        middle = np.exp(np.log(values / np.power(widths, predicted[k])).mean())
        ax.plot(widths, middle * np.power(widths, predicted[k]), "--", color=THEORY, lw=1)
        ax.plot(widths, values, "o", color=PALETTE[color[member]], label=member)
    ax.set(xlabel="width $n$", ylabel=label, xscale="log", yscale="log")
    ax.set_xticks(widths, [str(width) for width in widths])
    ax.minorticks_off()
axes[0].plot([], [], "--", color=THEORY, lw=1, label="slope predicted")
axes[1].set_ylim(0.1, 1)
axes[1].set_yticks([0.1, 0.3, 1], ["0.1", "0.3", "1"])
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
plt.show()

# %%
for name, values in slopes.items():
    text = ", ".join(f"{who} {slope:+.3f}" for who, slope in zip(members, values, strict=True))
    print(f"slopes of {name:9} {text}")
named = [list(members).index(name) for name in ("standard", "NTK", "µP")]
feature_error = np.abs(slopes["features"][named] - np.array([-0.5, -0.5, 0.0]))
output_error = np.abs(slopes["output"][named])
paper.report("feature-motion-exponents", feature_error.max(), samples=feature_error)
paper.report("nontrivial-output-motion", output_error.max(), samples=output_error)

# %% [markdown]
# Dashed lines have the predicted slopes, $-r$ on the left and $0$ on the right; only their heights are fitted. On the
# right all four parametrisations do the same: the output moves by the same amount at every width. On the left they
# part. The hidden units of a $\mu$P network move at width 2048 as far as at width 128, those of the others less and
# less, and the nameless parametrisation falls along its own line, $n^{-1/4}$. In the standard and the NTK scaling the
# output moves because a very large number of weights each do next to nothing.
#
# ## The other side of the dichotomy
#
# If the features stand still, the network stays near its linearisation in the parameters, whose gradient descent is
# kernel descent with the initial tangent kernel. So a second quantity should separate the two regimes: the part of
# the output's change that the linearisation does not explain.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of the output change that the linearisation misses, against width: constant near a quarter for maximal update, falling like one over the width for standard and NTK, and like its square root for the halfway parametrisation."}}
fig, ax = plt.subplots(figsize=(6.0, 3.6))
for k, member in enumerate(members):
    values = curves["nonlinear"][:, k]
    ax.plot(widths, values, "o-", color=PALETTE[color[member]], label=member)
    guide = values[-1] * (np.array(widths) / widths[-1]) ** (-2 * exponents[k])
    ax.plot(widths, guide, "--", color=THEORY, lw=1, zorder=1)
ax.plot([], [], "--", color=THEORY, lw=1, label="slope $-2r$")
ax.set(
    xlabel="width $n$",
    ylabel="distance to linearisation\n/ output change",
    xscale="log",
    yscale="log",
)
ax.set_xticks(widths, [str(width) for width in widths])
ax.minorticks_off()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
order = list(members)
at_largest = curves["nonlinear"][-1]
pairs = measured[-1]["nonlinear"]
paper.report(
    "kernel-gd-dichotomy",
    at_largest[order.index("µP")] / at_largest[order.index("NTK")],
    samples=pairs[:, order.index("µP")] / pairs[:, order.index("NTK")],
)

# %% [markdown]
# For $\mu$P the linearisation misses a sizeable share of what the network learns, at every width: there is no kernel
# to which this training converges. For the standard and the NTK scaling the missing share vanishes. It does so about
# as fast as $n^{-2r}$, drawn dashed as a guide; the theorem promises only that it vanishes. (For NTK the same rate,
# $1/n$, governs the drift of the tangent kernel, which {doc}`neural-tangent-kernel` measures and
# {cite:t}`huang2020hierarchy` prove.)
#
# ## A limit that can be computed: word embeddings
#
# A kernel limit can be computed by solving a linear system. What does one compute when the features move? In general
# the paper's Tensor Programs give a recursion on random variables ({doc}`tensor-programs-scaling-limits` explains the
# idea). There is one important model for which it closes on a small matrix: Word2Vec in its CBOW form
# {cite:p}`mikolov2013efficient`, which has one hidden layer and no nonlinearity.
#
# A context is a vector $\xi$ of word counts, divided by their number, and the network scores every possible centre
# word,
#
# $$f(\xi) = \frac1n\, U^\top V \xi, \qquad U, V \in \mathbb R^{n\times\text{words}}, \qquad U_{ij}, V_{ij} \sim N(0, 1),$$
#
# with a softmax cross-entropy on top. This is $\mu$P for $L = 1$ in its mean-field form, so the rate is $\eta n$.
# Column $i$ of $V$ is the embedding of word $i$. With $G = \nabla_F \mathcal L$, the gradient with respect to the
# matrix of scores $F = \frac1n U^\top V$, a step of gradient descent is
#
# $$U \leftarrow U - \eta\, V G^\top, \qquad V \leftarrow V - \eta\, U G .$$
#
# Now stack the two, $Z = [U, V]$: each step multiplies $Z$ from the right by $I - \eta S$, with the symmetric matrix
# $S = \begin{pmatrix} 0 & G \\ G^\top & 0\end{pmatrix}$. The hidden units are the *rows* of $Z$. Nobody ever looks at them one by
# one: scores and similarities of words are blocks of the Gram matrix $M = \frac1n Z^\top Z$, which follows
#
# $$M \leftarrow (I - \eta S)\; M\; (I - \eta S), \qquad F = M_{UV} .$$
#
# This is exact at every width. The width enters only through where $M$ starts: at $\frac1n Z_0^\top Z_0 = I +
# O(n^{-1/2})$ for a finite network, and at $M = I$ for the infinite one, which can therefore be trained on a laptop
# in a second (`gram_descent`). What it learns about words is in the block $M_{VV}$.
#
# In the NTK parametrisation $f = n^{-1/2}\,U^\top V\xi$, a step moves $V$ by $n^{-1/2}$ and $M_{VV}$ not at all: for
# $n\to\infty$ it stays at $I$, and all words remain equally dissimilar, for ever, while the loss goes down.
#
# ### A language to learn
#
# Sixty words are made of ten stems and six forms (think of *walk, walks, walked, ...*). A stem is a random unit
# vector in $\mathbb R^4$, a form one in $\mathbb R^3$, and a word $z$ is the pair of them. Words occur next to each
# other with probability $P(o\mid c) \propto e^{z_o \cdot z_c}$, as in the generative models behind word vectors. The
# network sees none of this, only how often words are neighbours: each is a one-hot vector, and we train on the exact
# expected counts, full batch.
#
# An embedding has understood the language if it solves analogies, *walk* is to *walked* as *see* is to ...? The
# answer to $a : b :: c : ?$ is the word $d$ (other than the three) with the largest $\cos(d, b) - \cos(d, a) +
# \cos(d, c)$ {cite:p}`levy2014linguistic`. There are 2700 such questions, and guessing gets one in 57.

# %%
language = stem_form_language(np.random.default_rng([seed, 1]), stems, forms)
words, questions = language.words, language.analogies()
joint = language.cooccurrence().astype(np.float32)
every = embedding_steps // 10


def cross_entropy(scores):
    """Mean loss of predicting the centre (rows) from the context (columns)."""
    return -jnp.sum(joint * jax.nn.log_softmax(scores, axis=0))


@jax.jit
def limit():
    """Gram matrices of the infinitely wide network in training."""
    return gram_descent(
        cross_entropy, jnp.eye(2 * words), words, embedding_rate, embedding_steps, every=every
    )


@partial(jax.jit, static_argnames="width")
def train_embeddings(start, parametrization, *, width):
    """Gram matrices of a finite network in training, by gradient descent on its weights Z = [U, V]."""
    multiplier = width ** -jnp.asarray(parametrization.a[1])
    scores = lambda z: multiplier * z[:, :words].T @ z[:, words:]
    loss = lambda z, _: cross_entropy(scores(z))
    gram = lambda z: z.T @ z / width
    descent = optax.sgd(parametrization.learning_rate(embedding_rate, width))
    _, history = fit(
        loss, start, descent, key_words, embedding_steps, watch=gram, watch_every=every
    )
    return history["watch"]


def draw(width, number):
    """Initial weights of one network."""
    rng = np.random.default_rng([seed, width, number])
    return rng.standard_normal((width, 2 * words), dtype=np.float32)


def build(width):
    shape = jax.ShapeDtypeStruct((width, 2 * words), jnp.float32)
    return train_embeddings.lower(shape, mean_field(), width=width).compile()


path = pool.submit(lambda: np.asarray(limit()))
trainers = dict(zip(embedding_widths, pool.map(build, embedding_widths), strict=True))
finite = {}  # Gram matrices [networks, times, both, both]
for width in embedding_widths:
    train = lambda number, w=width: np.asarray(trainers[w](draw(w, number), mean_field()))
    finite[width] = np.stack(list(pool.map(train, range(embedding_networks))))
kernel_width = embedding_widths[-2]
kernel_path = np.asarray(trainers[kernel_width](draw(kernel_width, 0), ntk(1)))

# %% [markdown]
# Scores are read from the block $M_{UV}$, similarities of words from $M_{VV}$. For comparison one network in the NTK
# parametrisation was trained too, and the NTK limit has the identity for its similarities, always.

# %%
scores = lambda gram: gram[..., :words, words:]
similarities = lambda gram: gram[..., words:, words:]


@jax.jit
def accuracy(grams):
    """Share of the analogies solved along the path of one network."""
    return jax.lax.map(lambda gram: analogy_accuracy(gram, questions), grams)


path = path.result()
limit_accuracy = np.asarray(accuracy(similarities(path)))
solve = lambda one: np.asarray(accuracy(similarities(one)))
solved = {width: np.stack(list(pool.map(solve, grams))) for width, grams in finite.items()}
gaps = {
    width: np.sqrt(((scores(grams) - scores(path)) ** 2).mean((2, 3)))
    for width, grams in finite.items()
}
kernel_accuracy = float(accuracy(np.stack([np.eye(words, dtype=np.float32)] * len(path)))[-1])
kernel_network = float(accuracy(similarities(kernel_path))[-1])
kernel_scores = kernel_width**0.5 * scores(kernel_path)
fall = [
    float(cross_entropy(f[0]) - cross_entropy(f[-1])) for f in (scores(path), kernel_scores)
]
print(f"the loss fell by {fall[0]:.3f} (limit), {fall[1]:.3f} (NTK network)")
print(
    f"analogies solved: {limit_accuracy[-1]:.3f} (limit), {kernel_network:.4f} (NTK network), "
    f"{kernel_accuracy:.4f} (NTK limit)"
)

# %% [markdown]
# Both learn from the corpus; what they learn about words is a different matter. First, though: is this really the
# limit of those networks? They are trained through automatic differentiation on $U$ and $V$, and know nothing of the
# recursion on $M$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: distance between the scores of finite networks and of the limit against training step, lower for wider networks at every step. Right: the distance at the end falls along a line of slope minus one half in the width."}}
times = every * np.arange(len(limit_accuracy))
shades = dict(zip(embedding_widths, np.linspace(0.3, 1, len(embedding_widths)), strict=True))
end_gaps = np.array([np.sqrt((gaps[width][:, -1] ** 2).mean()) for width in embedding_widths])
fig, axes = plt.subplots(1, 2, sharey=True)
for width in embedding_widths:
    together = np.sqrt((gaps[width] ** 2).mean(0))
    green = {"color": PALETTE["green"], "alpha": shades[width]}
    axes[0].plot(times, together, label=f"$n = {width}$", **green)
for one in range(embedding_networks):
    ends = [gaps[width][one, -1] for width in embedding_widths]
    axes[1].plot(embedding_widths, ends, ".", color=PALETTE["green"], alpha=0.4, mew=0)
axes[1].plot(embedding_widths, end_gaps, "o", color=PALETTE["green"])
middle = np.exp(np.log(end_gaps * np.sqrt(embedding_widths)).mean())
guide = middle / np.sqrt(embedding_widths)
axes[1].plot(embedding_widths, guide, "--", color=THEORY, lw=1, label="slope $-1/2$")
axes[0].set(
    xlabel="gradient step", ylabel="distance of scores\nfrom the limit, rms", yscale="log"
)
axes[1].set(xlabel="width $n$", xscale="log", title="after the last step")
axes[1].set_xticks(embedding_widths, [str(width) for width in embedding_widths])
axes[1].minorticks_off()
axes[0].legend(ncols=2, loc="upper right")
axes[1].legend()
axes[0].set_ylim(0.5 * end_gaps.min(), 5 * end_gaps.max())
plt.show()

# %%
by_network = np.stack([gaps[width][:, -1] for width in embedding_widths], 1)
paper.report(
    "exact-limit-convergence",
    loglog_slope(embedding_widths, end_gaps),
    samples=[loglog_slope(embedding_widths, ends) for ends in by_network],
)

# %% [markdown]
# Left: the distance stays roughly what it was at the start; training neither forgets the initial fluctuation nor
# amplifies it much. Right: at the end it falls like $n^{-1/2}$ (small dots: single networks). The recursion is the
# limit, and features move in it.
#
# ### Does it understand the language?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of analogies solved against gradient step: the infinite-width limit on top, finite networks below it in the order of their widths, the NTK limit flat at chance."}}
fig, ax = plt.subplots(figsize=(7.2, 3.6))
ax.plot(times, limit_accuracy, color=THEORY, label=r"µP, $n = \infty$")
for width in reversed(embedding_widths):
    faded = tuple(
        1 - shades[width] * (1 - np.array(plt.matplotlib.colors.to_rgb(PALETTE["green"])))
    )
    band(ax, times, solved[width], faded, label=f"µP, $n = {width}$")
ax.axhline(kernel_accuracy, color=PALETTE["blue"], ls="--", label=r"NTK, $n = \infty$")
ax.set(xlabel="gradient step", ylabel="analogies solved", ylim=(0, 1))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
end_accuracy = {width: solved[width][:, -1] for width in embedding_widths}
means = [end_accuracy[width].mean() for width in embedding_widths[:3]] + [limit_accuracy[-1]]
print("mean accuracy along the widths, then the limit:", np.round(means, 3))
rises = np.all(np.diff(means) > 0)
baseline = max(kernel_accuracy, means[0])
paper.report(
    "analogy-limit-beats-ntk",
    limit_accuracy[-1] - baseline if rises else -np.inf,
    samples=limit_accuracy[-1] - end_accuracy[embedding_widths[0]],
)

# %% [markdown]
# The order is the paper's: the wider the better, infinity is best, and the kernel limit at the bottom does not move.
# Finite networks start from embeddings with random similarities of order $n^{-1/2}$, a noise on top of what is
# learned; the limit starts clean, and after a few steps already gets a large part of the questions right. Chance, for the
# NTK limit, is not a failure of training, whose loss falls as well as the others'. It is what "features do not move"
# means.
#
# The paper's first figure shows embeddings of cities and states in two principal components. Here are our words:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Principal components of word embeddings, words coloured by form: an unstructured cloud for NTK, roughly grouped colours for width 64, clearly separated groups in the infinite-width limit."}}
hues = ["blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "yellow", "cyan"]


def principal_components(gram):
    """Two principal components of vectors with these inner products."""
    centre = np.eye(words) - 1 / words
    values, vectors = np.linalg.eigh(centre @ gram.astype(float) @ centre)
    return vectors[:, :-3:-1] * np.sqrt(values[:-3:-1])


fig, axes = plt.subplots(1, 3, figsize=(7.8, 3.1))
for ax, gram, title in (
    (axes[0], similarities(kernel_path)[-1], f"NTK, $n = {kernel_width}$"),
    (
        axes[1],
        similarities(finite[embedding_widths[0]])[0, -1],
        f"µP, $n = {embedding_widths[0]}$",
    ),
    (axes[2], similarities(path)[-1], r"µP, $n = \infty$"),
):
    place = principal_components(gram)
    for form in range(forms):
        of_form = place[form::forms]
        ax.plot(*of_form.T, "o", ms=4, color=PALETTE[hues[form % len(hues)]])
    ax.set(title=title, aspect="equal", xticks=[], yticks=[], xlabel="first component")
    ax.set_box_aspect(1)
axes[0].set_ylabel("second component")
plt.show()

# %% [markdown]
# One dot a word, one colour a form, after training. The NTK network has arranged its words as its initialisation did.
# In $\mu$P the forms gather, at width 64 with the fuzz of the initial noise, and in the limit without it.
#
# ## What differs from the paper
#
# - The paper computes limits for Word2Vec on text8 and fil9 and for MAML on Omniglot, with vocabularies and training
#   times beyond this page. Our language has 60 words, a context of one word, and full-batch steps on exact counts, so
#   accuracies can be compared in order, not in number. (On a sampled corpus the limit over-fits: with some ten
#   thousand windows its accuracy falls again late in training.)
# - The limit computed here is that of a linear model. For nonlinear networks the limit exists too, but needs sampling.
# - The exponents are asymptotic statements; ours come from widths 128 to 2048, after ten small steps. At learning
#   rates a few times larger, finite-width corrections bend the standard parametrisation's slope. That the distance to
#   the linearisation falls like $n^{-2r}$ is an observation.
# - The advantage of infinite width over a finite one shrinks with training time, because learned similarities grow
#   and the initial noise does not. The kernel limit's disadvantage does not shrink.
#
# One consequence of $\mu$P has become more famous than the limit itself: hyperparameters found at a small width stay
# good at a large one {cite:p}`yang2022tensor`. Why that should be so is the subject of {doc}`learning-rate-transfer`.
#
# ## Things to try
#
# - `reprise run infinite-width-feature-learning -p steps 20`: the rule picks smaller rates for the same fall of the
#   loss, and the slopes stay, as the theory is for any fixed number of steps.
# - `reprise run infinite-width-feature-learning -p embedding_steps 400`: all widths improve and move closer to the
#   limit's accuracy.
# - `reprise run infinite-width-feature-learning -p embedding_rate 20`: the recursion starts to oscillate, and finite
#   networks no longer follow it.
# - `reprise sweep infinite-width-feature-learning -p stems=5,10,20 -p seed=0..4`: larger vocabularies have more ways
#   to be wrong; chance falls, the order of the widths stays.
# - In the library, make an `ABC` of your own, ask for its `feature_exponent`, and put it into `members` to see
#   whether it falls along its line.

# %%
paper.verdicts()
