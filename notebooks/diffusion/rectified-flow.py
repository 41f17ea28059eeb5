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
# # Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow
#
# Given samples of two distributions, say noise and images, or horses and zebras: find a map that carries one to the other.
# Diffusion models do it by simulating an equation in a hundred small steps, each an evaluation of a large
# network. {cite:t}`liu2022flow` ask what it would take to do it in *one*, and answer with a single idea applied over and over.
#
# An ordinary differential equation is solved exactly by one Euler step if its solutions are straight lines, run through at constant
# speed. So draw straight lines: pair points of the two samples in any way, at random if need be, and join each pair.
# These lines cross, and a differential equation cannot cross itself, since at one place and time it has one velocity. So
# take, at each place and time, the *average* velocity of the lines that pass there. That average is found by least squares, and
# three things can be proved about the flow along it:
#
# 1. **It arrives.** At every time the flow has the same distribution as the lines, whatever the pairing was.
# 2. **It re-pairs.** Where lines crossed, flows swap partners, and no convex cost of transport goes up.
# 3. **It straightens.** Joining the *new* pairs by lines, and averaging again, gives straighter flows each time.
#
# All three are put to the test below, in the plane, where the average velocity is known exactly and nothing has to be trusted to a
# network; then with networks, which is the way it is used. The first figure shows lines that cross, and the flow that they
# turn into.
#
# ## The method
#
# A *coupling* $(X_0, X_1)$ is a pair of random points whose first member follows the base distribution $\pi_0$ and whose second
# follows the target $\pi_1$. Independent draws are one. Join the two,
#
# $$X_t = t X_1 + (1-t) X_0,\qquad \dot X_t = X_1 - X_0,\qquad 0 \le t \le 1,$$
#
# and regress the speed on the position:
#
# $$\min_v \int_0^1 E\,\big\|(X_1 - X_0) - v(X_t, t)\big\|^2\,dt,\qquad v^*(x,t) = E\,[X_1 - X_0 \mid X_t = x].$$
#
# The minimiser $v^*$ is the average velocity of the lines through $x$ at time $t$. The **rectified flow** follows it,
#
# $$\dot Z_t = v^*(Z_t, t),\qquad Z_0 = X_0,$$
#
# and $(Z_0, Z_1) = \mathrm{Rectify}(X_0, X_1)$ is a new coupling of the same two distributions, in which $Z_1$ is a function of $Z_0$.
# **Reflow** repeats this: $(Z_0^{k+1}, Z_1^{k+1}) = \mathrm{Rectify}(Z_0^k, Z_1^k)$ from $(Z^0_0, Z^0_1) = (X_0, X_1)$; the paper calls
# $Z^k$ the *$k$-rectified flow*. There is no noise schedule to choose, and a flow is never simulated while it is
# trained; only to make the pairs for the next one.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
networks = 4  # independent repetitions of the learned experiment, each with its own networks and samples
width = 64  # units in each of the network's two hidden layers
steps = 1500  # Adam steps in each round of rectification
batch = 256  # pairs in a training step
learning_rate = 0.01  # Adam's rate at the start of a cosine decay
pairs = 4096  # points of each sample for training, and pairs made for reflow
solver_steps = 50  # Runge-Kutta steps when pairs for reflow are made
test_points = 4096  # fresh points for the one-step samples; a multiple of 2048
radius = 4.0  # distance of all centres from the origin
std = 0.3  # standard deviation of each Gaussian

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

from reprise.claims import open_paper
from reprise.diffusion.interpolants import (
    STRAIGHT,
    sub_variance_preserving,
    variance_preserving,
)
from reprise.diffusion.matching import append_time, matching_loss, straightness
from reprise.diffusion.mixtures import MixtureCoupling
from reprise.diffusion.samplers import EULER, HEUN, RK4, endpoint, trajectory
from reprise.networks.functional import from_vector, functional
from reprise.networks.mlp import MLP, count_parameters
from reprise.plotting import PALETTE, THEORY, band, use_style
from reprise.statistics.two_sample import energy_distance, optimal_assignment, transport_costs
from reprise.training.loop import fit

use_style()
paper = open_paper("rectified-flow", globals())

