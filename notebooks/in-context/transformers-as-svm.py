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
# # Transformers as Support Vector Machines
#
# Attention {cite:p}`vaswani2017attention` chooses: for every query it puts its weight on some tokens and not on others.
# Training decides *which*, but the training loss does not decide *how*. If a token is worth selecting, then any
# key-query matrix $W$ that ranks it first can be multiplied by a larger and larger number, attention becomes one-hot,
# and the loss falls towards the same limit. There are infinitely many such matrices. Which one does gradient descent
# find?
#
# {cite:t}`tarzanagh2023transformers` give an answer from another age of machine learning: it finds the
# **maximum-margin** one. The norm of $W$ grows without bound, but its *direction* converges to the solution of a
# hard-margin support vector machine {cite:p}`cortes1995support` that separates, in each input, the selected token from
# the others. And the way in which the matrix is written matters: trained as one matrix, $W$ minimises the Frobenius
# norm; trained as a product $W = KQ^\top$ of keys and queries, as in a transformer, it minimises the *nuclear* norm,
# and so has low rank.
#
# This can be held against numbers, since both support vector machines can be solved exactly without any training. The
# first figure shows what is to be explained: a path that turns, grows, and settles on a ray that was computed
# beforehand.
#
# ## One head of attention
#
# A data set has $n$ inputs. Input $i$ consists of $T$ tokens $x_{i1}, \dots, x_{iT} \in \mathbb R^d$, a query
# $z_i \in \mathbb R^d$ (here the first token, $z_i = x_{i1}$: self-attention) and a label $Y_i = \pm1$. The model
# attends and reads out with a fixed vector $v$:
#
# $$f(X_i) = \sum_t p_{it}\, v^\top x_{it}, \qquad p_i = \mathrm{softmax}(L_i), \qquad L_{it} = x_{it}^\top W z_i .$$
#
# Only $W \in \mathbb R^{d\times d}$ is trained, on the logistic loss $\frac1n\sum_i\log(1 + e^{-Y_if(X_i)})$. All that
# the loss sees of a token is its **score** $\gamma_{it} = Y_i v^\top x_{it}$, the signed prediction that the model
# would make if it looked at nothing else: $Y_if(X_i) = \sum_tp_{it}\gamma_{it}$ is a weighted mean of scores. It is
# largest when all weight goes to the token with the highest score, the *globally optimal* token of the input.
#
# ## Where the support vectors come from
#
# Suppose that training selects token $a_i$ in input $i$, so that $W$ has become large and
#
# $$\begin{gathered}
# L_{ia_i} - L_{it} = (x_{ia_i} - x_{it})^\top W z_i = \langle A_{it}, W\rangle > 0 \quad\text{for } t\ne a_i,\\
# A_{it} = (x_{ia_i} - x_{it})\,z_i^\top .
# \end{gathered}$$
#
# A logit gap is a linear function of $W$: the inner product with a matrix $A_{it}$ of rank one. The other tokens still
# hold the exponentially small weight $p_{it} \approx e^{-\langle A_{it}, W\rangle}$, and so the gradient is, up to a
# positive factor for each input,
#
# $$-\nabla L \;\propto\; \sum_i\sum_{t\ne a_i} e^{-\langle A_{it}, W\rangle}\,(\gamma_{ia_i} - \gamma_{it})\, A_{it} .$$
#
# As $W$ grows, the terms with the smallest gap outgrow all others, and $W$ is pushed along a combination of *their*
# matrices $A_{it}$. A direction that keeps itself up must then be a combination, with positive weights, of the
# constraints that it satisfies most narrowly. These are the optimality (KKT) conditions of
#
# $$W^{\rm mm} = \arg\min_W \lVert W\rVert_F \;\;\text{s.t.}\;\; \langle A_{it}, W\rangle \ge 1
#   \;\;\forall\, i,\; t\ne a_i, \tag{Att-SVM}$$
#
# and the narrow constraints are its support vectors. It is the argument by which gradient descent on separable data
# finds the maximum-margin classifier {cite:p}`soudry2018implicit`, with pairs of tokens for data points. Two
# differences make attention harder. The factor $\gamma_{ia_i} - \gamma_{it}$ may be negative: then the token $t$ pulls
# the other way. And the problem is not convex: *which* tokens are selected is itself an outcome. A choice is **locally
# optimal** if in every input the selected token has a higher score than the tokens on its margin. It need not have the
# highest score of all.
#
# Now write $W = KQ^\top$ and train the factors. Growing them equally fast in all directions limits
# $\lVert K\rVert_F^2 + \lVert Q\rVert_F^2$, and the least that a given $W$ costs in this currency is
#
# $$\min_{KQ^\top = W} \tfrac12\bigl(\lVert K\rVert_F^2 + \lVert Q\rVert_F^2\bigr) = \lVert W\rVert_\star ,$$
#
# the nuclear norm, the sum of singular values {cite:p}`srebro2005maximum`. The same constraints with this norm are
# called Att-SVM$_\star$, with solution $W^{\rm mm}_\star$.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
problems = 32  # random data sets on which the direction of training is compared with its SVM
inputs = 4  # n, inputs of each of them
tokens = 5  # T, tokens of each input
dim = 8  # d, size of a token
rate = 0.1  # length of a step of normalised gradient descent
steps = 3000  # steps when W is trained
factor_steps = 6000  # steps when K and Q are trained
init = 0.1  # standard deviation of the entries of K and Q at the start
separability_problems = 100  # data sets whose separability is decided, at every dimension
sweep_dims = [
    2,
    4,
    8,
    16,
    32,
]  # dimensions at which the tokens selected are counted; 4 and 32 are compared
runs = 256  # data sets at each of these dimensions
sweep_steps = 1000  # steps of normalised gradient descent there

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from threadpoolctl import threadpool_limits

