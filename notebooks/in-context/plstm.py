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
# # pLSTM: parallelizable Linear Source Transition Mark networks
#
# A recurrent network reads a sentence from left to right, and nobody minds, because a sentence *has* a left and a
# right. An image does not. To feed one to a recurrent network it is usually cut into rows that are laid end to end,
# and two pixels that touch vertically end up a whole row apart. {cite:t}`poppel2025plstm` let the recurrence run over
# the image itself: every cell hears from its left and its upper neighbour, and speaks to its right and its lower one.
# The idea is as old as multi-dimensional LSTMs {cite:p}`graves2007multidimensional`. Two difficulties kept it rare,
# and the paper solves both by making the recurrence *linear* in the memory, with gates that depend on the input:
#
# 1. **It was sequential.** A linear recurrence can be cut into blocks, the blocks summarised independently, and the
#    summaries merged pairwise. The depth of the computation becomes logarithmic.
# 2. **It was unstable.** Between two cells of a grid there are not one but exponentially many paths. Their sum explodes,
#    or, with smaller gates, dies. Two ways of constraining the gates, a *directed* and a *diffusive* mode, keep it in
#    bounds over any distance.
#
# The page begins with a task in which only far-away information counts: does the arrow point at the circle? While two
# networks train on it, we look at what one cell can still tell the others, far away, in each of these modes; and then
# at whether the networks found out.
#
# ## Memory on edges
#
# Take any directed acyclic graph. Node $n$ has an input $u_n$ (a value; in the full layer a value times a key). The
# memory does not live on nodes but on the *edges* $e$, each with a cell $c_e$:
#
# $$c_e = \sum_{e'\ \text{enters}\ s(e)} T_{e e'}\, c_{e'} + S_e\, u_{s(e)}, \qquad
#   h_n = \sum_{e\ \text{enters}\ n} M_{n e}\, c_e ,$$
#
# where $s(e)$ is the node that $e$ starts from. The **source** $S$ writes a node's input to the edges that leave it,
# the **transition** $T$ carries the content of an edge through a node to the next edge, the **mark** $M$ reads the
# edges that arrive. (The node's own input can be added to its reading directly, with a gate of its own.) On a chain
# every node has one incoming and one outgoing edge, and the three are the input, forget and output gates of a linear
# LSTM.
#
# Since everything is linear in $u$, the whole layer is one matrix, the *influence* of every node on every other,
#
# $$h_n = \sum_m G_{nm}\,u_m, \qquad G_{nm} = \sum_{\text{paths } m \to n} M\,T\cdots T\,S = \bigl[M\,(I - T)^{-1} S\bigr]_{nm} ,$$
#
# a sum over all paths, with one factor $T$ for each edge-to-edge turn. $G$ plays the role that the attention matrix
# has in a transformer; multiplied by query-key products it becomes gated linear attention, the architecture that
# {doc}`in-context-gradient-descent` and {doc}`trained-linear-transformers` study without gates. On a sequence, with a gate
# for each channel, it is the transformer's rival in {doc}`in-context-discrete-functions`.
#
# On a grid every node has two incoming edges (from the left, from above) and two outgoing ones (right, down), so that
# $S$ and $M$ are two numbers each and $T$ is a $2\times2$ matrix: eight gates per node.
#
# ## Two stable modes
#
# With all gates 1, $G$ counts paths. From the origin to the cell $x$ to the right and $y$ down there are
# $\binom{x+y}{x}$ of them, about $2^n$ on the anti-diagonal $n = x + y$.
#
# **P-mode** (propagation). Let what enters a node from either side leave it once in total: a share $\alpha$ to the
# right, $1-\alpha$ downwards. A unit of memory then does a random walk. Its mass on each anti-diagonal stays 1 and
# spreads binomially,
#
# $$G(x, y) = \binom{x+y}{x}\,\alpha^x (1-\alpha)^y, \qquad \max_{x+y=n} G \approx \frac{1}{\sqrt{2\pi n\,\alpha(1-\alpha)}} ,$$
#
# a beam in the direction $(\alpha, 1-\alpha)$, whose peak fades like $n^{-1/2}$: a power, not an exponential.
#
# **D-mode** (diffusion). Forbid one of the two turns, say from downward to rightward. Then there is exactly *one*
# path between any two nodes, first right and then down, and the product of gates along it can be 1: $G = 1$ on the
# whole quadrant.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
share = 0.4  # alpha of the P-mode whose beam is measured
side = 8  # cells along each axis of the training scenes; tested at twice as many
heads = 8  # directions of the recurrent layer, for each of four flips
width = 8  # its channels, a multiple of heads
steps = 300  # Adam steps of the recurrent network
rate = 2.0e-2  # its learning rate, at the start of a cosine decay
vit_width = 32  # residual stream of the vision transformer, two blocks
vit_steps = 300  # its Adam steps
vit_rate = 5.0e-3  # its learning rate
batch = 24  # scenes in a step, all fresh
test_scenes = 300  # test scenes of each size, a multiple of 50

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from matplotlib.colors import LogNorm