# %% [markdown]
# ## Two distributions, and what the average velocity is
#
# The base is three Gaussians on a circle, the target is three others on the same circle, turned by 60 degrees: each centre of the base
# has two neighbours among the targets and one that lies straight across. We use two couplings:
#
# - **independent**: $X_0$ and $X_1$ know nothing of each other, nine kinds of pairs;
# - **opposite**: each Gaussian of the base is paired with the one across, the most expensive choice there is.
#
# Given the components $(i, j)$ of the two ends, with centres $a_i$ and $b_j$, everything is Gaussian. So $X_t$ follows a mixture of Gaussians around
# $m_{ij} = (1-t)a_i + t\,b_j$ with variance $\sigma_t^2 = \sigma^2\big((1-t)^2 + t^2\big)$, and the average velocity can be written down:
#
# $$v^*(x,t) = \sum_{ij} w_{ij}(x,t)\,\Big[\,b_j - a_i + \frac{\sigma^2(2t-1)}{\sigma_t^2}\,(x - m_{ij})\Big],\qquad
#   w_{ij}(x,t) \propto \pi_{ij}\,N(x;\,m_{ij},\,\sigma_t^2 I),$$
#
# where $\pi_{ij}$ is the probability of the pair of components, and $w_{ij}$ their probability once $x$ is known. The term
# with $2t-1$ is the covariance of $X_1-X_0$ with $X_t$: a line that is found off the centre is, early on, one that is about to come in.
# `MixtureCoupling` has this velocity, its divergence, and the density $p_t$ of $X_t$.


# %%
def circle(degrees):
    """Three centres, the first at this angle."""
    angles = np.deg2rad(degrees + np.array([0, 120, 240]))
    return radius * np.stack([np.cos(angles), np.sin(angles)], -1)


key = jax.random.key(seed)
COUPLINGS = {
    "independent": np.full((3, 3), 1 / 9),
    "opposite": np.roll(np.eye(3), 1, axis=1) / 3,
}
toy = MixtureCoupling(circle(90), circle(150), COUPLINGS["independent"], std, std)


@jax.jit
def follow_exactly(key, weights):
    """2048 trajectories of the exact rectified flow, densities along them, and the terms of its energy budget."""
    coupling = toy._replace(weights=weights)
    x0, x1 = coupling.sample(jax.random.fold_in(key, 0), 2048, stratified=True)
    field = lambda state, t: (coupling.velocity(state[0], t), coupling.divergence(state[0], t))
    flow = trajectory(field, (x0, jnp.zeros(len(x0))), 200, RK4)
    z, expansion = flow.positions
    path = flow._replace(positions=z, velocities=flow.velocities[0])
    squared = lambda d: jnp.mean(jnp.sum(d**2, -1))
    crossing = jax.lax.map(lambda t: matching_loss(coupling.velocity, x0, x1, t), flow.times)
    budget = {
        "before": squared(x1 - x0),
        "crossing": jnp.trapezoid(crossing, flow.times),
        "straightness": straightness(path),
        "after": squared(z[-1] - z[0]),
    }
    return {
        "times": flow.times,
        "lines": (x0, x1),
        "paths": z,
        "log density": jax.lax.map(lambda now: coupling.log_density(*now), (z, flow.times)),
        "transported": coupling.log_density(x0, 0.0) - expansion,
        "budget": budget,
    }


with jax.enable_x64(True):
    exact = {
        name: jax.tree.map(np.asarray, follow_exactly(key, weights))
        for name, weights in COUPLINGS.items()
    }

# %% tags=["hide-input"] mystnb={"image": {"alt": "Straight lines between paired points cross; the rectified flow's paths do not cross, and go to neighbouring targets instead."}}
SOURCE_COLORS = np.array([PALETTE["blue"], PALETTE["orange"], PALETTE["green"]])


def draw_paths(ax, path, title):
    """Paths [time, points, 2], coloured by the Gaussian they start in, with circles at the start and dots at the end."""
    distance = np.linalg.norm(path[0][:, None] - toy.starts[None], axis=-1)
    colors = SOURCE_COLORS[distance.argmin(1)]
    for i in range(path.shape[1]):
        ax.plot(*path[:, i].T, color=colors[i], lw=0.5, alpha=0.6)
    ax.scatter(*path[0].T, s=9, facecolors="none", edgecolors=THEORY, linewidths=0.6, zorder=3)
    ax.scatter(*path[-1].T, s=9, color=THEORY, linewidths=0, zorder=3)
    ax.set(
        title=title,
        aspect="equal",
        xlim=(-5.2, 5.2),
        ylim=(-5.2, 5.2),
        xticks=[-4, 0, 4],
        yticks=[-4, 0, 4],
    )


fig, axes = plt.subplots(2, 2, figsize=(7.2, 7), sharex=True, sharey=True)
for row, (name, result) in zip(axes, exact.items(), strict=True):
    draw_paths(row[0], np.stack(result["lines"])[:, :90], f"{name} coupling: lines $X_t$")
    draw_paths(row[1], result["paths"][::4, :90], "its rectified flow $Z_t$")
    row[0].set_ylabel("$x_2$")