from reprise.claims import open_paper
from reprise.networks.attention_head import (
    attention_logits,
    logit_descent,
    logit_kernel,
    rescaled_selection_loss,
    selection_loss,
)
from reprise.numerics.margins import least_norm_margin, nuclear_norm_margin, separable
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.tasks.token_selection import (
    locally_optimal,
    random_problem,
    selection_constraints,
)
from reprise.training.background import start
from reprise.training.loop import fit

jax.config.update("jax_enable_x64", True)  # small gaps decide between directions
threadpool_limits(1)  # on small matrices BLAS threads would mostly wait for each other
use_style()
paper = open_paper("transformers-as-svm", globals())

# %% [markdown]
# ## The data sets
#
# Tokens and readout $v$ are uniform on the unit sphere of $\mathbb R^d$, labels are fair coins. There is nothing to
# generalise to; the subject is where optimisation goes. All data sets are trained at once. One more travels with them
# for the first figure: two inputs in the plane, written into arrays of the same shape (with zeros for the other
# coordinates and each input repeated, which changes the direction of no gradient). Four times as many, drawn along with
# them, wait for the last question of this page.

# %%
key_data, key_factors, key_separate, key_choice, key_sweep, key_random = jax.random.split(
    jax.random.key(seed), 6
)
draw = lambda key, within: random_problem(key, inputs, tokens, dim, within=within)
keys = [jax.random.split(key_data, problems + 1)]
keys.append(jax.random.split(jax.random.fold_in(key_data, 0), 4 * problems))
sizes = np.array([dim] * problems + [2] + [dim] * 4 * problems)
every = jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(jnp.concatenate(keys), sizes))
data = jax.tree.map(
    lambda leaf: np.concatenate([leaf[:problems], leaf[[problems]][:, np.arange(inputs) % 2]]),
    every,
)
more_data = jax.tree.map(lambda leaf: leaf[problems + 1 :], every)

# %% [markdown]
# ## Training to infinity
#
# The theorems speak of directions at infinite norm. Under plain gradient descent the norm grows like the logarithm of
# time and the direction converges as slowly, so the paper's experiments, and ours, *normalise*: every step has the same
# length, $W \leftarrow W - \eta\,\nabla L/\lVert\nabla L\rVert_F$ from $W = 0$. For $K$ and $Q$, which start as small
# Gaussian matrices of full rank, the two gradients are divided by their common norm.
#
# There is a trap. A head that has saturated has a gradient of size $e^{-\text{gap}}$, and its direction is what we are
# after. Automatic differentiation through a softmax forms $1 - p_{a}$; once the gap passes 36, this is zero in double
# precision and what remains of the gradient is rounding noise, which normalisation then blows up to full length. For
# $K$ and $Q$ gaps reach thousands, where $e^{-\text{gap}}$ itself underflows. The cure is to compute differences to the
# attended token $s$, with $\delta_{t} = \gamma_{t} - \gamma_{s}$,
#
# $$\frac{\partial}{\partial L_{t}}\sum_u p_{u}\gamma_{u} = p_{t}\Bigl(\delta_{t} - \sum_u p_{u}\delta_{u}\Bigr), \qquad
#   p_t \propto e^{-(L_s - L_t)},$$
#
# and to multiply by $e^{c}$, where $c$ is the smallest gap of the data set, *inside* the exponent. A common factor does
# not change the direction. `rescaled_selection_loss` is the loss with this gradient; any parametrisation of the logits
# can be differentiated through it.
#
# Along with the two runs go two controls: normalised descent with the gradient that plain automatic differentiation
# gives, and gradient descent without normalisation, at step size 1.