from reprise.claims import open_paper
from reprise.networks.functional import functional, initialise
from reprise.networks.grid_recurrence import (
    GridGates,
    GridRecurrence,
    diffusive_gates,
    directed_gates,
    influence_by_merging,
    scan_grid,
)
from reprise.networks.mlp import Dense
from reprise.networks.positions import sinusoidal_positions
from reprise.networks.transformer import Transformer, normalise
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.fits import loglog_slope
from reprise.tasks.arrow_pointing import arrow_scenes, grid_tokens
from reprise.training.loop import fit

use_style()
paper = open_paper("plstm", globals())
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Does the arrow point at the circle?
#
# The authors' test of long-range direction: an image with an arrow and a circle somewhere, and a yes or no. Networks are
# trained at one image size and tested at a larger one, where the two are farther apart than they ever were in training.
#
# We replace the rendered image by a grid of tokens. The arrow's cell holds a flag and $(\cos\theta, \sin\theta)$ of
# one of 16 directions, the circle's cell another flag, all other cells zeros. The circle counts as hit if it lies
# within one cell of the ray (and within 30° of it, which matters next to the arrow); as missed if it is more than 30°
# off. `arrow_scenes` draws the two places first and then the label by a fair coin, so that neither distance nor
# position gives it away.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four scenes with an arrow and a circle on a grid, two of the training size and two of twice that size, half of them with the arrow pointing at the circle."}}
sides = (side, 2 * side)
tests = [arrow_scenes(rng, test_scenes, s) for s in sides]
fig, axes = plt.subplots(1, 4, figsize=(7.6, 2.3))
for ax, (which, label) in zip(axes, ((0, 1), (0, 0), (1, 1), (1, 0)), strict=True):
    scenes, cells = tests[which], sides[which]
    apart = np.hypot(*(scenes.circle - scenes.arrow).T) > cells / 3
    i = np.flatnonzero((scenes.label == label) & apart)[0]
    (ax_x, ax_y), (c_x, c_y), angle = scenes.arrow[i], scenes.circle[i], scenes.angle[i]
    length = cells / 10
    ax.arrow(
        ax_x - length * np.cos(angle), ax_y - length * np.sin(angle),
        2 * length * np.cos(angle), 2 * length * np.sin(angle),
        width=cells / 50, head_width=cells / 12, length_includes_head=True, color=PALETTE["blue"],
    )  # fmt: skip
    ax.scatter(c_x, c_y, s=70, facecolors="none", edgecolors=PALETTE["orange"], lw=2)
    ax.set(
        xlim=(-1, cells),
        ylim=(cells, -1),
        aspect="equal",
        title=f"{cells}×{cells}: {'hit' if label else 'miss'}",
    )
    ax.set_xticks(np.arange(cells + 1) - 0.5, [])
    ax.set_yticks(np.arange(cells + 1) - 0.5, [])
    ax.tick_params(length=0)
    ax.grid(alpha=0.6)
plt.show()