for ax in axes[1]:
    ax.set_xlabel("$x_1$")
plt.show()

# %% [markdown]
# Circles: start, in the base. Dots: end, in the target. Colours: the Gaussian that a path starts in. Left, lines between
# pairs. Right, the flow along their average velocity, from the same starting points. Hardly anybody is sent across. Paths set off for the centre, because
# that is where their lines go *on average*, and turn to the target on their own side, the sooner the further out they started. The two couplings could
# hardly differ more, and end in nearly the same pairs.
#
# ## Does it arrive?
#
# **Theorem 3.3**: $Z_t$ and $X_t$ have the same distribution at every $t$. The reason is that the density $p_t$ of $X_t$ satisfies the continuity
# equation $\partial_t p_t + \nabla\!\cdot(p_t v^*) = 0$, which is also the equation of the density that is carried by the flow, from the same start.
#
# Comparing samples would be a blunt test: with three modes, a two-sample distance is mostly the accident of how many points
# landed in each. There is a sharp one. Along a trajectory the continuity equation reads
#
# $$\log p_t(Z_t) = \log p_0(Z_0) - \int_0^t \nabla\!\cdot v^*(Z_s, s)\,ds .$$
#
# The left side knows the mixture's density and nothing of the flow; the right side knows the divergence of the velocity and
# nothing of $p_t$. We integrate the right side along with the trajectory, in double precision.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Log density along eight trajectories: dots from integrating the divergence lie on the lines of the closed-form density."}}
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, (name, result) in zip(axes, exact.items(), strict=True):
    for i in range(8):
        ax.plot(
            result["times"],
            result["log density"][:, i],
            color=THEORY,
            lw=1,
            label="$\\log p_t(Z_t)$" if i == 0 else None,
        )
        ax.plot(
            result["times"][::10], result["transported"][::10, i], "o", ms=3.5, color=PALETTE["blue"],
            label=r"$\log p_0(Z_0)-\int\nabla\cdot v^*$" if i == 0 else None,
        )  # fmt: skip
    ax.set(title=f"{name} coupling", xlabel="time $t$")
axes[0].set_ylabel("log density")
axes[0].legend()
plt.show()

# %% [markdown]
# Eight trajectories for each coupling. The lines are the density of the interpolation, read off at the place where the flow is; the dots are the
# density that the flow carries there. In the middle, where the streams meet, the density goes through steep changes, and the dots follow.
# The claim takes the worst of 2048 trajectories, at four times, for both couplings. What is left is the solver's error.

# %%
gaps = np.stack(
    [np.abs(r["log density"] - r["transported"])[50::50].max(1) for r in exact.values()]
)
for name, gap in zip(exact, gaps, strict=True):
    print(
        f"{name:<12}",
        " ".join(
            f"t = {t:.2f}: {g:.1e}  " for t, g in zip((0.25, 0.5, 0.75, 1), gap, strict=True)
        ),
    )
paper.report("marginals-preserved", gaps.max(), samples=gaps)

# %% [markdown]
# ## How straight? A case in closed form
#
# A flow's distance from straightness is measured along its own trajectories,
#
# $$S(Z) = \int_0^1 E\,\big\|(Z_1 - Z_0) - \dot Z_t\big\|^2\,dt ,$$
#
# which is zero if and only if every point moves on a straight line at constant speed. Rectifying once does not make it zero. Take
# independent $X_0 \sim N(0, 1)$ and $X_1 \sim N(0, s^2)$ on the line: a mixture of one component, so that $v^*$ is linear in $x$
# and the flow is
#
# $$Z_t = r_t\,Z_0,\qquad r_t = \sqrt{(1-t)^2 + s^2t^2}\,:\qquad Z_1 = s\,Z_0 .$$
#
# The end points are as good as can be, since $x \mapsto sx$ is the monotone map, the best pairing on a line for every convex
# cost. But on the way there, $r_t$ sags:
#
# $$S(Z^1) = \int_0^1 \dot r_t^2\,dt - (s-1)^2 = \frac{4-\pi}{2}\,s \;>\; 0 .$$
#
# The second rectification is exactly straight: its pairs $(Z_0, sZ_0)$ have lines that do not cross, and where lines
# do not cross, their average is each line itself.

# %%
s = 2.0
gaussians = MixtureCoupling(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), 1.0, s)


@jax.jit
def rectify_gaussians(key):
    """Straightness and largest distance from the monotone map, from 20000 particles; some paths to draw."""
    z0 = jax.random.normal(jax.random.fold_in(key, 1), (20_000, 1))
    z0 = z0 / jnp.sqrt(jnp.mean(z0**2))
    flow = trajectory(gaussians.velocity, z0, 400, HEUN)
    return (
        straightness(flow),
        jnp.abs(flow.positions[-1] - s * z0).max(),
        flow.times,
        flow.positions[:, :12, 0],
    )