# %%
product = lambda factors: factors["K"] @ factors["Q"].T


def descend(start, steps, weight=lambda w: w, loss=rescaled_selection_loss, normalised=True):
    """Train one head a data set; W at 301 times along the way, from start to end."""
    step = optax.normalize_by_update_norm(eps=1e-300) if normalised else optax.scale(1 / rate)
    optimizer = optax.chain(step, optax.sgd(rate))

    def one(problem, start):
        objective = lambda params, _: loss(
            attention_logits(problem.tokens, problem.queries, weight(params)), problem.scores
        )
        every = steps // 300
        return fit(
            objective, start, optimizer, key_data, every * 300, watch=weight, watch_every=every
        )[1]["watch"]

    return np.asarray(jax.jit(jax.vmap(one))(data, start))


zero = jnp.zeros((problems + 1, dim, dim))
factors = init * jax.random.normal(key_factors, (2, problems + 1, dim, dim))
jobs = [
    partial(descend, {"K": factors[0], "Q": factors[1]}, factor_steps, product),
    partial(descend, zero, steps),
    partial(descend, zero, steps, loss=selection_loss),
    partial(descend, zero, steps, loss=selection_loss, normalised=False),
]
with ThreadPoolExecutor(2) as pool:  # compile two programs at a time
    by_factors, by_matrix, by_autodiff, by_plain = pool.map(lambda job: job(), jobs)


def svm_target(problem, logits):
    """The tokens that logits select, and the constraint matrices of this selection: the SVM to compare with."""
    chosen = jnp.argmax(logits, -1)
    return chosen, selection_constraints(problem, chosen)


@jax.jit
@jax.vmap
def outcome(problem, weight):
    """Tokens selected, the attention they get, and the constraint matrices of this selection."""
    logits = attention_logits(problem.tokens, problem.queries, weight)
    chosen, matrices = svm_target(problem, logits)
    return chosen, jax.nn.softmax(logits, -1).max(-1), matrices


chosen, attention, constraints = map(np.asarray, outcome(data, by_matrix[:, -1]))
chosen_f, attention_f, constraints_f = map(np.asarray, outcome(data, by_factors[:, -1]))

# %% [markdown]
# ## The two support vector machines
#
# Both are convex, and have duals of the same form: for a norm with dual norm $\lVert\cdot\rVert_*$,
#
# $$\min_{\langle A_j, W\rangle\ge1}\lVert W\rVert \;=\; \max_{\lambda\ge0,\;\lVert\sum_j\lambda_jA_j\rVert_*\le1}\;\sum_j\lambda_j .$$
#
# A feasible $W$ bounds the value from above, a feasible $\lambda$ from below. If the two bounds meet, both are
# solutions, whoever found them. `least_norm_margin` solves the Frobenius case exactly, by the active-set method of
# {cite:t}`lawson1974solving`. `nuclear_norm_margin` solves the nuclear case (where the dual norm is the largest
# singular value) by alternating between shrinking singular values and restoring the constraints
# {cite:p}`combettes2011proximal`. Neither uses factors, gradients of the loss or a guess of the rank.

# %%
nuclear = jax.jit(jax.vmap(nuclear_norm_margin))
frobenius_svm = [least_norm_margin(a) for a in constraints]
frobenius_svm_f = [least_norm_margin(a) for a in constraints_f]
nuclear_svm, nuclear_svm_f = (
    nuclear(jnp.asarray(constraints)),
    nuclear(jnp.asarray(constraints_f)),
)
w_fro, w_fro_f = (
    np.stack([svm.point for svm in svms]) for svms in (frobenius_svm, frobenius_svm_f)
)
w_nuc, w_nuc_f = np.asarray(nuclear_svm.point), np.asarray(nuclear_svm_f.point)
gaps = [svm.gap for svm in frobenius_svm[:problems] + frobenius_svm_f[:problems]]
gaps_n = np.stack([nuclear_svm.gap[:problems], nuclear_svm_f.gap[:problems]])
print(f"largest relative duality gap: Frobenius {np.abs(gaps).max():.0e}", end=", ")
print(f"nuclear {np.abs(gaps_n).max():.0e} (median {np.median(np.abs(gaps_n)):.0e})")


def cosine(a, b):
    """Correlation <a, b> / (|a| |b|) of matrices."""
    inner = lambda x, y: np.sum(x * y, axis=(-2, -1))
    return inner(a, b) / np.sqrt(np.maximum(inner(a, a) * inner(b, b), 1e-300))