# %% [markdown]
# ### The recurrent network
#
# `GridRecurrence` is one layer in P-mode. For each of four flips of the grid (so that all four corners are starting
# points once) and for each head it computes from a cell's token
#
# $$\alpha = \sigma(b_\alpha + w_\alpha^\top x), \qquad s = \sigma(b_s + w_s^\top x), \qquad m = \sigma(b_m + w_m^\top x) ,$$
#
# with $\sigma$ the logistic function: the share $\alpha$ that goes right, the strength $s$ of the source, and the
# mark $m$. The biases $b_\alpha$ start evenly spread over $[-2, 2]$ across heads, as in the paper, so that heads
# begin as beams in different directions. The memory carries a linear map of the tokens, one channel for each head,
# and the readings of the four flips are averaged.
#
# Think of what this layer can do with one arrow. The arrow writes itself onto all beams, more strongly onto those
# that match its angle. A circle far away reads from each head $\binom{x+y}{x}\alpha^x(1-\alpha)^y$ times what was
# written. The binomial is the same for all heads. Their *ratios* are
# $(\alpha/\alpha')^x\,((1-\alpha)/(1-\alpha'))^y$: comparing two heads tells on which side of a line through the
# arrow the circle lies, and the farther away, the more clearly. But all of them are small. What has to come next is
# therefore a normalisation, which removes the common factor, and this is what the authors' layer does, too. We divide
# by the root mean square over all channels at the cell, append the token, apply one hidden layer of ReLUs at each
# cell, take the maximum over cells, and read the logit.


# %%
class PointingNetwork(nnx.Module):
    """One recurrent layer, normalised; an MLP at each cell; maximum over cells; a logit (the spacing has no say)."""

    def __init__(self, rngs):
        self.layer = GridRecurrence(4, width, heads, rngs=rngs)
        self.hidden = Dense(width + 4, 32, weight_std=2**0.5, rngs=rngs)
        self.readout = Dense(32, 1, rngs=rngs)

    def __call__(self, tokens, spacing=None):
        read = self.layer(tokens)
        read = read * jax.lax.rsqrt(jnp.mean(read**2, -1, keepdims=True) + 1e-8)
        features = jax.nn.relu(self.hidden(jnp.concatenate([read, tokens], -1)))
        return self.readout(features.max((1, 2)))[:, 0]


# %% [markdown]
# ### The transformer
#
# The opponent sees the same tokens: a vision transformer {cite:p}`dosovitskiy2021image` with two blocks, two
# attention heads, layer norm, and sinusoidal positions {cite:p}`vaswani2017attention` for both coordinates, which
# exist at any size. It, too, ends in a maximum over cells. At the larger size there are two ways to number the cells:
# go on counting (positions that were never seen), or squeeze the coordinates into the range of training (positions in
# between). Training is the same for both, so one trained network is tested both ways, and **the better one counts**.


# %%
def vision_transformer(model, tokens, spacing=1.0):
    """Logit of a transformer on the cells; neighbouring cells are ``spacing`` apart in its coordinates."""
    axis = jnp.arange(tokens.shape[1]) * spacing
    coordinates = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1)
    stream = model.embedding(tokens) + sinusoidal_positions(coordinates, vit_width)
    stream, _ = model.body(stream.reshape(len(tokens), -1, vit_width))
    return model.readout((normalise(stream) * model.gain[...] + model.shift[...]).max(1))[:, 0]


def make_transformer(rngs):
    shape = {"depth": 2, "heads": 2, "hidden": vit_width, "causal": False, "unroll": True}
    return Transformer(4, vit_width, 1, **shape, rngs=rngs)


# %% [markdown]
# Both are trained by Adam with a cosine decay, for the same number of steps, on scenes that never repeat; two runs
# each, with their own initialisation and their own scenes. The rates were chosen by the accuracy at the larger size
# in short trials with batches of 32: $2\times10^{-2}$ for the recurrent network, among $5\times10^{-3}$, $10^{-2}$
# and that; $5\times10^{-3}$ for the transformer, among $2\times10^{-3}$, that and $10^{-2}$, at which it learns less.
# The recurrent network's number of heads was chosen in the same way among 6, 8 and 12 (6 is worse, 12 about as good);
# the transformer's shape was set by the time it takes.