bend, off_map, times, paths = map(np.asarray, rectify_gaussians(key))
print(
    f"S = {bend:.5f}, closed form {s * (4 - np.pi) / 2:.5f}; largest |Z_1 - s Z_0| = {off_map:.1e}"
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Paths of the rectified flow between Gaussians sag below the straight chords to the same end points."}}
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for i, path in enumerate(paths.T):
    ax.plot(
        times, path, color=PALETTE["blue"], lw=1.4, label="1-rectified flow" if i == 0 else None
    )
    ax.plot(
        [0, 1],
        path[[0, -1]],
        color=THEORY,
        ls="--",
        lw=0.9,
        label="2-rectified flow" if i == 0 else None,
    )
ax.set(xlabel="time $t$", ylabel="$Z_t$", title=f"$N(0, 1)$ to $N(0, {s:g}^2)$")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# Every path first moves towards the middle, where the average of all lines points, and makes up for it later. The dashed lines
# are what reflow makes of the same pairs.

# %%
paper.report(
    "gaussian-straightness", bend / (s * (4 - np.pi) / 2) if off_map < 1e-3 else np.nan
)

# %% [markdown]
# ## Learning the flow
#
# From here on the velocity is a network: two hidden layers, input $(x, t)$, trained by Adam on `matching_loss`, the least-squares
# problem above. It sees samples only. The first round draws $X_0$ and $X_1$ independently; each later one is trained from
# scratch on pairs that the flow before it has made, with a fine solver, since an error in the pairs would be learned as if it were
# data. A distilled model, used further below, is the same fit with $t=0$ in every example: then $z_0 + v(z_0, 0)$ is
# trained to hit $Z_1$ at once.

# %%
apply, shapes = functional(
    nnx.eval_shape(lambda: MLP([3, width, width, 2], activation=jnp.tanh, rngs=nnx.Rngs(0)))
)
each = lambda function: jax.jit(
    lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)
)


def field(params):
    """A network's velocity field."""
    return lambda z, t: apply(params, append_time(z, t))


def initialise(key):
    """A network's parameters, weights of standard deviation 1.5 / sqrt(inputs) and biases zero."""
    drawn = from_vector(shapes, jax.random.normal(key, (count_parameters(shapes),)))
    return jax.tree.map(
        lambda leaf: 1.5 * leaf / len(leaf) ** 0.5 if leaf.ndim == 2 else 0 * leaf, drawn
    )


@each
def train(params, x0, x1, key, independent, last_time):
    """Fit a velocity field to pairs (or to all combinations of them, if independent), at times up to ``last_time``."""

    def loss(params, _, uniform):
        row, other = (uniform[:2] * pairs).astype(int)
        partner = jnp.where(independent, other, row)
        return matching_loss(field(params), x0[row], x1[partner], last_time * uniform[2])

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    draws = jax.random.uniform(key, (steps, 3, batch))
    params, history = fit(loss, params, optimizer, key, steps, inputs=draws)
    return params, history["loss"]


make_pairs = each(lambda params, z0: endpoint(field(params), z0, solver_steps, RK4))
euler = jax.jit(
    lambda params, z0, count: jax.lax.map(
        lambda one: endpoint(field(one[0]), one[1], count, EULER), (params, z0)
    )
)


@each
def follow(params, z0):
    """Positions at all nodes of 100 Runge-Kutta steps, and straightness along them."""
    flow = trajectory(field(params), z0, 100, RK4)
    return flow.positions, straightness(flow)


@jax.jit
def draw(key):
    """Initial networks, samples for training and for testing, and keys, with a leading axis for repetitions."""
    x0, x1 = toy.sample(jax.random.fold_in(key, 2), networks * (pairs + test_points))
    split = lambda x: jnp.split(x.reshape(networks, -1, 2), [pairs], axis=1)
    keys = jax.random.split(jax.random.fold_in(key, 3), (5, networks))
    return jax.vmap(initialise)(keys[0]), (split(x0), split(x1)), list(keys[1:])


initial, samples, train_keys = draw(key)
(x0, base), (x1, target) = jax.tree.map(np.asarray, samples)
shared = lambda value: np.full(networks, value)

ends, flows, losses = [x1], [], []
for k in range(3):
    params, loss = train(initial, x0, ends[-1], train_keys[k], shared(k == 0), shared(1.0))
    flows.append(params)
    losses.append(np.asarray(loss[:, -100:]).mean(1))
    if k < 2:
        ends.append(make_pairs(params, x0))

