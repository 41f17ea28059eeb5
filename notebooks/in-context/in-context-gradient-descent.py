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
# # Transformers learn in-context by gradient descent
#
# Show a language model a few worked examples in its prompt and it continues the pattern, with no weight changed
# {cite:p}`brown2020language`. Whatever it "learns" from the examples, it learns inside one forward pass. What algorithm
# is running there?
#
# {cite:t}`vonoswald2022transformers` look at the smallest case where the question has a checkable answer: the prompt holds
# labelled points of a linear function, and the network must predict the label of one more point. Two findings, both
# performed again on this page:
#
# 1. **It could be gradient descent.** There are weights, small enough to write down by hand, with which *one* layer of
#    linear self-attention does exactly *one* step of gradient descent on the prompt's own least-squares loss.
# 2. **It is gradient descent.** Weights trained from random initialisation, on nothing but prediction error, end at the
#    same predictor: same loss, same sensitivities, same failures outside the training range. When the layer may run
#    twice, training finds something better than two gradient steps, and the better thing can be named, too.
#
# The picture to have in mind is the first figure below: a loss that falls, and stops dead on a line that was computed
# without any network.
#
# ## The task
#
# A *task* is a weight vector $w \sim N(0, I_d)$. Its *prompt* shows $N$ examples $(x_j, y_j)$ with inputs $x_j$ uniform on
# $[-1, 1]^d$ and labels $y_j = w^\top x_j$, and then a query $x_q$ without a label. The network is scored by
# $(\hat y - w^\top x_q)^2$, and every prompt has a new $w$, so nothing about $w$ can be stored in the network's weights:
# it must be worked out from the prompt, every time.
#
# The natural way to work it out is gradient descent on the prompt's loss
# $L(W) = \frac{1}{2N}\sum_{j}(W x_j - y_j)^2$, where $W$ is the row vector of fitted weights. One step of size $\eta$ from
# $W_0$ changes it by
#
# $$\Delta W = -\frac{\eta}{N}\sum_{j=1}^{N} (W_0 x_j - y_j)\, x_j^\top .$$
#
# ## The layer
#
# Each example becomes a token $e_j = (x_j, y_j) \in \mathbb R^{d+1}$; the query becomes $e_q = (x_q, 0)$. A layer of *linear*
# self-attention (attention without the softmax) with query, key and value matrices $W_Q, W_K, W_V$ and a projection $P$
# adds to every token $e$ a sum over the $N$ examples,
#
# $$e \;\leftarrow\; e + P\,\frac1N\sum_{i=1}^{N} (W_V e_i)\,\underbrace{(W_K e_i)^\top (W_Q e)}_{\text{attention score}} .$$
#
# The query asks but is never asked: its label is no observation, and from the second layer on, counting it among the
# examples would feed the network its own prediction as data.
#
# ## The construction (Proposition 1)
#
# A gradient step has the same shape, a sum over examples of (residual) $\times$ (inner product of inputs). So choose keys and
# queries that keep only $x$, values that compute the residual, and a projection that scales by the step size:
#
# $$W_K = W_Q = \begin{pmatrix} I_d & 0 \\ 0 & 0\end{pmatrix},\qquad
#   W_V = \begin{pmatrix} 0 & 0 \\ W_0 & -1\end{pmatrix},\qquad
#   P = \eta I .$$
#
# Then every token keeps its $x$, and its label moves by $y \leftarrow y - \Delta W x$. This is gradient descent seen from
# the other side: rather than moving the weights towards the labels, the layer moves the labels by what the step has
# explained, and leaves the residual problem, again with $W_0 = 0$, to the next layer. The query starts at label $0$, so after
# $K$ layers *minus* its label is the prediction of $K$ gradient steps.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
dim = 5  # d, inputs of the linear function
length = 10  # N, labelled examples in a prompt
batch = 256  # prompts in a training step, all fresh
steps = 1000  # Adam steps of the one-layer models
looped_steps = 1500  # Adam steps of the models that apply their layer twice
learning_rate = 0.01  # Adam's rate at the start of a cosine decay
models = 4  # one-layer models, each from its own initialisation
looped_models = 8  # looped models
test_tasks = 20000  # fresh prompts behind a reported loss

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.networks.attention import (
    LinearAttention,
    Products,
    gradient_step_weights,
    linear_attention,
    linear_stack,
)
from reprise.networks.functional import ensemble
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.tasks.linear_regression import (
    LinearTasks,
    gradient_descent,
    gradient_descent_pp,
    gram,
    ridge,
    sensitivity,
    squared_error,
    tokens,
    unfitted,
)
from reprise.training.loop import fit