# %%
def training(apply, rate, steps):
    """Trains one network on the scenes of all its steps."""

    def loss(params, _, scenes):
        logits = apply(params, grid_tokens(scenes, side))
        return optax.sigmoid_binary_cross_entropy(logits, scenes.label).mean()

    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    return lambda params, scenes: fit(
        loss, params, optimizer, jax.random.key(0), steps, inputs=scenes
    )


def judge(apply, size):
    """Whether a trained network's answers are right, scene by scene, fifty at a time."""

    def right(params, scenes, spacing):
        chunks = jax.tree.map(lambda a: a.reshape(-1, 50, *a.shape[1:]), scenes)
        answer = lambda s: (apply(params, grid_tokens(s, size), spacing) > 0) == (s.label > 0.5)
        return jax.lax.map(answer, chunks).ravel()

    return right


# XLA's lower level of optimization: compiles faster, and the programs here are about as fast.
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})
runs = 2
networks = {"ViT": make_transformer, "pLSTM": PointingNetwork}
computes = {"ViT": vision_transformer, "pLSTM": PointingNetwork.__call__}
counts, rates = {"ViT": vit_steps, "pLSTM": steps}, {"ViT": vit_rate, "pLSTM": rate}
spacings = {
    "ViT": {side: (1.0,), 2 * side: (1.0, 0.5)},
    "pLSTM": {side: (1.0,), 2 * side: (1.0,)},
}
starts = {name: initialise(networks[name], rng, runs)[1] for name in ("pLSTM", "ViT")}
lessons = {
    name: jax.tree.map(
        lambda a: a.reshape(runs, -1, batch, *a.shape[1:]),
        arrow_scenes(rng, runs * counts[name] * batch, side),
    )
    for name in ("pLSTM", "ViT")
}
applies = {
    name: functional(nnx.eval_shape(lambda make=make: make(nnx.Rngs(0))), computes[name])[0]
    for name, make in networks.items()
}
nth = lambda tree, i: jax.tree.map(lambda a: a[i], tree)


def program(name):
    """The training of one network, traced and not yet compiled."""
    train = quickly_compiled(training(applies[name], rates[name], counts[name]))
    return train.lower(nth(starts[name], 0), nth(lessons[name], 0))


def exam(name, size, scenes):
    """Right answers of the trained networks, for each spacing; [spacing, run, scene]."""
    right = quickly_compiled(judge(applies[name], size))
    trained = [run.result()[0] for run in training_runs[name]]
    return np.array([[right(p, scenes, s) for p in trained] for s in spacings[name][size]])  # fmt: skip


# In the background, in this order: compile both, train both twice, compile and sit the exams.
pool = ThreadPoolExecutor(2)
compiled = {name: pool.submit(program(name).compile) for name in networks}
training_runs = {
    name: [
        pool.submit(
            lambda n, i: compiled[n].result()(nth(starts[n], i), nth(lessons[n], i)), name, i
        )
        for i in range(runs)
    ]
    for name in ("pLSTM", "ViT")
}
exams = {
    name: [pool.submit(exam, name, *sheet) for sheet in zip(sides, tests, strict=True)]
    for name in ("pLSTM", "ViT")
}

# %% [markdown]
# Training goes on in the background; we come back to it when it is done, and use the time to see what the recurrence
# has to offer.
#
# ## How far does a cell reach?
#
# `scan_grid` is the recurrence as written above, one anti-diagonal after the other (all nodes of an anti-diagonal can
# be updated at once; $X + Y - 1$ steps). We put a unit in the corner of a grid of $129\times129$ nodes and read it
# everywhere, in double precision, for constant gates: the beam in three directions, the diffusive mode, and gates
# without a mode: all transitions 1, and all transitions 0.45, the tempting remedy.

# %%
reach = 128
modes = [
    rf"P-mode, $\alpha = {share}$",
    r"P-mode, $\alpha = 0.2$",
    r"P-mode, $\alpha = 0.7$",
    "D-mode",
    "no mode, $T = 1$",
    "no mode, $T = 0.45$",
]