followed = [jax.tree.map(np.asarray, follow(params, base[:, :1024])) for params in flows]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Learned flows: the first bends through the middle, the second and third go straight to the neighbouring targets."}}
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)
for k, ax in enumerate(axes):
    draw_paths(ax, followed[k][0][0][::2, :90], f"{k + 1}-rectified flow")
    ax.set_xlabel("$x_1$")
axes[0].set_ylabel("$x_2$")
plt.show()

# %% [markdown]
# Left, the network's version of the flow of the first figure: the same turns, a little rounder. Middle and right, flows
# fitted to its pairs: two bundles of lines from each Gaussian, straight from the first moment, with nearly the same end points. A few points
# go astray, namely those that start where the bundles part: the true field jumps there, and the network's cannot.
#
# ## Does it get cheaper?
#
# **Theorem 3.5**: $E\,c(Z_1 - Z_0) \le E\,c(X_1 - X_0)$ for *every* convex $c$, all at once. That is Jensen's inequality, used twice: the flow's displacement is
# an average over time of $v^*$, and $v^*$ an average over lines. We measure six costs, of which the largest weighs a displacement by the fourth power of its
# length. A flow that stays where it is would be cheapest of all, so the claim counts only if all of them arrive: the energy distance to the target,
#
# $$D(X, Y) = 2E\|X - Y\| - E\|X - X'\| - E\|Y - Y'\|,$$
#
# which is zero only for equal distributions, may not exceed 0.1.

# %%
distance = each(energy_distance)
arrivals = np.stack([distance(z[:, -1], target[:, :1024]) for z, _ in followed])
costs = {
    "sum |d_j|": r"$\sum_j|d_j|$",
    "sum |d_j|^1.5": r"$\sum_j|d_j|^{3/2}$",
    "|d|": r"$\|d\|$",
    "|d|^2": r"$\|d\|^2$",
    "|d|^4": r"$\|d\|^4$",
    "max |d_j|": r"$\max_j|d_j|$",
}
measure_costs = jax.jit(transport_costs)
costs_before = jax.tree.map(np.asarray, measure_costs((target - base)[:, :1024]))
costs_after = [jax.tree.map(np.asarray, measure_costs(z[:, -1] - z[:, 0])) for z, _ in followed]
ratios = np.stack(
    [[after[name] / costs_before[name] for name in costs] for after in costs_after]
)

floor = optimal_assignment(base[0, :1000], target[0, :1000])[1]
print(
    "energy distance to the target, worst of all networks:",
    " ".join(f"{d:.4f}" for d in arrivals.max(1)),
)

worst = ratios[:2].max()
paper.report(
    "convex-costs-fall",
    worst if arrivals[:2].max() <= 0.1 else np.nan,
    samples=ratios[:2].max((0, 1)),
)

# %% [markdown]
# For the quadratic cost there is an exact account of where the savings come from. Split the variance of the speed into what the position explains and
# what it does not, first over lines and then over time:
#
# $$E\|X_1 - X_0\|^2 \;=\; \underbrace{\int_0^1 E\,\|\dot X_t - v^*(X_t,t)\|^2 dt}_{V\text{: how much lines cross}}
#   \;+\; \underbrace{\int_0^1 E\,\|(Z_1 - Z_0) - \dot Z_t\|^2 dt}_{S\text{: how much the flow bends}} \;+\; E\|Z_1 - Z_0\|^2 .$$
#
# $V$ is the loss at the minimum. Every bend and every crossing is paid back as cheaper transport. Written down for $k = 1, \dots, K$ and
# summed, the costs telescope, so that $\sum_k \big(S(Z^k) + V^{k-1}\big) \le E\|X_1 - X_0\|^2$: this is **Theorem 3.7**, and since the sum is bounded,
# some round among the first $K$ has $S(Z^k) \le E\|X_1 - X_0\|^2 / K$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: six transport costs fall at the first round and then stay. Right: stacked bars of crossing, bending and remaining cost, next to the cost before."}}
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.8), width_ratios=(1, 1.25))
ROUND_COLORS = [PALETTE[color] for color in ("blue", "orange", "green")]
for k in range(3):
    for n in range(networks):
        label = f"{k + 1}-rectified" if n == 0 else None
        rows = np.arange(len(costs)) + 0.22 * (k - 1)
        axes[0].plot(
            ratios[k, :, n], rows, "o", ms=5, alpha=0.7, color=ROUND_COLORS[k], label=label
        )