use_style()
paper = open_paper("in-context-gradient-descent", globals())

# %% [markdown]
# ## Does the construction compute gradient descent?
#
# `gradient_step_weights` returns the four matrices above, and `linear_attention` is the layer as one would write it for any
# transformer, token by token, with no knowledge of regression. We stack $K = 1, \dots, 5$ such layers and compare with
# `gradient_descent`, which knows nothing of tokens: it holds a weight vector and subtracts gradients. An identity deserves
# double precision.

# %%
key_identity, key_init, key_train, key_held_out, key_test, key_fresh, key_tune = (
    jax.random.split(jax.random.key(seed), 7)
)
tasks = LinearTasks(dim, length)
best_rate = tasks.optimal_rate()


@jax.jit
def both_ways(prompts):
    """Predictions after K = 1..5 steps, by hand-written attention layers and by gradient descent."""
    weights = gradient_step_weights(dim, best_rate)
    context, query = tokens(prompts)

    def layer(e, _):
        e = linear_attention(weights, e, context=length)
        return e, -e[:, -1, -1]

    _, attention = jax.lax.scan(layer, jnp.concatenate([context, query[:, None]], 1), length=5)
    rates = best_rate * jnp.tril(
        jnp.ones((5, 5))
    )  # row K - 1 takes K steps, then steps of size zero
    return attention, jax.vmap(gradient_descent, (None, 0))(prompts, rates)


with jax.enable_x64(True):
    prompts = tasks.sample(key_identity, 512)
    by_attention, by_descent = map(np.asarray, both_ways(prompts))
differences = np.abs(by_attention - by_descent).max(1) / by_descent.std(1)
for k, difference in enumerate(differences, 1):
    print(
        f"K = {k}: largest difference over 512 tasks is {difference:.1e} of the predictions' standard deviation"
    )

# %%
paper.report("construction-identity", differences.max(), samples=differences)

# %% [markdown]
# The differences are rounding errors. So attention *can* do gradient descent. The next question is whether training, which
# has no reason to prefer this solution over any other, goes there.
#
# ## How good is one gradient step?
#
# Before training, a yardstick. For one step from $W_0 = 0$ the prediction is
# $\hat y = \eta\, w^\top S x_q$ with $S = \frac1N\sum_j x_j x_j^\top$. Taking the expectation over $w$, $x_q$ and the examples,
# with $s_2 = \frac13$ and $m_4 = \frac15$ the second and fourth moment of a uniform input,
#
# $$L(\eta) = d\,s_2\,\big(1 - 2\eta a + \eta^2 b\big),\qquad a = s_2,\qquad
#   b = \tfrac{N-1}{N}s_2^2 + \tfrac{1}{N}\big(m_4 + (d-1)s_2^2\big),$$
#
# so that the best step size is $\eta^* = a/b$ and the best loss $L^* = d\,s_2\,(1 - a^2/b)$. The comparison is with *this*
# step size: against an untuned one any trained network would look clever.

# %%
best_loss = tasks.one_step_loss()
print(f"best step size {best_rate:.3f}: loss {best_loss:.4f}; predicting 0 costs {dim / 3:.4f}")