@quickly_compiled
def influence_of_corner(levels):
    """What every node reads of a unit in the corner, for gates that are one number (a level) everywhere."""
    a, b, c, one, remedy = levels[:, None, None] * jnp.ones(
        (reach + 1, reach + 1), levels.dtype
    )
    plain = lambda t: GridGates(
        jnp.stack([one] * 2, -1), jnp.stack([jnp.stack([t] * 2, -1)] * 2, -1), jnp.stack([one] * 2, -1)
    )  # fmt: skip
    gates = [directed_gates(a), directed_gates(b), directed_gates(c), diffusive_gates(one, one, one), plain(one), plain(remedy)]  # fmt: skip
    unit = jnp.zeros((reach + 1, reach + 1, 1), levels.dtype).at[0, 0].set(1.0)
    stacked = jax.tree.map(lambda *gates: jnp.stack(gates), *gates)
    return jax.vmap(scan_grid, (0, None))(stacked, unit)[..., 0]


with jax.enable_x64(True):
    influence = np.asarray(influence_of_corner(np.array([share, 0.2, 0.7, 1.0, 0.45])))

x = np.arange(reach + 1)
diagonals = np.array(
    [[G[x[: n + 1], n - x[: n + 1]].max() for n in range(1, reach + 1)] for G in influence]
)
masses = np.array(
    [[G[x[: n + 1], n - x[: n + 1]].sum() for n in range(1, reach + 1)] for G in influence]
)
distance = np.arange(1, reach + 1)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Six heat maps of the influence of the corner cell on a 33 by 33 grid: three beams in different directions, a uniform quadrant, a wedge that explodes along the diagonal, and one that dies out."}}
shown = 32
fig, axes = plt.subplots(2, 3, figsize=(7.6, 5.2), sharex=True, sharey=True)
order = [1, 0, 2, 3, 4, 5]
for ax, i in zip(axes.flat, order, strict=True):
    picture = np.where(influence[i] > 0, influence[i], np.nan)[: shown + 1, : shown + 1].T
    picture[0, 0] = np.nan
    image = ax.imshow(
        picture,
        norm=LogNorm(1e-4, 1e4),
        cmap="RdBu_r",
        extent=(-0.5, shown + 0.5, shown + 0.5, -0.5),
    )
    ax.set_title(modes[i])
    ax.grid(False)
for ax in axes[1]:
    ax.set_xlabel("cells to the right")
for ax in axes[:, 0]:
    ax.set_ylabel("cells down")
fig.colorbar(image, ax=axes, label="influence $G$", extend="both", shrink=0.8)
plt.show()

# %% [markdown]
# White is an influence of 1, and colours are logarithmic. In the P-mode (top) a beam points where $\alpha$ says and
# reaches the end of the picture with little loss; beside it the influence falls off steeply. In the D-mode the whole
# quadrant is told everything. Without a mode, transitions of 1 explode along the diagonal, and transitions of 0.45
# lose the signal: only 1/2 would be stable, and a trainable parameter does not stay on a knife's edge.
#
# Now in numbers. For each mode we take the largest influence on each anti-diagonal.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: largest influence against distance on a logarithmic scale, exploding without a mode at transition 1, dying at 0.45, flat in the D-mode, slowly falling in the P-mode. Right: the P-mode curves on double logarithmic axes follow the predicted inverse square root."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.6))
colors = [PALETTE[c] for c in ("blue", "cyan", "purple", "green", "red", "orange")]
for i in (4, 3, 0, 5):
    axes[0].plot(distance, diagonals[i], color=colors[i], label=modes[i])
axes[0].plot(
    distance, 2.0**distance / np.sqrt(np.pi * distance / 2), ":", color=THEORY, label="theory"
)
axes[0].set(
    yscale="log", ylim=(1e-8, 1e20), xlabel="distance $n$ (steps)", ylabel="largest influence"
)
axes[0].legend(loc="center right", bbox_to_anchor=(1, 0.62), fontsize=9)
for i, alpha in ((1, 0.2), (0, share), (2, 0.7)):
    axes[1].plot(distance, diagonals[i], color=colors[i], label=modes[i])
    line = 1 / np.sqrt(2 * np.pi * distance * alpha * (1 - alpha))
    axes[1].plot(distance, line, ":", color=THEORY, label="theory" if i == 2 else None)