axes[0].axvline(1, color=THEORY, ls="--", lw=1.2)
least = floor / costs_before["|d|^2"][0]
axes[0].plot([least, least], [2.6, 3.4], color=THEORY, lw=1.6, label="least possible")
axes[0].set_yticks(range(len(costs)), costs.values())
axes[0].invert_yaxis()
axes[0].grid(False, axis="y")
axes[0].set(xlabel=r"$E\,c(Z_1-Z_0)\;/\;E\,c(X_1-X_0)$", xlim=(0, 1.05))
axes[0].legend(
    loc="lower left", bbox_to_anchor=(-0.2, 1), ncol=2, handletextpad=0.3, columnspacing=1
)

squares = [costs_before["|d|^2"].mean(), *(after["|d|^2"].mean() for after in costs_after)]
bends = np.stack([bend for _, bend in followed])
bars = {"exact, $k=1$": exact["independent"]["budget"]}
for k in range(3):
    bars[f"learned, $k={k + 1}$"] = {
        "before": squares[k], "crossing": losses[k].mean(), "straightness": bends[k].mean(), "after": squares[k + 1],
    }  # fmt: skip
left = np.zeros(4)
for part, color, label in (
    ("after", "grey", r"$E\|Z_1-Z_0\|^2$"),
    ("straightness", "orange", "bend $S$"),
    ("crossing", "purple", "crossing $V$"),
):
    values = np.array([bar[part] for bar in bars.values()])
    axes[1].barh(list(bars), values, left=left, color=PALETTE[color], alpha=0.8, label=label)
    left += values
before = [bar["before"] for bar in bars.values()]
axes[1].plot(before, range(4), "|", color=THEORY, ms=22, mew=2, label="cost before")
axes[1].invert_yaxis()
axes[1].grid(False, axis="y")
axes[1].set(xlabel="squared length", xlim=(0, 1.1 * max(before)))
axes[1].legend(loc="lower right")
plt.show()
print("exact, quadratic cost after one rectification:")
for name, result in exact.items():
    print(
        f"  {name:<12} from {result['budget']['before']:.2f} to {result['budget']['after']:.2f}"
    )
print(f"  optimal assignment of 1000 points to 1000 others: {floor:.2f}")

# %% [markdown]
# Left: all costs fall at the first round and have little left to lose after it. For the quadratic cost the black bar is the least that any pairing can
# cost, found by solving the assignment problem on a sample. One rectification comes down to about that value here, with no optimisation over pairings
# anywhere; in general it need not, since it lowers all convex costs and is optimal for none. Dots to the left of the least possible are
# no miracle: those flows leave a few points short of the target, and falling short is cheap.
#
# Right: each bar adds up to the cost before its round, the black tick. The first bar is the exact flow: sampling error aside it ends at the tick. For the
# networks the identity is a test of how well they have learned, because it holds at the minimum only. A smooth network rounds off the
# sharp turns of $v^*$: its loss $V$ is higher than the exact one, its flow bends less, and the bar misses the tick by a little.
# Both the orange and the purple part are gone after the first round.
#
# ## Does it get straighter?

# %%
straighter = bends[0] / bends[1]
for k in range(3):
    print(f"S(Z^{k + 1}) of each network:", " ".join(f"{value:8.4f}" for value in bends[k]))
print(
    f"S(Z^1) + S(Z^2) = {bends[:2].sum(0).mean():.2f}, bounded by E|X_1 - X_0|^2 = {squares[0]:.2f}"
)
paper.report("straightness-drops", np.exp(np.log(straighter).mean()), samples=straighter)

# %% [markdown]
# The bound allows a slow decay, as $1/K$. What happens is faster: the pairs of the first flow are already nearly free of crossings, so that
# one reflow straightens almost completely. What is left in the second and third flow is the network's: targets that are discontinuous, since the
# middle of each Gaussian must split in two, and a field that is not.
#
# ## One step
#
# Straight paths are worth having because they are cheap to follow. Here is the shortest possible sampler, $z_0 + v(z_0, 0)$,
# one Euler step and one evaluation of the network. For the 1-rectified flow it must fail: at $t=0$ the average line from a
# place in the base leads to the mean of the target, which is the empty middle.

# %%
one_step = [np.asarray(euler(params, base, 1)) for params in flows]
one_step_distance = np.stack([distance(z, target) for z in one_step])