# %% tags=["hide-input"] mystnb={"image": {"alt": "Two circles with five tokens each. From the centre of each a path of W z turns until it runs along a dashed ray, the direction that the support vector machine gives; the selected token is ringed."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.9))
for i, ax in enumerate(axes):
    points, score = data.tokens[-1, i, :, :2], data.scores[-1, i]
    reach = lambda v: 0.42 * np.log10(1 + np.linalg.norm(v, axis=-1, keepdims=True))
    path = (by_matrix[-1] @ data.queries[-1, i])[:, :2]
    ray = (w_fro[-1] @ data.queries[-1, i])[:2]
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=PALETTE["grey"], lw=0.8))
    shown = path[1:] / np.linalg.norm(path[1:], axis=1, keepdims=True) * reach(path[1:])
    ax.plot(*np.vstack([[0, 0], shown]).T, color=PALETTE["blue"], label="training, $Wz_i$")
    ray = ray / np.linalg.norm(ray) * 1.45
    ax.plot(
        [0, ray[0]], [0, ray[1]], "--", color=THEORY, label=r"SVM, $W^{\rm mm}z_i$", zorder=1
    )
    dots = ax.scatter(
        *points.T, c=score, vmin=-1, vmax=1, s=60, zorder=3, cmap="RdYlBu", ec="k", lw=0.6
    )
    ax.scatter(
        *points[chosen[-1, i]],
        s=220,
        fc="none",
        ec=PALETTE["red"],
        lw=1.8,
        label="selected token",
    )
    ax.annotate(
        "query", points[0], xytext=(-4, 9), textcoords="offset points", ha="center", fontsize=10
    )
    ax.set(
        title=f"input {i + 1}",
        aspect="equal",
        xlim=(-1.5, 1.5),
        ylim=(-1.5, 1.5),
        xticks=[],
        yticks=[],
    )
    ax.grid(False)
    ax.spines[:].set_visible(False)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
fig.colorbar(dots, ax=axes, label=r"score $\gamma_{it}$", shrink=0.7)
plt.show()