axes[1].set(xscale="log", yscale="log", xlabel="distance $n$ (steps)")
axes[1].set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
axes[1].set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
axes[1].minorticks_off()
axes[1].legend()
plt.show()

# %% [markdown]
# Left: one straight line up, one straight line down (exponentials, on this scale) and two that stay. Right: the beams
# on logarithmic axes, with the dotted asymptote of the binomial's peak. The small steps in the curves are the
# lattice: the peak must sit on a cell.
#
# The claims. The beam's exponent is fitted over $n = 16, \dots, 128$, and counts only if every anti-diagonal holds a
# mass of 1 to within $10^{-9}$, which is what the P-mode promises.

# %%
conserved = np.abs(masses[0] - 1).max() < 1e-9
far = distance >= 16
slope = loglog_slope(distance[far], diagonals[0][far])
print(f"largest deviation of the mass from 1: {np.abs(masses[0] - 1).max():.1e}")
paper.report("p-mode-beam", slope if conserved else np.nan)

# %% [markdown]
# Without a mode, the largest influence at distance $n$ is the central binomial coefficient. By Stirling's formula its
# logarithm divided by $n$ is $\ln 2 - \ln(\pi n/2)/(2n)$. The claim is the difference at $n = 64$, and counts only if
# the D-mode's influence is 1 everywhere on anti-diagonals 1 to 64.

# %%
n = 64
growth = np.log(diagonals[4][n - 1]) / n
cells = np.add.outer(x, x)
deviation = np.abs(influence[3] - 1)[(cells >= 1) & (cells <= n)].max()
print(f"growth {growth:.4f} a step; largest deviation of the D-mode from 1: {deviation:.1e}")
excess = growth - (np.log(2) - np.log(np.pi * n / 2) / (2 * n))
paper.report("modes-stabilise", excess if deviation < 1e-9 else np.nan)

# %% [markdown]
# ## In parallel
#
# Cut the grid into blocks. A block of $w\times l$ nodes is a linear operator with few terminals: $l$ edges enter it
# on the left and $w$ at the top, $l$ leave it on the right and $w$ at the bottom. What it does to the rest of the
# world is a transition matrix from entering to leaving edges, a source matrix from its nodes to the leaving edges, a
# mark matrix from the entering edges to its nodes, and inside it, the influence of its nodes on one another. Put
# block $b$ to the right of block $a$, and the four are composed. What leaves $a$ on the right ($r$) enters $b$ on the
# left ($\ell$), so for instance
#
# $$T^{r\ell}_{ab} = T^{r\ell}_b\,T^{r\ell}_a, \qquad S^{r}_{ab} = \bigl[\,T^{r\ell}_b S^r_a,\; S^r_b\,\bigr], \qquad
#   G_{ab} = \begin{pmatrix} G_a & 0 \\ M^\ell_b\,S^r_a & G_b \end{pmatrix} .$$
#
# This is associative, like the composition of any linear maps, and that is all a parallel scan needs
# {cite:p}`blelloch1990prefix`. `influence_by_merging` starts with single nodes and doubles the blocks in turn to the
# right and downwards. A $16\times16$ grid takes 8 merges one after the other, where the recurrence takes 31 steps.
# (Fewer rounds are not less work, and not less time on a processor that has nothing idle: see the end of the page.)
#
# Both are exact, so they must agree, for any gates. We draw all eight gates of every node uniformly from $[-1, 1]$ and
# compare the readings of four random inputs. (Random signs keep the sums over paths from exploding.)

# %%
size, draws = 16, 4
gates = GridGates(
    *(rng.uniform(-1, 1, (draws, size, size, *shape)) for shape in ((2,), (2, 2), (2,)))
)
inputs = rng.normal(size=(draws, size, size, 4))
with jax.enable_x64(True):
    by_steps = np.asarray(quickly_compiled(jax.vmap(scan_grid))(gates, inputs))
    merged = np.asarray(quickly_compiled(jax.vmap(influence_by_merging))(gates))