source = (
    np.arange(networks) // 2 % 2
)  # two students of the 1-rectified, two of the 2-rectified flow, and so on
teacher = np.arange(networks) % max(1, networks // 2)
pick = lambda *trees: jax.tree.map(
    lambda *leaves: np.stack([leaves[k][n] for k, n in zip(source, teacher, strict=True)]),
    *trees,
)
flows_host, ends_host = jax.tree.map(np.asarray, (flows[:2], ends[1:]))
students, _ = train(
    pick(*flows_host),
    x0[teacher],
    pick(*ends_host),
    train_keys[3],
    shared(False),
    shared(0.0),
)
distilled = np.asarray(distance(euler(students, base[teacher], 1), target[teacher]))

ratio = one_step_distance[0] / one_step_distance[1]
print("energy distance of one Euler step:")
for k, values in enumerate(one_step_distance):
    print(f"  {k + 1}-rectified:", " ".join(f"{value:.4f}" for value in values))
for k in sorted(set(source)):
    print(
        f"  distilled from {k + 1}-rectified:",
        " ".join(f"{value:.4f}" for value in distilled[source == k]),
    )
print(f"ratio of the means: {one_step_distance[0].mean() / one_step_distance[1].mean():.1f}")
paper.report("reflow-one-step", ratio.mean(), samples=ratio)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Samples of the target and of one-step models: the 1-rectified flow's fill the middle, the others form the three target Gaussians, the 2-rectified with a thin bridge between them."}}
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.5), sharex=True, sharey=True)
panels = {
    "target": (target[0], THEORY),
    "1-rectified": (one_step[0][0], PALETTE["blue"]),
    "2-rectified": (one_step[1][0], PALETTE["orange"]),
    "distilled": (np.asarray(euler(students, base, 1)[-1]), PALETTE["red"]),
}
for ax, (name, (points, color)) in zip(axes, panels.items(), strict=True):
    ax.scatter(*points[:2000].T, s=2, color=color, linewidths=0, alpha=0.5, rasterized=True)
    ax.set(
        title=name,
        aspect="equal",
        xlim=(-5.2, 5.2),
        ylim=(-5.2, 5.2),
        xticks=[-4, 0, 4],
        yticks=[-4, 0, 4],
        xlabel="$x_1$",
    )
axes[0].set_ylabel("$x_2$")
plt.show()

# %% [markdown]
# Samples after one step. The 1-rectified flow's land in the middle, as predicted. After one reflow they form the three Gaussians, with a thin bridge
# between neighbours: the points that start where a Gaussian of the base must split. A model *distilled* on pairs of the flow closes most of that
# gap, having been trained for this one step and nothing else (here on pairs of the 2-rectified flow).
#
# Between one step and many there is the whole range. For comparison we add two curved paths between the same two distributions, those behind
# the probability-flow ODEs of diffusion models {cite:p}`song2021score`,
#
# $$X_t = \alpha_t X_1 + \beta_t X_0,\qquad \alpha_t = e^{-\frac{a}{4}(1-t)^2 - \frac{b}{2}(1-t)},\qquad
#   \beta_t = \sqrt{1-\alpha_t^2}\ \text{(VP)}\quad\text{or}\quad \beta_t = 1-\alpha_t^2\ \text{(sub-VP)},$$
#
# with $a = 19.9$, $b = 0.1$. They get the benefit of the doubt: not a network, but their exact velocity, from the same
# formula with $\dot\alpha_t$ and $\dot\beta_t$ in it.

# %%
counts = np.array([1, 2, 4, 8, 16, 32])
few, few_target = base[:, :2048], target[:, :2048]
paths = {"straight": STRAIGHT, "VP": variance_preserving(), "sub-VP": sub_variance_preserving()}


@jax.jit
def euler_exactly(z0, count):
    """End points of Euler steps along the exact velocity of each path."""
    return {
        name: endpoint(toy._replace(path=path).velocity, z0, count, EULER)
        for name, path in paths.items()
    }


curves = {
    f"{k + 1}-rectified": [distance(euler(params, few, n), few_target) for n in counts]
    for k, params in enumerate(flows)
}
reached = [euler_exactly(few, n) for n in counts]
curves |= {name: [distance(z[name], few_target) for z in reached] for name in paths}
curves = {name: np.stack(values, 1) for name, values in curves.items()}
noise_floor = np.asarray(distance(np.roll(target, 2048, 1)[:, :2048], few_target)).mean()

# %% tags=["hide-input"] mystnb={"image": {"alt": "Energy distance to the target against Euler steps: 2- and 3-rectified flows are near the sampling floor from the start, the 1-rectified needs about ten steps, curved paths more."}}
fig, ax = plt.subplots(figsize=(7.2, 4))
band(ax, counts, curves["1-rectified"], PALETTE["blue"], label="1-rectified", marker="o", ms=4)
band(
    ax, counts, curves["2-rectified"], PALETTE["orange"], label="2-rectified", marker="o", ms=4
)
band(ax, counts, curves["3-rectified"], PALETTE["green"], label="3-rectified", marker="o", ms=4)
for k, face in enumerate((PALETTE["red"], "none")):
    found = distilled[source == k]
    ax.plot(
        np.ones(len(found)),
        found,
        "*",
        ms=10,
        color=PALETTE["red"],
        mfc=face,
        label=f"distilled from {k + 1}-rectified",
    )