# %% [markdown]
# Two inputs in the plane, tokens coloured by score. A token's logit is its inner product with $Wz_i$, so attention goes
# to the token furthest in the direction of $Wz_i$. The blue path is $Wz_i$ during training (its distance from the
# centre grows with the logarithm of the norm). It sets out along the first gradient, bends, and comes to lie along the
# dashed ray (for some seeds it is still turning at the last step), which the support vector machine computed from the
# tokens alone. The ray need not point *at* the ringed token: it points to where the nearest competitors fall behind
# equally far, and it does so for both inputs with one common $W$.
#
# ## The direction of training
#
# Now the same in $d = 8$ dimensions, over all data sets. The cosine between the trained matrix and each of the two
# support vector machines, at every time:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Cosines over training steps. Left, training W: the cosine with the Frobenius solution rises to one, that with the nuclear solution stays near 0.87. Right, training K and Q: the reverse."}}
fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.6, 3.6))
for ax, path, fro, nuc, last, title in (
    (axes[0], by_matrix, w_fro, w_nuc, steps, "training $W$"),
    (axes[1], by_factors, w_fro_f, w_nuc_f, factor_steps, "training $K$ and $Q$"),
):
    at = np.arange(1, 301) * (last // 300)
    for target, color, text in (
        (fro, "blue", "Frobenius SVM"),
        (nuc, "orange", "nuclear SVM"),
    ):
        values = cosine(path[:problems, 1:], target[:problems, None])
        band(ax, at, values, PALETTE[color], f"with {text}")
    ax.axhline(1, color=THEORY, ls=":", lw=1)
    ax.set(xscale="log", xlabel="steps", title=title, ylim=(0.5, 1.02))
axes[0].set(ylabel="cosine of $W$ with the solution")
axes[0].legend(loc="lower right")
plt.show()

# %% [markdown]
# Medians over data sets, with a band from the 10th to the 90th percentile. Left: trained as one matrix, $W$ turns to
# the Frobenius solution and not to the nuclear one. Right: with the same data, loss and steps, but as a product of
# factors, it turns to the nuclear one. The distance between the curves is the angle between the two solutions. The
# convergence of the factors is slower: their product must first lose the directions that its random start put into it,
# and a matrix of low rank that is nearly right holds on for long.
#
# The comparison is always with the SVM for the tokens that *this* run selected.

# %%
aligned = cosine(by_matrix[:problems, -1], w_fro[:problems])
paper.report("frobenius-direction", np.median(aligned), samples=aligned)

# %% [markdown]
# For the factors, the claim asks for more than alignment: the product must be *closer* to the nuclear than to the
# Frobenius solution, and have a cosine of at least 0.98 with the former, else $-1$ is reported.

# %%
with_nuclear = cosine(by_factors[:problems, -1], w_nuc_f[:problems])
with_frobenius = cosine(by_factors[:problems, -1], w_fro_f[:problems])
print(f"median cosine with the nuclear solution {np.median(with_nuclear):.4f}", end=", ")
print(f"with the Frobenius solution {np.median(with_frobenius):.4f}")
lead = with_nuclear - with_frobenius
paper.report(
    "nuclear-direction",
    np.median(lead) if np.median(with_nuclear) >= 0.98 else -1.0,
    samples=lead,
)

# %% [markdown]
# Has attention saturated? The largest attention probability of each input at the end, averaged over data sets and
# inputs; of the two runs we report the lower mean.

# %%
saturation = np.stack([attention[:problems].mean(1), attention_f[:problems].mean(1)])
print(f"smallest of all: {min(attention[:problems].min(), attention_f[:problems].min()):.6f}")
paper.report(
    "saturated-attention",
    saturation.mean(1).min(),
    samples=saturation[saturation.mean(1).argmin()],
)

# %% [markdown]
# ## Against what?
#
# A cosine near 1 in $d^2 = 64$ dimensions is not had by chance, but how near do cheaper explanations come? For the same
# data sets and the same target: a random direction; the first gradient; the end of gradient descent without
# normalisation; the end of normalised descent with the gradient of plain automatic differentiation. And, the other way
# round, the trained direction against the SVM of the *globally* optimal tokens, for those data sets in which training
# chose others.

# %%
w_global = np.stack(
    [
        least_norm_margin(a).point
        for a in np.asarray(
            jax.jit(jax.vmap(selection_constraints))(data, jnp.argmax(data.scores, -1))
        )
    ]
)[:problems]
elsewhere = (chosen[:problems] != data.scores[:problems].argmax(-1)).any(-1)
noise = np.asarray(jax.random.normal(key_random, zero.shape))
target = w_fro[:problems]
against = {
    "normalised descent": cosine(by_matrix[:problems, -1], target),
    "... with plain autodiff": cosine(by_autodiff[:problems, -1], target),
    "gradient descent, step 1": cosine(by_plain[:problems, -1], target),
    "first gradient": cosine(by_matrix[:problems, 1], target),
    "random direction": cosine(noise[:problems], target),
    "SVM of the best tokens,\nwhere others were chosen": cosine(
        by_matrix[:problems, -1], w_global
    )[elsewhere],
}

# %% tags=["hide-input"] mystnb={"image": {"alt": "Cosines with the SVM direction for each method as rows of dots: normalised descent sits at one, automatic differentiation and plain gradient descent below it, a random direction near zero."}}
fig, ax = plt.subplots(figsize=(7.2, 3.6))
jitter = np.linspace(-0.22, 0.22, problems)
for row, values in enumerate(against.values()):
    color = PALETTE["blue"] if row == 0 else PALETTE["red"] if row == 5 else PALETTE["grey"]
    ax.plot(values, row + jitter[: len(values)], "o", color=color, ms=4, alpha=0.7)
    if len(values):
        ax.plot([np.median(values)] * 2, [row - 0.32, row + 0.32], color=THEORY, lw=2)
ax.set_yticks(range(len(against)), list(against))
ax.invert_yaxis()
ax.axvline(1, color=THEORY, ls=":", lw=1)
ax.set(xlabel="cosine with the SVM direction", xlim=(-0.45, 1.03))
plt.show()

# %% [markdown]
# One dot a data set, medians as bars. Plain gradient descent is on its way, but its norm grows like a logarithm.
# Automatic differentiation is the instructive one: it runs without a warning, starts like the correct computation,
# passes a gap of 36, and *unlearns* the direction. The first gradient weighs all constraints where the end weighs only
# the support vectors. The last row says why the target must be the SVM of the tokens selected: where training settles
# on other tokens than the best ones, it points somewhere else altogether.
#
# ## Low rank
#
# The nuclear norm is to singular values what the $\ell_1$ norm is to coordinates: its minimisers are sparse. So the
# factors should end at a matrix of low rank, although they were free to have any.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Singular values relative to the largest: those of the trained W follow the Frobenius solution and fall slowly, those of the trained product KQ fall steeply after the first two or three, like the nuclear solution."}}
fig, ax = plt.subplots()
spectrum = lambda w: np.linalg.svd(w[:problems], compute_uv=False)
relative = lambda w: spectrum(w) / spectrum(w)[:, :1]
index = np.arange(1, dim + 1)
band(ax, index, relative(by_matrix[:, -1]), PALETTE["blue"], "training $W$", marker="o")
ax.plot(index, np.median(relative(w_fro), 0), "--", color=THEORY, label="Frobenius SVM")
band(
    ax,
    index,
    relative(by_factors[:, -1]),
    PALETTE["orange"],
    "training $K$ and $Q$",
    marker="s",
)
ax.plot(index, np.median(relative(w_nuc_f), 0), ":", color=THEORY, lw=2.2, label="nuclear SVM")
ax.set(xlabel="index of the singular value", ylabel="singular value / largest", xticks=index)
ax.legend()
plt.show()

# %% [markdown]
# Median singular values (bands as before). $W$ is a sum of outer products with the $n$ queries, so its rank is at most
# $n$ in any case, and the trained matrix uses all of it. The product of the factors keeps fewer directions, about as
# many as the nuclear solution, and the rest, which its full-rank start had put there, stays behind as the others grow.
#
# ## When is there anything to converge to?
#
# The constraints may contradict each other: one $W$ serves all inputs. The paper's first theorem says when they do not:
# if $d \ge \max(T - 1, n)$, then for almost every data set *any* choice of tokens is separable. The proof takes two
# lines. With $d \ge n$ the queries are linearly independent, so a matrix exists with any prescribed images
# $Wz_i = u_i$. With $d \ge T - 1$ the differences $x_{ia_i} - x_{it}$ of an input are linearly independent, so some
# $u_i$ has inner product 1 with all of them.
#
# The theorem is put to the test at its boundary: $T = 5$ tokens, $n = 6$ inputs, $d = 6$, tokens to select drawn at
# random, feasibility decided by linear programming. A test that everything passes would be worthless, so the same is
# done at $d = 2$, where 24 constraints meet 4 unknowns; if more than half of *those* problems turn out feasible, 0 is
# reported.

# %%
small_dims = np.arange(2, 9)
keys = jax.random.split(key_separate, separability_problems)
picks = jax.random.randint(key_choice, (separability_problems, 6), 0, 5)


@jax.jit
def drawn(within):
    """Constraints of all data sets at one dimension."""
    one = lambda key, pick: selection_constraints(
        random_problem(key, 6, 5, 8, within=within), pick
    )
    return jax.vmap(one)(keys, picks)


at_dimension = {d: np.asarray(drawn(d))[..., :d, :d] for d in small_dims}
by_program = {d: np.array([separable(a) for a in at_dimension[d]], float) for d in (2, 6)}
by_margin = {
    d: np.array([np.isfinite(least_norm_margin(a).primal) for a in many], float)
    for d, many in at_dimension.items()
}
print("share of separable data sets:", {int(d): float(v.mean()) for d, v in by_margin.items()})
print(
    "linear programs agree with them:",
    all((by_program[d] == by_margin[d]).all() for d in (2, 6)),
)

# %%
paper.report(
    "separability-threshold",
    by_program[6].mean() if by_program[2].mean() <= 0.5 else 0.0,
    samples=by_program[6],
)

# %% [markdown]
# ## Which tokens are selected?
#
# Separability says that every choice has a direction; it does not say which choice training makes. Here
# over-parametrisation enters for a second time. In few dimensions the gradients of different inputs interfere, and one
# input may have to give up its best token for another's sake. In many dimensions random queries are nearly orthogonal,
# and every input can follow its own gradient.
#
# To count outcomes for many data sets at many dimensions we do not need $W$. Logits are linear in it, so their tangent
# kernel ({doc}`neural-tangent-kernel`) is constant, $G_{(it),(js)} = (x_{it}^\top x_{js})(z_i^\top z_j)$, and a step of
# normalised descent on $W$ is the step
#
# $$L \;\leftarrow\; L - \eta\,\frac{G g}{\sqrt{g^\top G g}}, \qquad g = \nabla_L\,\text{loss},$$
#
# on the $nT$ logits, at the same cost for all $d$. The same Gram matrix is the kernel of the dual SVM: attention
# trained in this way *is* a kernel machine, as in {doc}`neural-network-svm-equivalence`.
#
# A run counts as *global* if it selects the best token in all $n = 6$ inputs (of $T = 8$ tokens), as *local* if it
# selects others that satisfy the definition of local optimality, and as *undecided* if some input still has no token
# with 99 % of the attention. Undecided runs are counted as not global. (`train_logits`, compiled beside `count`, is for
# the end of this section.)


# %%
def select(key, within):
    """Final logits and the data set, of one run."""
    problem = random_problem(key, 6, 8, max(sweep_dims), within=within)
    problem = jax.tree.map(jnp.float32, problem)  # enough to see which token wins
    kernel = logit_kernel(problem.tokens, problem.queries)
    return logit_descent(kernel, problem.scores, rate=rate, steps=sweep_steps), problem


def count(keys, within):
    """Of every run: whether the best tokens have been selected, whether decided, and its data set."""
    logits, problem = jax.lax.map(lambda many: select(*many), (keys, within), batch_size=64)
    picked, most = jnp.argmax(logits, -1), jax.nn.softmax(logits, -1).max(-1)
    return problem, picked, jnp.all(picked == problem.best, -1), jnp.all(most >= 0.99, -1)


@jax.vmap
def train_logits(problem):
    """The kernel, trained logits, tokens selected and constraints of both SVMs."""
    kernel = logit_kernel(problem.tokens, problem.queries)
    logits = logit_descent(kernel, problem.scores, rate=rate, steps=steps)
    chosen, own = svm_target(problem, logits)
    return (
        kernel,
        logits,
        chosen,
        jnp.stack([own, selection_constraints(problem, problem.best)]),
    )


within = np.repeat(sweep_dims, runs)
pool = ThreadPoolExecutor(2)  # a core for each program
counted = start(
    pool, count, jax.random.split(key_sweep, len(within)), jnp.asarray(within), double=True
)
further = start(pool, train_logits, more_data, double=True)
sets, picked, found_best, decided = counted.result()
share = lambda yes: np.asarray(yes, float).reshape(len(sweep_dims), runs)
at_best = share(found_best & decided)

# %% [markdown]
# Among the decided runs that missed the best tokens, how many are at a locally optimal choice, the only ones at which
# theory lets them stay? For each the SVM of its tokens is solved and its support tokens are examined (every other such
# run will do).

# %%
missed = np.flatnonzero(~found_best & decided)[::2]
their_sets = jax.tree.map(lambda leaf: np.asarray(leaf, float)[missed], sets)
their_tokens = np.asarray(picked)[missed]
matrices = np.asarray(jax.jit(jax.vmap(selection_constraints))(their_sets, their_tokens))
separators = np.stack([least_norm_margin(a).point for a in matrices])
local = np.asarray(jax.jit(jax.vmap(locally_optimal))(their_sets, their_tokens, separators))
print(f"locally optimal: {local.mean():.1%} of {len(missed)} runs that missed the best tokens")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: share of separable data sets over dimension, rising to one at d = 6. Right: stacked shares of global, local and undecided outcomes over dimension; the global share rises."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.5))
curve = np.array([by_margin[d].mean() for d in small_dims])
axes[0].plot(small_dims, curve, "o-", color=PALETTE["blue"])
axes[0].axvline(6, color=THEORY, ls="--", label=r"$d = \max(T-1, n)$")
axes[0].set(
    xlabel="dimension $d$",
    ylabel="share of separable data sets",
    title="$n = 6$, $T = 5$",
    ylim=(-0.03, 1.05),
)
axes[0].legend(loc="lower left", bbox_to_anchor=(0.1, 0.1))
undecided = share(~decided).mean(1)
rest = 1 - undecided - at_best.mean(1)
place = np.arange(len(sweep_dims))
bottom = np.zeros(len(sweep_dims))
for height, color, text in (
    (at_best.mean(1), "green", "best tokens (global)"),
    (rest, "orange", "others (local)"),
    (undecided, "grey", "undecided"),
):
    axes[1].bar(place, height, bottom=bottom, color=PALETTE[color], label=text)
    bottom = bottom + height
axes[1].set_xticks(place, sweep_dims)
axes[1].set(
    xlabel="dimension $d$", ylabel="share of runs", title="$n = 6$, $T = 8$", ylim=(0, 1)
)
axes[1].grid(False)
fig.legend(*axes[1].get_legend_handles_labels(), loc="outside lower right", ncols=3)
plt.show()

# %% [markdown]
# Left: the share of data sets in which a random choice of tokens can be separated. The theorem's threshold is
# sufficient, not necessary, and the share reaches 1 below it. Right: what training chose. The green share grows with
# the dimension, and the undecided runs of low dimension disappear. In the plane, where most choices cannot be
# separated, training gets nowhere; in four dimensions it mostly settles for less than the best; in 32 it rarely has to.
# Nearly all of the orange runs are at locally optimal choices. The few that are not look decided by the 99 % rule but
# are on their way elsewhere: with `sweep_steps` at 5000 there are fewer of them.

# %%
rises = at_best[sweep_dims.index(32)].mean() - at_best[sweep_dims.index(4)].mean()
paper.report("overparam-global", rises)

# %% [markdown]
# ### Where do the others go?
#
# It is one of the paper's main points that convergence can be towards *locally* optimal directions rather than the
# global one: not only other tokens, but another ray. The medians of the first experiment cannot tell. In most of its
# data sets the tokens selected are the best ones, and the two targets are the same. So here are four times as many
# data sets of its size (`train_logits`), of which only those count that select other tokens than the best.
#
# The kernel also spares us $W$ in measuring angles. Trained from zero, $W$ is a combination of the matrices
# $x_{it}z_i^\top$, as are both support vector machines, and the inner product of two such matrices with logits $L$ and
# $L'$ is $L^\top G^{-1}L'$. By how much is the cosine with the SVM of the run's own tokens above that with the SVM of
# the best? The claim takes the median. It is given $-1$ if there are fewer than three such data sets, or if the median
# cosine with a run's own SVM is below 0.98, among them or among those of the first experiment.


# %%
kernels, logits, picked, both = further.result()
cosines = []
for i in np.flatnonzero((picked != more_data.scores.argmax(-1)).any(-1)):
    svms = np.stack([least_norm_margin(a).point for a in both[i]])
    by_svms = np.einsum("ntd,sde,ne->snt", more_data.tokens[i], svms, more_data.queries[i])
    three = np.concatenate([logits[i][None], by_svms]).reshape(3, -1)
    inner = three @ np.linalg.solve(kernels[i], three.T)
    cosines.append(inner[0, 1:] / np.sqrt(inner[0, 0] * np.diag(inner)[1:]))
with_own, with_best = np.reshape(cosines, (-1, 2)).T
print(f"other tokens than the best in {len(with_own)} of {4 * problems} data sets;", end=" ")
print(f"cosine with their own SVM {np.median(with_own):.4f}, with that of the best", end=" ")
print(f"{np.median(with_best):.4f} (medians)")
found = all(np.median(own) >= 0.98 for own in (with_own, aligned[elsewhere]) if len(own))
ahead = with_own - with_best
paper.report(
    "local-directions",
    np.median(ahead) if found and len(ahead) >= 3 else -1.0,
    samples=ahead,
)

# %% [markdown]
# An angle is left that no training will close: these runs have settled on rays of their own.

# %% [markdown]
# ## What differs from the paper
#
# - **Size.** Four inputs of five tokens in eight dimensions, as in the paper's smaller experiments. One layer, one
#   head, a fixed linear readout.
# - **The theorems are proved under conditions** (plain gradient descent with small steps from within a cone around the
#   SVM direction, or scores that are equal among all other tokens) that random data do not meet. The experiments, like
#   the paper's, go beyond them. For $K$ and $Q$ the paper's theorem is about the regularisation path, the minimiser on
#   a growing ball, and gradient descent is supported by experiments, as it is here.
# - **The nuclear SVM** is solved as a convex problem with a certificate of optimality, so the comparison does not rest
#   on a second non-convex optimisation of factors.
# - **Directions converge slowly.** Trained factors are at a finite norm and from a finite initialisation; in some data
#   sets, those in which the nuclear solution's rank is small and a further direction almost pays, the cosine is still a
#   few hundredths from 1. The claim takes the median.
# - **Not performed:** nonlinear readouts, where several tokens of an input can be selected together; several outputs;
#   causal sequences.
#
# The max-margin view of attention began with a trainable query in the place of $Wz_i$ {cite:p}`tarzanagh2023max`. What
# a transformer can compute once its weights are found, rather than which weights are found, is the subject of
# {doc}`in-context-gradient-descent`.
#
# ## Things to try
#
# - `reprise run transformers-as-svm -p init 0.001`: factors that start much smaller stay near rank one for longer,
#   since the directions that start ahead grow first. In the right panel of the second figure the orange curve comes in
#   late, and its cosine at the end is a percent lower.
# - `reprise run transformers-as-svm -p steps 300`: one tenth of the norm. The first direction is found early; the last
#   digits take the rest.
# - `reprise run transformers-as-svm -p inputs 8 -p tokens 8`: $n = d$, the edge of separability. More constraints are
#   active, more data sets settle on local choices, and the direction takes longer to find.
# - `reprise sweep transformers-as-svm -p seed=0..4 -p dim=4,8,16`: the difference between the two norms grows with the
#   dimension.
# - In the notebook: change `optax.sgd(rate)` to `optax.sgd(-rate)`, gradient *ascent*. Attention then selects tokens of
#   low score, and still along their maximum-margin direction: the geometry does not care which tokens are preferred.
# - In the notebook: give `descend` a start of the size of the final $W$. The tokens selected, hence the target, then
#   depend on the start, and the direction is still that of their SVM.

# %%
paper.verdicts()