by_merging = np.einsum("dxyab,dabc->dxyc", merged, inputs)
largest = np.abs(by_steps).max((1, 2, 3))
differences = np.abs(by_merging - by_steps).max((1, 2, 3)) / largest
paper.report("parallel-equals-recurrent", differences.max(), samples=differences)

# %% [markdown]
# ## What the networks learned
#
# Back to the arrow. Accuracies of the two runs, at the size of training and at twice that size:

# %%
plstm_loss, vit_loss = (
    np.stack([run.result()[1]["loss"] for run in training_runs[name]])
    for name in ("pLSTM", "ViT")
)
(plstm_small,), (plstm_large,) = (task.result() for task in exams["pLSTM"])
(vit_small,), (vit_counting, vit_squeezed) = (task.result() for task in exams["ViT"])
pool.shutdown()
accuracy = {
    "pLSTM": (plstm_small.mean(1), plstm_large.mean(1)),
    "ViT, counting on": (vit_small.mean(1), vit_counting.mean(1)),
    "ViT, squeezed": (vit_small.mean(1), vit_squeezed.mean(1)),
}
for name, (small, large) in accuracy.items():
    print(
        f"{name:17s} {side}x{side}: {small.round(3)}   {2 * side}x{2 * side}: {large.round(3)}"
    )

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: training losses of both networks. Right: accuracy against the distance between arrow and circle at the larger size; the transformer that counts on is at chance, the squeezed one and the recurrent network stay high."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.5))
for losses, count, color, name in (
    (plstm_loss, steps, "blue", "pLSTM"),
    (vit_loss, vit_steps, "red", "ViT"),
):
    window = max(count // 40, 1)
    smooth = losses[:, : count // window * window].reshape(runs, -1, window).mean(-1)
    for i, curve in enumerate(smooth):
        axes[0].plot(
            (np.arange(curve.size) + 0.5) * window,
            curve,
            color=PALETTE[color],
            label=None if i else name,
        )
axes[0].axhline(np.log(2), color=PALETTE["grey"], ls=":", label="a coin")
axes[0].set(xlabel="Adam steps", ylabel=f"training loss at {side}×{side} (nats)", ylim=(0, 0.8))
axes[0].legend()
edges = np.r_[0.9, side * np.array([0.33, 0.66, 1, 1.33, 1.66, 3])]
far_apart = np.hypot(*(tests[1].circle - tests[1].arrow).T)
middle = 0.5 * (edges[1:-1] + edges[:-2])
for right, color, style, name in (
    (plstm_large, "blue", "o-", "pLSTM"),
    (vit_squeezed, "red", "s-", "ViT, squeezed"),
    (vit_counting, "orange", "^-", "ViT, counting on"),
):
    inside = [
        (far_apart > low) & (far_apart <= high)
        for low, high in zip(edges[:-2], edges[1:-1], strict=True)
    ]
    axes[1].plot(
        middle,
        [right[:, mask].mean() for mask in inside],
        style,
        color=PALETTE[color],
        label=name,
    )
axes[1].axhline(0.5, color=PALETTE["grey"], ls=":")
axes[1].axvline(side, color=PALETTE["grey"], lw=1)
axes[1].set(
    xlabel="cells from arrow to circle",
    ylabel=f"accuracy at {2 * side}×{2 * side}",
    ylim=(0.4, 1.02),
)
axes[1].legend(loc="center right", bbox_to_anchor=(1, 0.47))
plt.show()

# %% [markdown]
# Left: both networks learn the task. Right: scenes of twice the training size, sorted by the distance from arrow to
# circle; beyond the grey line the distance is longer than the side of a training scene. The recurrent network (blue)
# has not been told that the grid has grown. The transformer that goes on counting its positions (orange) is left with
# little more than a coin: the embeddings of the new positions mean nothing to it. Squeezed into known coordinates
# (red), the same network recovers most of its accuracy, and shows where the price is paid: at *short* distances. Two
# neighbouring cells are now half a unit apart, closer than any two it has been trained on.
#
# ### Does the recurrent network keep its accuracy?
#
# The claim: accuracy at the large size over accuracy at the training size, means over the two runs. It counts only if
# the task was learned, with an accuracy of at least 0.8 at the training size.

# %%
small, large = accuracy["pLSTM"]
kept = large.mean() / small.mean()
paper.report("arrow-learned", kept if small.mean() >= 0.8 else 0.0, samples=large / small)

# %% [markdown]
# It does. With nothing in the network that knows the size of the grid, a beam simply goes on.
#
# ### And does the transformer lose it?
#
# The claim is the difference at the large size to the *better* of the two ways to number cells, better by the mean of
# the two runs.

# %%
vit_large = max((vit_counting.mean(1), vit_squeezed.mean(1)), key=np.mean)
gaps = large - vit_large
paper.report("arrow-extrapolation", large.mean() - vit_large.mean(), samples=gaps)

# %% [markdown]
# Against the transformer that goes on counting, the recurrent network wins everything there is to win. Against the
# squeezed one the difference is smaller, and it is that one which counts. Two things favour the transformer here in
# comparison with the paper. An arrow is one token with its angle given in two numbers, whereas in an image it has to
# be seen first; and one attention step takes angle and place from the arrow to the circle, over any distance. What it
# lacks is an idea of space that does not depend on the size of the scene. The recurrence has one: a beam simply goes
# on.
#
# Read the difference together with the printed accuracies at the training size: the transformer learns more slowly
# here and starts from behind, so that only a part of the difference to the squeezed one is accuracy lost on the way
# to the larger grid. The drop of the one that counts on is far beyond that.
#
# ## What differs from the paper
#
# - **Tokens, not images.** The paper renders arrows and circles into images of 192 pixels and tests at 384, in
#   patches of 16. Here the patches' content is given.
# - **Size.** One recurrent layer with eight heads, two transformer blocks, some hundreds of small batches; the
#   paper trains twelve blocks on 100 000 images. The transformer would go on improving with more steps (see below),
#   and then the difference at the larger size changes, too. Two runs are few: their accuracies scatter by a few
#   hundredths, and so does the difference.
# - **The layer** carries one number per channel. The paper's carries a matrix, written by keys and read by queries,
#   mixes in convolutions, alternates P- and D-mode from block to block, and ties the source to the transition
#   without a strength of its own. The strength $s$ matters in a single layer: when flips are averaged it is the
#   only way for an arrow to address one of the four. The authors normalise each head's reading; with one number per
#   channel this would divide the signal by itself, so we normalise over all channels.
# - **The parallel form** is checked for exactness and counted in levels. `influence_by_merging` writes out the whole
#   matrix $G$, so that it does far more arithmetic than the recurrence, and on two CPU cores it loses: the page
#   *Performance* of this book has the times, and the larger the grid the worse they are. What the paper gains comes
#   from units that would be idle otherwise, and from blocks small enough to fit them; speed on an accelerator is not
#   measured here. The networks of this page are trained by the recurrence.
# - Molecular graphs and image classification, where the paper shows that the layer is also good at ordinary things,
#   are out of reach for this page.
#
# ## Things to try
#
# - `reprise run plstm -p share 0.1`: a beam that is almost horizontal. Its peak is higher, by
#   $1/\sqrt{\alpha(1-\alpha)}$, and it reaches the asymptote later.
# - `reprise run plstm -p steps 1200 -p vit_steps 1200`: both networks at four times the training. Does the squeezed
#   transformer catch up?
# - `reprise run plstm -p heads 2 -p width 8`: with two directions in each quadrant the circle can compare only two
#   beams, and the accuracy falls at both sizes.
# - `reprise sweep plstm -p seed=0..4 -p side=6,8,10`: a larger training scene separates directions better.
# - In the notebook: leave out the normalisation in `PointingNetwork`, the line that removes the common factor of
#   all beams. What is learned at one size then no longer holds at another.
# - In the library: `influence_on_graph(S, T, M)` solves any directed acyclic graph. Try a tree, and then add edges
#   until there are many paths.

# %%
paper.verdicts()