for name, color, label in (
    ("straight", "blue", "1-rectified, exact $v^*$"),
    ("VP", "purple", "VP, exact"),
    ("sub-VP", "brown", "sub-VP, exact"),
):
    ax.plot(counts, curves[name].mean(0), "--", color=PALETTE[color], lw=1.4, label=label)
ax.axhline(noise_floor, color=THEORY, ls=":", lw=1.2, label="two samples of the target")
ax.set(
    xscale="log",
    yscale="log",
    xlabel="Euler steps (evaluations of the velocity)",
    ylabel="energy distance to the target",
)
ax.set_xticks(counts, [str(n) for n in counts])
ax.minorticks_off()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Energy distance to the target against the number of Euler steps. The dotted line is as low as a perfect sampler gets, since two samples of the target
# differ by as much; below it is chance. Bands are over repetitions. Four things to see:
#
# - *At one step*, reflow gains an order of magnitude, which is the claim above.
# - *At many steps*, nothing is left of the gain. The 2- and 3-rectified flows have learned from pairs that a network made, and each round adds its own
#   error. Reflow buys speed, not quality, and the third round, with nothing left to straighten, mostly adds error.
# - *Straight lines alone buy little.* Before reflow, the exact straight-line flow (blue, dashed) is no easier to follow than those of the curved
#   paths, of which the sub-VP one needs fewer steps in this example. The paper's case for straight lines is that they can be improved: reflow works by
#   virtue of them.
# - *Distillation* beats all flows at one step here, from either teacher: in two dimensions the map $z_0 \mapsto Z_1$ is simple enough to be learned
#   outright.
#   For images the paper finds the 2-rectified flow to be the better teacher.
#
# ## What differs from the paper
#
# - **Scale.** The paper's experiments are CIFAR-10, faces and bedrooms of 256 pixels, image-to-image translation and domain adaptation; its first figures are
#   toys such as this one. Nothing on this page is about the fidelity of images.
# - **Exact velocities.** For the first two claims $v^*$ is known in closed form and integrated, where the paper has a proof. The value $(4-\pi)s/2$
#   is not in the paper; it follows from its definitions.
# - **Reflow from scratch.** Each round starts from the first round's initialisation; the paper fine-tunes the last round's network. The distilled
#   models are fine-tuned here, too.
# - **Curved paths** are represented by their exact velocity rather than by trained networks, which flatters them. From a mixture as base, rather than the
#   standard Gaussian that they are made for, their path starts with $0.7\,\%$ of $X_1$ mixed in.
# - **What convexity does not show.** That costs fall is tested on flows whose costs fall a lot. A test of the inequality near equality would need
#   velocities more exact than a network's.
#
# On straightness itself more is known by now. {cite:t}`liu2022rectified` turns the procedure into one that is optimal for a chosen cost;
# {cite:t}`bansal2024wasserstein` bound the error of few Euler steps by straightness. The same least squares, with other paths, appear
# in {cite:t}`lipman2023flow` and {cite:t}`albergo2023building`. What the cost of an equation is to an *adaptive* solver, and how to train for it, is
# the subject of {doc}`opening-the-blackbox`.
#
# ## Things to try
#
# - `reprise run rectified-flow -p std 1.0`: wide Gaussians, hence smooth velocities, which networks learn well. The energy budget of the learned
#   flow adds up, and one step of the 2-rectified flow is as good as many.
# - `reprise sweep rectified-flow -p steps=300,1000,3000 -p seed=0..4`: how much of what is left after reflow is the network's doing.
# - `reprise run rectified-flow -p solver_steps 4`: pairs from a coarse solver. Reflow learns the solver's errors as if they were data: the 2-rectified
#   flow is some ten times less straight, and arrives less well.
# - `reprise run rectified-flow -p pairs 512`: few points, seen many times. All rounds arrive less well, since the sample's accidents are learned, but
#   the flows are as straight as before.
# - In the notebook: `np.eye(3) / 3` in `COUPLINGS` pairs each Gaussian with the next one on its left. These lines hardly cross, and
#   rectification changes them little: they remain at a cost of about $16$ where the best pairing has $13$. Straight flows are fixed points,
#   whether or not they are optimal.

# %%
paper.verdicts()