# %% [markdown]
# ## Training one layer
#
# A linear layer sees the prompt only through the matrix $G = \frac1N\sum_j e_j e_j^\top$, and its four matrices act only through
# two products, $U = P W_V$ and $M = W_K^\top W_Q$:
#
# $$e \leftarrow (I + A)\,e,\qquad A = U\,G\,M .$$
#
# `LinearAttention` therefore has $U$ and $M$ as its parameters, two free $(d+1)\times(d+1)$ matrices. That leaves the set of
# functions as it is and makes training short: with the four matrices free, the origin is a saddle at which
# all derivatives below the fourth vanish, and some runs never leave it.
#
# All models are trained at once (`jax.vmap` over initialisations), on one stream of prompts that never repeat, by
# Adam with gradient clipping.


# %%
def predict(params, prompts, loops=1):
    """Predictions of a layer applied ``loops`` times."""
    layer = Products(params["output"][...], params["score"][...])
    after = jax.vmap(lambda statistic, query: linear_stack([layer] * loops, statistic, query))
    return -after(gram(prompts), tokens(prompts)[1])[:, -1]


def train(keys, loops, steps, std):
    """Trained parameters of one model a key, and some 50 snapshots of them along the way."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(learning_rate, steps)),
    )

    def loss(params, key):
        prompts = tasks.sample(key, batch)
        return squared_error(predict(params, prompts, loops), prompts)

    def run(params):
        return fit(
            loss,
            params,
            optimizer,
            key_train,
            steps,
            watch=lambda p: p,
            watch_every=max(steps // 50, 1),
        )

    @jax.jit
    def run_all(keys):
        _, params = ensemble(lambda rngs: LinearAttention(dim + 1, std=std, rngs=rngs), keys)
        return jax.vmap(run)(params)

    return run_all(keys)


keys = jax.random.split(key_init, models + looped_models)
trained, history = train(keys[:models], loops=1, steps=steps, std=0.1)

# %% [markdown]
# Each snapshot is judged on 2000 prompts that training has not seen: its loss, the cosine between its *sensitivity*
# $\partial\hat y/\partial x_q$ and that of the best gradient step, and the distance of the two predictions. For a model that is
# linear in the query the sensitivity is the weight vector it has fitted to the prompt, so the cosine compares the two learned
# linear functions and not just two numbers.

# %%
one_step = lambda prompts: gradient_descent(prompts, jnp.array([best_rate]))
by_seed = lambda function: jax.vmap(function, (0, None))


def compare(params, prompts):
    """Loss, mean cosine of sensitivities with one gradient step, and RMS distance of predictions from it."""
    model = lambda prompts: predict(params, prompts)
    ours, theirs = sensitivity(model, prompts), sensitivity(one_step, prompts)
    cosine = (ours * theirs).sum(-1) / (
        jnp.linalg.norm(ours, axis=-1) * jnp.linalg.norm(theirs, axis=-1)
    )
    predicted = model(prompts)
    distance = jnp.sqrt(jnp.mean((predicted - one_step(prompts)) ** 2))
    return squared_error(predicted, prompts), cosine.mean(), distance


held_out, test = jax.jit(
    lambda *keys: (tasks.sample(keys[0], 2000), tasks.sample(keys[1], test_tasks))
)(key_held_out, key_test)
over_time = jax.jit(lambda seen: jax.lax.map(jax.vmap(lambda p: compare(p, held_out)), seen))
loss, cosine, distance = map(np.asarray, over_time(history["watch"]))
held_out_descent = float(jax.jit(lambda p: squared_error(one_step(p), p))(held_out))
at = np.append(np.arange(0, steps, max(steps // 50, 1)), steps)

# %% tags=["hide-input"] mystnb={"image": {"alt": "The trained layers' loss falls from that of predicting zero to the loss of one optimal gradient step and stays there."}}
fig, ax = plt.subplots()
for i in range(models):
    ax.plot(
        at,
        loss[i],
        color=PALETTE["blue"],
        alpha=0.7,
        label="trained attention layers" if i == 0 else None,
    )
ax.axhline(
    best_loss,
    color=THEORY,
    ls="--",
    label=r"one gradient step, best $\eta$: $L^*$ in closed form",
)
ax.axhline(
    held_out_descent,
    color=PALETTE["orange"],
    lw=1,
    label="the same step, on the same held-out prompts",
)
ax.axhline(dim / 3, color=PALETTE["grey"], ls=":", label="predicting 0")
ax.set(xlabel="Adam steps", ylabel="squared error at the query", ylim=(0, None))
ax.legend(loc="center right", bbox_to_anchor=(1, 0.6))
plt.show()

# %% [markdown]
# The layers fall from the loss of predicting nothing and level out at the dashed line, which no network had a part in computing.
# The orange line is the gradient step's loss on the very prompts that the models are judged on: what is left between models and
# theory is the chance in which 2000 prompts were drawn. The layers have the freedom of two full matrices and still do not get below a
# single gradient step.
#
# For the claim every model is scored on its own large set of fresh prompts.


# %%
def fresh_loss(model):
    """Loss of a one-layer model on prompts of its own."""
    params, key = model
    prompts = tasks.sample(key, test_tasks)
    return squared_error(predict(params, prompts), prompts)


fresh_losses = jax.jit(lambda *many: jax.lax.map(fresh_loss, many))(
    trained, jax.random.split(key_fresh, models)
)
loss_ratios = np.asarray(fresh_losses) / best_loss
paper.report("trained-layer-reaches-gd-loss", np.median(loss_ratios), samples=loss_ratios)

# %% [markdown]
# ## The same loss, or the same function?
#
# Two predictors can share a loss and disagree everywhere. The cosine and the distance settle it.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Over training the cosine of sensitivities with gradient descent rises to one and the distance of predictions falls to nearly zero."}}
fig, axes = plt.subplots(1, 2)
for values, ax, text in zip(
    (cosine, distance),
    axes,
    ("cosine of sensitivities", "distance of predictions"),
    strict=True,
):
    for i in range(models):
        ax.plot(at, values[i], color=PALETTE["blue"], alpha=0.7)
    ax.set(xlabel="Adam steps", title=text)
axes[0].axhline(1, color=THEORY, ls="--")
axes[1].axhline(0, color=THEORY, ls="--")
axes[1].set(ylim=(-0.05 * distance.max(), None))
plt.show()

# %% [markdown]
# Trained layer against best gradient step, on held-out prompts. Left: the linear function that a layer fits to a prompt turns
# until it is parallel to the gradient step's. Right: the root mean square difference of the two predictions, in units of
# the labels (which have standard deviation $\sqrt{d/3}$).

# %%
paper.report("models-align", cosine[:, -1].min(), samples=cosine[:, -1])

# %% [markdown]
# ## The weights it found
#
# For the query's label only the last row of $U$ and the first $d$ columns of $M$ matter, since the query enters as
# $(x_q, 0)$. The construction says what should stand there, up to a factor that can be moved between the two.
# Scaled so that the mean diagonal of $M$'s upper block is 1, this is what training wrote:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Heat maps of the products of weights: in the construction and in a trained layer alike, an identity block in M and a single entry in the last row of U."}}
output, score = (np.asarray(trained[name][...])[0, 0] for name in ("output", "score"))
scale = np.trace(score[:dim, :dim]) / dim
ideal = gradient_step_weights(dim, best_rate)
ideal = (
    np.asarray(ideal.projection[0] @ ideal.value[0]),
    np.asarray(ideal.key[0].T @ ideal.query[0]),
)
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.9), width_ratios=(1, 0.2, 1, 0.2))
names = [*(f"$x_{{{i + 1}}}$" for i in range(dim)), "$y$"]
for title, left, (u, m) in (
    ("by hand", 0, ideal),
    ("trained", 2, (output * scale, score / scale)),
):
    for ax, matrix, name in (
        (axes[left], m[:, :dim], f"$M$ {title}"),
        (axes[left + 1], u[-1:].T, "$U$"),
    ):
        image = ax.imshow(matrix, cmap="RdBu_r", vmin=-best_rate, vmax=best_rate)
        ax.set(title=name, xticks=[], yticks=range(dim + 1), yticklabels=names)
        ax.grid(False)
    axes[left].set(xticks=range(dim), xticklabels=names[:-1])
    axes[left + 1].set(yticks=[])
fig.colorbar(image, ax=axes, shrink=0.8, label="entry")
plt.show()
print(
    f"step size written into the trained layer: {-output[-1, -1] * scale:.3f}, best step size: {best_rate:.3f}"
)

# %% [markdown]
# $M$ compares inputs with inputs, with equal weight in every direction, and ignores labels; $U$ (its last row, drawn as a
# column) reads out labels and ignores inputs; their scale is the step size. Nobody told the layer to be gradient descent.
#
# ## Outside the training range
#
# A stronger test of "the same algorithm" is to leave the training distribution. We scale all inputs by $\alpha$, so that
# they are uniform on $[-\alpha, \alpha]^d$, with the layers and the step size both frozen at $\alpha = 1$. Gradient
# descent with a fixed step must then fail: $S$ grows as $\alpha^2$, and the step overshoots. If the layer *is* this
# gradient step, it fails in the same way, by the same amount.

# %%
scales = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
claimed = np.isin(scales, [0.5, 1.0, 1.5, 2.0])


@jax.jit
def scaled_losses(params, scales):
    """Losses of the models and of gradient descent on inputs scaled by each factor (labels are linear: they scale too)."""

    def at_scale(scale):
        prompts = jax.tree.map(lambda leaf: scale * leaf, test)
        models_loss = jax.vmap(lambda p: squared_error(predict(p, prompts), prompts))(params)
        return models_loss, squared_error(one_step(prompts), prompts)

    return jax.lax.map(at_scale, scales)


scaled, scaled_descent = map(np.asarray, scaled_losses(trained, jnp.asarray(scales)))
log_ratios = np.abs(np.log(scaled / scaled_descent[:, None]))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Loss against input scale: trained layers and frozen gradient descent lie on one curve, lowest at scale one and rising steeply beyond."}}
fig, ax = plt.subplots()
nothing = scales**2 * dim / 3
for i in range(models):
    ax.plot(
        scales,
        scaled[:, i] / nothing,
        color=PALETTE["blue"],
        alpha=0.7,
        label="trained layers" if i == 0 else None,
    )
ax.plot(
    scales,
    scaled_descent / nothing,
    "o",
    color=PALETTE["orange"],
    label=r"one gradient step, $\eta^*$ frozen",
)
ax.axhline(
    best_loss / (dim / 3), color=THEORY, ls="--", label=r"one gradient step, $\eta$ tuned anew"
)
ax.axhline(1, color=PALETTE["grey"], ls=":", label="predicting 0")
ax.set(
    xlabel=r"input scale $\alpha$ (training: 1)",
    ylabel="loss relative to predicting 0",
    yscale="log",
)
ax.set_yticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# Divided by the loss of predicting 0, a step tuned anew at each scale would do equally well at all of them. The trained layers
# follow the *frozen* step instead: too cautious for small inputs, worse than no prediction for large ones. They have
# learned one step size, not how to choose one. The claim takes the worst model and the worst of
# $\alpha \in \{0.5, 1, 1.5, 2\}$.

# %%
paper.report(
    "same-extrapolation", log_ratios[claimed].max(), samples=log_ratios[claimed].max(0)
)

# %% [markdown]
# ## Two steps: better than gradient descent
#
# Apply the *same* layer twice, and train again. The construction offers two gradient steps. But a layer may also change the
# inputs, and the authors find that trained stacks do. Their name for the resulting algorithm is **GD++**: along with
# the labels, every layer maps all inputs, the query's included, by
#
# $$x_j \;\leftarrow\; (I - \gamma S)\,x_j,\qquad S = \tfrac1N\textstyle\sum_i x_i x_i^\top .$$
#
# In the notation above this is the same single head, with $U = -\mathrm{diag}(\gamma, \dots, \gamma, \eta)$.
# What is it good for? Shrinking the inputs most where $S$ is largest evens out the eigenvalues of the problem that the next
# step has to solve: a preconditioner.
#
# It can be made exact. Let $s$ be an eigenvalue of $S$ and $q(s)$ the share of $w$ along its eigenvector that is still missing after
# all steps. Two gradient steps leave a quadratic, two steps of GD++ with one $\eta$ and one $\gamma$ for both a quartic:
#
# $$q_{\rm GD}(s) = (1 - \eta_1 s)(1 - \eta_2 s),\qquad
#   q_{\rm GD++}(s) = (1 - \eta s)\big(1 - \eta s\,(1-\gamma s)^2\big),$$
#
# and the expected loss is $\frac13\,\mathbb E\sum_i q(s_i)^2$ over the eigenvalues $s_i$ of prompts. The more of the
# eigenvalues' range a polynomial with $q(0) = 1$ can hold down, the better. `unfitted` computes $q$; both algorithms are tuned
# through it, by the same number of Adam steps on the same 4096 prompts: gradient descent with a step size of its own for each
# step, started apart (equal ones are a symmetric stationary point), GD++ with its one pair.


# %%
@jax.jit
def tune(key):
    """Step sizes of two-step gradient descent, and (eta, gamma) of two-step GD++, with the eigenvalues used."""
    x = tasks.sample(key, 4096).x
    eigenvalues = jnp.linalg.eigvalsh(jnp.einsum("tni,tnj->tij", x, x) / length)
    adam = lambda read, start: fit(
        lambda p, _: jnp.mean(jnp.sum(unfitted(eigenvalues, *read(p)) ** 2, -1)) / 3,
        start,
        optax.adam(0.05),
        key,
        300,
    )[0]
    plain = adam(lambda p: (p, jnp.zeros(2)), jnp.array([1.0, 4.0]))
    curved = adam(lambda p: (p[0].repeat(2), p[1].repeat(2)), jnp.array([1.0, 0.0]))
    return plain, curved, eigenvalues


rates, (rate, curvature), eigenvalues = tune(key_tune)
print(
    f"gradient descent: step sizes {rates[0]:.2f} and {rates[1]:.2f};  GD++: eta = {rate:.2f}, gamma = {curvature:.2f}"
)

# %% [markdown]
# Now the looped models, from a smaller initialisation (a layer applied twice is less forgiving), and all losses on the same
# test prompts.

# %%
looped, looped_history = train(keys[models:], loops=2, steps=looped_steps, std=0.005)


@jax.jit
def final_losses(one, two, prompts):
    """Losses on the test prompts of trained models and of the algorithms."""
    by_hand = {
        "GD": one_step(prompts),
        "GD 2": gradient_descent(prompts, rates),
        "GD++ 2": gradient_descent_pp(prompts, rate.repeat(2), curvature.repeat(2)),
        "ridge": ridge(prompts, 1e-3),
    }
    return (
        jax.tree.map(lambda p: squared_error(p, prompts), by_hand),
        jax.lax.map(lambda p: squared_error(predict(p, prompts), prompts), one),
        jax.lax.map(lambda p: squared_error(predict(p, prompts, 2), prompts), two),
    )


by_hand, one_layer, two_loops = jax.tree.map(np.asarray, final_losses(trained, looped, test))
median_loss = np.median(two_loops)
pp_gap = by_hand["GD++ 2"] / median_loss - 1
print("loss of each looped model:", " ".join(f"{value:.4f}" for value in two_loops))
print(
    f"two-step GD {by_hand['GD 2']:.4f}, GD++ {by_hand['GD++ 2']:.4f} ({pp_gap:+.1%} of the looped models' median)"
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: training losses of looped models pass below two-step gradient descent and reach GD++. Right: final losses of all methods as bars."}}
fig, axes = plt.subplots(1, 2, width_ratios=(1.25, 1))
window = max(looped_steps // 50, 1)
windows = np.asarray(looped_history["loss"])[:, : looped_steps // window * window]
smooth = windows.reshape(looped_models, -1, window).mean(-1)
at_looped = (np.arange(smooth.shape[1]) + 0.5) * window
for i in range(looped_models):
    axes[0].plot(
        at_looped,
        smooth[i],
        color=PALETTE["blue"],
        alpha=0.6,
        label="looped models" if i == 0 else None,
    )
axes[0].axhline(by_hand["GD 2"], color=PALETTE["orange"], ls="--", label="two GD steps")
axes[0].axhline(by_hand["GD++ 2"], color=PALETTE["green"], ls="--", label="two GD++ steps")
axes[0].set(xlabel="Adam steps", ylabel="squared error at the query", yscale="log")
axes[0].set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
axes[0].minorticks_off()
axes[0].legend(loc="upper right")
bars = {
    "1 GD step": (by_hand["GD"], "orange"),
    "1 layer": (np.median(one_layer), "blue"),
    "2 GD steps": (by_hand["GD 2"], "orange"),
    "2 GD++ steps": (by_hand["GD++ 2"], "green"),
    "1 layer, twice": (median_loss, "blue"),
    "least squares": (by_hand["ridge"], "grey"),
}
axes[1].barh(
    list(bars),
    [value for value, _ in bars.values()],
    color=[PALETTE[color] for _, color in bars.values()],
)
axes[1].invert_yaxis()
axes[1].grid(False, axis="y")
axes[1].set(xlabel="squared error at the query")
plt.show()

# %% [markdown]
# Left: most looped models leave two tuned gradient steps behind and arrive at GD++. An occasional one stops above, with
# the input map pointing the wrong way along one direction: a bad local minimum, and the reason why the claim takes the median.
# Right: final losses (medians over models). Least squares (with a penalty of $10^{-3}$) is the floor: without noise the examples determine $w$.

# %%
descent_ratios = two_loops / by_hand["GD 2"]
paper.report(
    "two-layers-beat-gd-match-gdpp",
    np.median(descent_ratios) if abs(pp_gap) <= 0.15 else np.inf,
    samples=descent_ratios,
)

# %% [markdown]
# Equal losses, again, need not mean equal algorithms. So we ask a trained model for its own $q(s)$: we show it prompts whose
# $S$ is $s$ times the identity, with labels from a unit vector $w$, query along $w$, and read off which share of the
# label it misses.

# %%
levels = np.linspace(0, float(np.quantile(eigenvalues, 0.999)), 60)


@jax.jit
def missing_share(params, levels):
    """Share of the label that a looped model misses when every eigenvalue of S is s, mean over coordinate directions."""

    def one(s, w):
        statistic = jnp.block(
            [[s * jnp.eye(dim), s * w[:, None]], [s * w[None], s * jnp.ones((1, 1))]]
        )
        layer = Products(params["output"][...], params["score"][...])
        return 1 + linear_stack([layer] * 2, statistic, jnp.append(w, 0.0))[-1]

    return jax.vmap(lambda s: jax.vmap(lambda w: one(s, w))(jnp.eye(dim)).mean())(levels)


typical = int(np.argsort(two_loops)[(looped_models - 1) // 2])
probed = missing_share(jax.tree.map(lambda leaf: leaf[typical], looped), jnp.asarray(levels))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Residual polynomials: the trained model's follows GD++ and stays near zero over the range of eigenvalues, where two-step gradient descent's does not."}}
fig, ax = plt.subplots()
density = ax.twinx()
density.hist(
    np.ravel(eigenvalues),
    bins=60,
    range=(0, levels[-1]),
    color=PALETTE["grey"],
    alpha=0.3,
    density=True,
)
density.set(yticks=[], ylim=(0, 6))
density.spines["right"].set_visible(False)
ax.set_zorder(1)
ax.patch.set_visible(False)
ax.plot(
    levels, unfitted(levels, rates, np.zeros(2)), color=PALETTE["orange"], label="two GD steps"
)
ax.plot(
    levels,
    unfitted(levels, rate.repeat(2), curvature.repeat(2)),
    color=PALETTE["green"],
    label="two GD++ steps",
)
ax.plot(levels, probed, ls="--", color=PALETTE["blue"], label="trained layer, twice")
ax.axhline(0, color=THEORY, lw=0.8)
ax.set(
    xlabel="eigenvalue $s$ of the prompt's $S$",
    ylabel="share of $w$ still missing, $q(s)$",
    ylim=(-1.1, 1.1),
)
ax.legend(loc="upper center")
plt.show()

# %% [markdown]
# Grey: where the eigenvalues of prompts lie. The quadratic must choose: it touches zero twice and pays in between, or
# beyond. The quartic of GD++ comes down sooner, stays near zero for longer and leaves only the rare largest eigenvalues to pay. The
# trained model's curve lies on it, or near. The gain over gradient descent is this flatness, the same reason for which second-order methods rescale directions by their
# curvature; {doc}`sven` does so for a network's own weights.
#
# ## What differs from the paper
#
# - **Size.** $d = 5$ and $N = 10$ where the paper has 10 and 10, and about a thousand training steps where it takes many more.
#   The `gpu` profile has $d = 10$, $N = 20$. The ratio $N/d$ matters more than the size: at $d = N = 10$ prompts are so
#   short that tuned GD++ itself gains only about a fifth over two gradient steps. Looped models then still arrive at GD++, but
#   the claim's criterion, a gain of 30 %, is out of reach for either.
# - **Parametrisation.** The paper trains $W_Q, W_K, W_V, P$; here the two products are trained, which describe the same
#   functions. Comparisons are of functions and of products, never of single matrices, which are only defined up to an
#   invertible map between them.
# - **Attention is linear**, with $N$ known to it. No softmax, no layer norm, no MLP, and a token already pairs $x$ with $y$.
#   The paper also builds such tokens from separate ones with an additional layer, and treats nonlinear regression with an MLP in
#   front (gradient descent on learned features). Neither is performed here.
# - **Looped, not deep.** With separate weights per layer trained models go below GD++, since they can also write labels into
#   inputs and so let the next step size depend on the data. The claim about GD++ is therefore tested on the looped model.
# - **Step sizes** come from a closed form (one step) or from Adam on the exact expected loss of 4096 prompts (two steps),
#   where the paper searches numerically.
#
# The page says nothing about large language models. Later work has made the one-layer result a theorem: the best layer takes
# one step of gradient descent ({doc}`optimal-one-step-in-context`), and gradient flow finds it
# ({doc}`trained-linear-transformers`). It has extended the result to more layers {cite:p}`ahn2023transformers` and to loops {cite:p}`gatmiry2024can`, found
# ridge regression in full transformers on the same task {cite:p}`garg2022what` ({doc}`in-context-learning-algorithm`) and the pace of Newton's
# method in deep ones ({doc}`in-context-higher-order`), and questioned how far it carries over to models trained on text
# {cite:p}`shen2024position`.
#
# ## Things to try
#
# - `reprise run in-context-gradient-descent -p length 40`: longer prompts bring $S$ nearer to a multiple of the identity. One step
#   becomes much better, and its best size approaches $1/s_2 = 3$.
# - `reprise run in-context-gradient-descent -p dim 10 -p steps 2000 -p looped_steps 3000`: the paper's $d = N = 10$, with
#   the outcome described above.
# - `reprise run in-context-gradient-descent -p learning_rate 0.003`: too slow for 1000 steps; the first figure shows how
#   the plateau lasts, and the claims about the trained layer fail with it.
# - `reprise sweep in-context-gradient-descent -p seed=0..4 -p dim=3,5,8`: the closed form moves with $d$, the trained layers move with
#   it.
# - In the notebook: let the query be an example among the others (append its token to the context in `gram`). One step
#   survives, since a label of 0 adds nothing to its sum, but looped models then end above two gradient steps.
# - In the notebook: draw inputs with `LinearTasks(dim, length, inputs="normal")`, whose wider spread of eigenvalues makes
#   one step worse.

# %%
paper.verdicts()
