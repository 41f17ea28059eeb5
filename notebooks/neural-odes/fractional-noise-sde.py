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
# # Variational Inference for SDEs Driven by Fractional Noise
#
# Brownian noise has no memory. Many signals do: the water level of the Nile, network traffic, volatility, the texture
# of a video. **Fractional Brownian motion** {cite:p}`mandelbrot1968fractional` is the Gaussian process that adds
# memory with a single number, the Hurst index $H\in(0, 1)$. Below $\frac12$ increments tend to reverse and paths are
# rough; above, they persist and paths are smooth; $H = \frac12$ is Brownian motion.
#
# For learning this is awkward. Neural stochastic differential equations (SDEs) are trained by variational inference,
# which compares a posterior over paths with a prior. For Brownian noise the comparison costs one integral along the
# path (Girsanov's theorem) because the noise is Markov: what happens next depends on the present state only.
# Fractional noise remembers its whole past, and the state that one would have to carry along is infinite.
#
# {cite:t}`daems2023variational` carry along a *short* one. A few Ornstein-Uhlenbeck processes that share one Brownian
# driver, each with a memory of a different length, are added up with weights that imitate fractional noise. The
# enlarged system is an ordinary SDE again, and the ordinary machinery applies. Three things make it practical, and
# this page tests each of them:
#
# 1. the best weights have a **closed form**, and about five processes are enough;
# 2. the variational bound with the usual control cost is **tight**: in a linear model, where the exact evidence is
#    known, it gets there;
# 3. the Hurst index is a **parameter** like any other, and can be read off data.
#
# ## From memory to a few exponentials
#
# Write fractional Brownian motion as a moving average of the increments of a Brownian motion $W$,
#
# $$B^H_t = \int_0^t k(t-s)\,\mathrm dW_s, \qquad k(\tau) = \frac{\tau^{H-1/2}}{\Gamma(H+\frac12)} .$$
#
# (This is "type II", which starts from rest at $t = 0$ and has variance $t^{2H}/2H\,\Gamma(H+\frac12)^2$. "Type I"
# has stationary increments and an infinite past. The two are not interchangeable, and this page uses type II
# throughout.) The power law $k$ is the memory. An *exponential* kernel would be harmless, since
#
# $$Y_t = \int_0^t e^{-\gamma(t-s)}\,\mathrm dW_s \qquad\text{obeys}\qquad \mathrm dY = -\gamma Y\,\mathrm dt + \mathrm dW .$$
#
# So approximate the power law by a sum of $K$ exponentials,
#
# $$\hat k(\tau) = \sum_{k=1}^K\omega_k\,e^{-\gamma_k\tau}, \qquad \hat B_t = \sum_{k=1}^K\omega_k\,Y^k_t, \qquad
#   \gamma_k = r^{\,k-(K+1)/2},$$
#
# with rates $\gamma_k$ spaced geometrically by a ratio $r$ and weights $\omega_k$ to be found. All the $Y^k$ are
# driven by the *same* $W$. It is one noise seen through $K$ memories.

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
hurst = 0.3  # Hurst index of the noise in the equation that is inferred
processes = 4  # Ornstein-Uhlenbeck processes in its approximation
spacing = 5.0  # ratio r of their rates
noise_sd = 0.5  # standard deviation of the observation noise
paths = 64  # simulated paths in a training step
steps = 600  # Adam steps of the variational control
learning_rate = 0.2  # Adam's rate at the start of a cosine decay
fresh_paths = 4096  # new paths behind the reported bound
true_hursts = [0.2, 0.35, 0.5, 0.65, 0.8]  # Hurst indices to recover from data
series = 8  # series for each of them
points = 200  # points of a series, on [0, 1]

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from reprise.claims import open_paper
from reprise.dynamics.fractional_noise import (
    approximation_error,
    augmented_system,
    error_gradient,
    exponential_kernel,
    fractional_covariance,
    fractional_kernel,
    geometric_rates,
    markov_covariance,
    optimal_weights,
    quadrature_weights,
    weight_system,
)
from reprise.inference.kalman import LinearGaussian, kalman_filter
from reprise.inference.path_measures import controlled_path
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.statistics.hurst import rescaled_range_hurst, variogram_hurst
from reprise.training.loop import fit

use_style()
paper = open_paper("fractional-noise-sde", globals())
BY_HURST = {0.2: PALETTE["blue"], 0.3: PALETTE["cyan"], 0.4: PALETTE["green"], 0.5: PALETTE["grey"], 0.7: PALETTE["orange"], 0.8: PALETTE["red"]}  # fmt: skip
rng = np.random.default_rng(seed)

# %% [markdown]
# ## What the approximation looks like
#
# Left: one Brownian path, filtered by the kernels of three Hurst indices. Right: the covariance of $B^H_1$ with
# $B^H_s$, exact (dashed, a hypergeometric function) and of the approximation with five processes (dots).

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: three paths driven by the same noise, rough for H 0.2, Brownian for 0.5 and smooth for 0.8. Right: covariances of fractional Brownian motion as dashed curves on which the dots of the five-process approximation lie."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7.8, 3.4))
fine = np.arange(1, 1001) / 1000
dw = rng.standard_normal(1000) * 1000**-0.5
five = geometric_rates(5, 8.0) * 2
at = np.linspace(0.02, 1, 25)
for h in (0.2, 0.5, 0.8):
    average = (
        np.diff(fine ** (h + 0.5), prepend=0)
        * 1000
        / ((h + 0.5) * fractional_kernel(1.0, h) ** -1)
    )
    left.plot(
        fine, np.convolve(average, dw)[:1000], color=BY_HURST[h], lw=1.3, label=f"$H = {h}$"
    )
    exact = fractional_covariance(at, h)[-1]
    right.plot(at, exact, "--", color=THEORY, lw=1.2)
    approximate = markov_covariance(at, optimal_weights(h, five, 1.0), five)[-1]
    right.plot(at, approximate, "o", ms=4, color=BY_HURST[h])
left.set(xlabel="time $t$", ylabel="$B^H_t$")
left.legend()
right.set(xlabel="time $s$", ylabel="covariance of $B^H_1$ and $B^H_s$", ylim=(0, None))
plt.show()

# %% [markdown]
# The same ups and downs, remembered differently: a small $H$ gives the most recent noise a large weight and forgets
# it soon, a large $H$ adds noise up over long times. On the right the dots lie on the curves, even on the steep end
# for $H = 0.2$, which comes from the singularity of the kernel at zero.
#
# ## The best weights
#
# How far is $\hat B$ from $B^H$? Both are driven by the same $W$, so their difference is again a moving average, and
# Itô's isometry turns the mean square error, integrated over $[0, T]$, into an integral over kernels,
#
# $$\mathcal E(\omega) = \int_0^T\!\mathbb E\bigl(\hat B_t - B^H_t\bigr)^2\mathrm dt
#   = \int_0^T (T-\tau)\,\bigl(\hat k(\tau) - k(\tau)\bigr)^2\,\mathrm d\tau .$$
#
# It is quadratic in the weights: $\mathcal E = \omega^\top A\,\omega - 2b^\top\omega + c$, with all coefficients in
# closed form,
#
# $$\begin{aligned}
#   A_{ij} &= \frac{T}{\gamma_i+\gamma_j} + \frac{e^{-(\gamma_i+\gamma_j)T}-1}{(\gamma_i+\gamma_j)^2}, \qquad
#   c = \frac{T^{2H+1}}{2H(2H+1)\,\Gamma(H+\frac12)^2}, \\
#   b_k &= \frac{T\,P(H+\frac12,\gamma_kT)}{\gamma_k^{H+1/2}} - \frac{(H+\frac12)\,P(H+\frac32,\gamma_kT)}{\gamma_k^{H+3/2}} ,
#   \end{aligned}$$
#
# where $P$ is the regularised incomplete gamma function. So the best weights are $\omega^* = A^{-1}b$ and the least
# error is $c - b^\top\omega^*$.
#
# The check takes the other side of the equation. `approximation_error` integrates the kernels' difference
# numerically, and `error_gradient` the derivative of that; neither knows $A$, $b$ or $c$. At $\omega^*$ the values
# must agree and the gradient must vanish.

# %%
differences = []
for h in (0.3, 0.7):
    rates = geometric_rates(5, 5.0)
    weights, system = optimal_weights(h, rates, 10.0), weight_system(h, rates, 10.0)
    by_quadrature = approximation_error(weights, h, rates, 10.0)
    formula = system.constant - system.vector @ weights
    slope = np.linalg.norm(error_gradient(weights, h, rates, 10.0)) / np.linalg.norm(
        system.vector
    )
    differences.append(abs(formula / by_quadrature - 1) if slope < 1e-6 else np.nan)
    print(
        f"H = {h}: error {by_quadrature:.6f} of {system.constant:.2f}, gradient {slope:.0e} of |b|"
    )
paper.report("weights-optimal", np.max(differences), samples=differences)

# %% [markdown]
# ## How many processes?
#
# The relative error $\mathcal E(\omega^*)/c$ for $T = 10$ and $K$ from 1 to 8. The spacing $r$ is tuned for every $K$
# and $H$, on the same list of 50 values.
#
# Earlier Markov approximations {cite:p}`carmona1998fractional,harms2020strong` got their weights by discretising an
# exact formula. For $H<\frac12$ the power law is a continuous mixture of exponentials,
#
# $$k(\tau) = \frac{1}{\Gamma(H+\frac12)\,\Gamma(\frac12-H)}\int_0^\infty\gamma^{\frac12-H}\,e^{-\gamma\tau}\,\frac{\mathrm d\gamma}\gamma ,$$
#
# and the rectangle rule in $\log\gamma$ gives
# $\omega_k = \gamma_k^{1/2-H}\ln r\,/\,\Gamma(H+\frac12)\,\Gamma(\frac12-H)$. These weights are compared at their own
# best spacing.

# %%
HORIZON, COUNTS, SPACINGS = 10.0, range(1, 9), np.geomspace(1.5, 100, 50)


def least_error(h, count, weights_of):
    """Smallest relative error over the spacings."""
    scale = weight_system(h, [1.0], HORIZON).constant
    grids = [geometric_rates(count, ratio) for ratio in SPACINGS]
    return (
        min(approximation_error(weights_of(h, rates), h, rates, HORIZON) for rates in grids)
        / scale
    )


best_weights = lambda h, rates: optimal_weights(h, rates, HORIZON)
optimised = {
    h: [least_error(h, k, best_weights) for k in COUNTS] for h in (0.2, 0.3, 0.4, 0.7, 0.8)
}
earlier = {
    h: [least_error(h, k, quadrature_weights) for k in COUNTS[1:]] for h in (0.2, 0.3, 0.4)
}

falls = [optimised[h][1] / optimised[h][4] for h in (0.2, 0.3, 0.7, 0.8)]
paper.report("error-falls-with-K", np.exp(np.mean(np.log(falls))), samples=falls)

# %%
ratios = np.array([np.array(earlier[h][3:]) / optimised[h][4:] for h in earlier])  # K = 5..8
paper.report("optimal-beats-quadrature", ratios.min(), samples=ratios)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the power-law kernel for H 0.3 and its approximations by one, two and five exponentials. Right: relative error over the number of processes for five Hurst indices, solid lines for optimised weights falling by orders of magnitude, dotted lines for quadrature weights lying above."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7.8, 3.6))
lags = np.geomspace(1e-3, 10, 300)
left.loglog(lags, fractional_kernel(lags, 0.3), "--", color=THEORY, label="$k$, $H = 0.3$")
for count, colour in zip(
    (1, 2, 5), (PALETTE["pink"], PALETTE["purple"], PALETTE["cyan"]), strict=True
):
    grids = [geometric_rates(count, ratio) for ratio in SPACINGS]
    rates = min(grids, key=lambda r: approximation_error(best_weights(0.3, r), 0.3, r, HORIZON))
    curve = exponential_kernel(lags, best_weights(0.3, rates), rates)
    left.loglog(lags, curve, color=colour, label=rf"$\hat k$, $K = {count}$")
left.set(xlabel=r"lag $\tau$", ylabel="kernel", ylim=(0.2, 6))
left.set_yticks([0.3, 1, 3], ["0.3", "1", "3"])
left.set_yticks([], minor=True)
left.legend()
for h, errors in optimised.items():
    right.semilogy(COUNTS, errors, "o-", ms=4, color=BY_HURST[h], label=f"$H = {h}$")
for h, errors in earlier.items():
    right.semilogy(COUNTS[1:], errors, "o:", ms=4, mfc="white", color=BY_HURST[h])
right.plot([], [], "o:", ms=4, mfc="white", color=PALETTE["grey"], label="quadrature weights")
right.set(
    xlabel="number of processes $K$", ylabel=r"relative error $\mathcal{E}/c$", ylim=(3e-8, 2)
)
right.legend(ncols=2, fontsize=9)
plt.show()

# %% [markdown]
# *Left*: each exponential holds the power law over about a decade and a half of lags, then the next one takes over.
# *Right*: the error falls by orders of magnitude from two processes to five. It falls most for smooth noise
# ($H>\frac12$), where the kernel is bounded, and slowest for $H = 0.2$, whose singularity takes ever faster processes
# to imitate. The open circles, weights by quadrature, always lie above. At $H = 0.2$ by a factor of two, at $H = 0.4$
# by thousands: the integrand then decays so slowly towards small $\gamma$ that cutting it off is the main error,
# which optimised weights simply absorb.
#
# ## Inference: an ordinary SDE, and its control
#
# A model driven by the approximation,
# $\mathrm dX = b_\theta(X, t)\,\mathrm dt + \sigma_\theta(X, t)\,\mathrm d\hat B$, is an SDE for the augmented state
# $Z = (X, Y^1, \dots, Y^K)$, since
#
# $$\mathrm d\hat B = -\sum_k\omega_k\gamma_kY^k\,\mathrm dt + \bar\omega\,\mathrm dW, \qquad \bar\omega = \sum_k\omega_k .$$
#
# The posterior given observations $y_i$ of $X_{t_i}$ is sought among *controlled* versions: wherever $\mathrm dW$
# stands, put $\mathrm dW + u(Z, t)\,\mathrm dt$. The control $u$ acts on $X$ and on every memory at once, and it
# lives in the directions in which there is noise, so that Girsanov's theorem gives the evidence lower bound (ELBO)
#
# $$\log p(y) \;\ge\; \mathbb E\Bigl[\,\sum_i\log p(y_i\mid X_{t_i}) - \frac12\int_0^T u^2\,\mathrm dt - \int_0^Tu\,\mathrm dW\Bigr] .$$
#
# The last term has mean zero and is often dropped. It is worth keeping: at the optimal control the whole bracket is
# *constant*, equal to $\log p(y)$ on every single path, so that the noise of the estimate vanishes together with the
# gap (in continuous time; almost, on a grid).
#
# Is the bound tight? Where everything is linear we can know. For the **fractional Ornstein-Uhlenbeck process**
# $b = -\theta X$ with $\theta = \sigma = 1$, $Z$ is a linear Gaussian system, its evidence comes from a Kalman
# filter, and the optimal control is linear in $Z$: $u = \kappa_n^\top Z + m_n$, with gains $\kappa_n$ and offsets
# $m_n$ for each Euler step $n$. These are learned from zero, by gradient descent through the simulation.

# %%
REVERSION, SCALE, SPAN, EULER, OBSERVATIONS = 1.0, 1.0, 2.0, 200, 8
STEP = SPAN / EULER
rates = geometric_rates(processes, spacing)
matrix, noise = augmented_system(optimal_weights(hurst, rates, SPAN), rates, REVERSION, SCALE)
times = np.linspace(0, SPAN, EULER + 1, dtype=np.float32)
seen = (
    EULER // OBSERVATIONS * np.arange(1, OBSERVATIONS + 1) - 1
)  # indices of states after a step
dim = processes + 1


def responses(matrix, noise):
    """X_n = sum_j G[n, j] dW_j under the Euler scheme, as the matrix G."""
    impulse, state = [], np.array(noise)
    for _ in range(EULER):
        impulse.append(state[0])
        state = state + STEP * matrix @ state
    lag = np.subtract.outer(np.arange(EULER), np.arange(EULER))
    return np.where(lag >= 0, np.array(impulse)[lag.clip(0)], 0.0)


prior = STEP * responses(matrix, noise) @ responses(matrix, noise).T
truth = responses(matrix, noise) @ (STEP**0.5 * rng.standard_normal(EULER))
data = truth[seen] + noise_sd * rng.standard_normal(OBSERVATIONS)

with jax.enable_x64(True):
    model = LinearGaussian(
        np.eye(dim) + STEP * matrix,
        STEP * np.outer(noise, noise),
        np.eye(dim)[:1],
        np.eye(1) * noise_sd**2,
    )
    observed = np.full((EULER, 1), np.nan)
    observed[seen, 0] = data
    filtered = jax.jit(kalman_filter)(model, np.zeros(dim), np.zeros((dim, dim)), observed)
    evidence = float(filtered.log_likelihood)
print(f"log evidence {evidence:.4f}")

# %% [markdown]
# The filter runs on the *Euler scheme* and not on the continuous equation, so that both sides speak of the same
# model. On the grid there is a catch. An exact posterior would also shrink the noise of a single step, which a drift
# cannot do. The best that any control can reach follows from the Riccati recursion of optimal control, backwards from
# $T$: with $M = I + hF$ and $V(Z) = \frac12Z^\top PZ + \dots$ the cost that is still to come,
#
# $$P \leftarrow M^\top P M - \frac{h\,M^\top Pg\,g^\top PM}{1 + h\,g^\top Pg}$$
#
# (and $P_{XX} \leftarrow P_{XX} + 1/s^2$ at an observation with noise $s$),
#
# each step adding the unavoidable $\frac h2g^\top Pg$ for its noise. In continuous time the gap would close.

# %%
value, unavoidable = np.zeros((dim, dim)), 0.0
move, first = np.eye(dim) + STEP * matrix, np.eye(dim)[0]
for n in reversed(range(EULER)):
    if n in seen:
        value = value + np.outer(first, first) / noise_sd**2
    unavoidable += 0.5 * STEP * noise @ value @ noise
    pull = move.T @ value @ noise
    value = move.T @ value @ move - STEP * np.outer(pull, pull) / (
        1 + STEP * noise @ value @ noise
    )
# The gap does not depend on the data: compare both sides for data that are all zero.
spread = prior[np.ix_(seen, seen)] / noise_sd**2 + np.eye(OBSERVATIONS)
grid_gap = (unavoidable - 0.5 * np.linalg.slogdet(spread)[1]) / OBSERVATIONS
print(f"smallest gap on this grid: {grid_gap:.4f} nats per observation")


def simulate(gains, dw):
    """Controlled paths of X [paths, steps], their controls, and the bracket of the bound [paths]."""
    small, g = jnp.asarray(matrix, jnp.float32), jnp.asarray(noise, jnp.float32)[:, None]
    control = lambda z, row: row[:1] + row[1:] @ z

    def one(dw):
        run = controlled_path(
            lambda t, z: small @ z,
            lambda t, z: g,
            control,
            jnp.zeros(dim),
            times,
            dw[:, None],
            gains,
        )
        miss = (data - run.path[seen, 0]) / noise_sd
        fits = -0.5 * jnp.sum(miss**2) - OBSERVATIONS * np.log(noise_sd * (2 * np.pi) ** 0.5)
        before = jnp.concatenate([jnp.zeros((1, dim)), run.path[:-1]])
        controls = gains[:, 0] + jnp.sum(gains[:, 1:] * before, axis=1)
        return run.path[:, 0], controls, fits - run.energy - run.martingale

    return jax.vmap(one)(dw)


@jax.jit
def learn(dw):
    """Gains [steps, 1 + dim] by Adam, and the negative bound at every update."""
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    loss = lambda gains, key, dw: -simulate(gains, dw)[2].mean()
    start = jnp.zeros((EULER, 1 + dim))
    return fit(loss, start, optax.adam(schedule), jax.random.key(0), steps, inputs=dw)


brownian = lambda *shape: np.float32(STEP**0.5) * rng.standard_normal(shape, dtype=np.float32)
gains, history = jax.device_get(learn(brownian(steps, paths, EULER)))
states, controls, bracket = jax.device_get(
    jax.jit(simulate)(gains, brownian(fresh_paths, EULER))
)
bound = bracket.mean(dtype=float)
gaps = (evidence - bracket.reshape(16, -1).mean(1, dtype=float)) / OBSERVATIONS
print(f"bound {bound:.4f}, standard error {bracket.std() / fresh_paths**0.5:.4f}")
paper.report("elbo-tight-on-fou", (evidence - bound) / OBSERVATIONS, samples=gaps)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the gap between evidence and bound falls over training to the level of the Riccati recursion. Right: the learned control against time, which bends before every observation."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7.8, 3.4))
gap = (evidence + history["loss"]) / OBSERVATIONS
left.semilogy(gap, color=PALETTE["blue"], lw=0.7, alpha=0.4, label=f"{paths} paths")
smooth = np.convolve(gap, np.full(25, 1 / 25), mode="valid")
left.semilogy(
    12 + np.arange(len(smooth)), smooth, color=PALETTE["blue"], label="mean of 25 steps"
)
left.axhline(grid_gap, color=THEORY, ls="--", label="best control on the grid")
left.plot(
    steps,
    gaps.mean(),
    "o",
    color=PALETTE["orange"],
    zorder=3,
    label=f"{fresh_paths} fresh paths",
)
left.set(xlabel="Adam step", ylabel="gap (nats per observation)", ylim=(grid_gap / 4, None))
left.legend(fontsize=9)
low, high = np.quantile(controls, (0.1, 0.9), axis=0)
right.fill_between(times[:-1], low, high, color=PALETTE["blue"], alpha=0.25, lw=0)
right.plot(times[:-1], controls.mean(0), color=PALETTE["blue"])
for t in times[seen + 1]:
    right.axvline(t, color=PALETTE["grey"], lw=0.8, ls=":")
right.set(xlabel="time $t$", ylabel="control $u$ (mean, 10–90%)")
plt.show()

# %% [markdown]
# *Left*: the bound climbs close to the best that this grid allows. *Right*: what the control does. Before an
# observation (dotted lines) it pushes harder and harder, because the process has no time left to forget what is done
# late; right after, it starts anew.
#
# The posterior that it produces, against the exact one. The latter comes from conditioning one big Gaussian, the 200
# states of the Euler scheme, without any filter or simulation.

# %%
gain = prior[:, seen] @ np.linalg.inv(
    prior[np.ix_(seen, seen)] + noise_sd**2 * np.eye(OBSERVATIONS)
)
exact_mean, exact_sd = gain @ data, np.sqrt(np.diag(prior - gain @ prior[seen]))
mean_error = np.sqrt(np.mean((states.mean(0) - exact_mean) ** 2)) / exact_sd.mean()
print(f"posterior mean is off by {mean_error:.3f} standard deviations (rms), "
      f"posterior sd by {np.abs(states.std(0) / exact_sd - 1).max():.3f} at most (relative)")  # fmt: skip

# %% tags=["hide-input"] mystnb={"image": {"alt": "Posterior of the fractional Ornstein-Uhlenbeck process: the learned mean and band coincide with the exact ones and follow the eight observations."}}
fig, ax = plt.subplots(figsize=(7.2, 3.6))
ax.fill_between(
    times[1:],
    states.mean(0) - 2 * states.std(0),
    states.mean(0) + 2 * states.std(0),
    color=PALETTE["blue"],
    alpha=0.2,
    lw=0,
)
ax.plot(times[1:], states[:6].T, color=PALETTE["blue"], lw=0.7, alpha=0.6)
ax.plot(
    times[1:], states.mean(0), color=PALETTE["blue"], label="learned: mean, ±2 sd, six paths"
)
ax.plot(times[1:], exact_mean, "--", color=THEORY, label="exact mean, ±2 sd")
for sign in (-2, 2):
    ax.plot(times[1:], exact_mean + sign * exact_sd, ":", color=THEORY)
ax.plot(times[seen + 1], data, "o", color=PALETTE["red"], label="observations")
ax.set(xlabel="time $t$", ylabel="state $X$")
ax.legend(ncols=3, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.16))
plt.show()

# %% [markdown]
# Mean and band of the controlled paths lie on the exact ones, and single paths are as rough as the prior's: a control
# bends them without smoothing them.
#
# What would it cost to ignore the memory? The evidence of any *Brownian* Ornstein-Uhlenbeck model is what its own
# bound could reach at best. Averaged over data from the fractional model the loss is a Kullback-Leibler divergence
# between two Gaussians; we give the Brownian model its best $\sigma$.

# %%
own = prior[np.ix_(seen, seen)] + noise_sd**2 * np.eye(OBSERVATIONS)
memoryless = responses(np.array([[-REVERSION]]), np.ones(1))
rival = STEP * (memoryless @ memoryless.T)[np.ix_(seen, seen)]
rivals = [s**2 * rival + noise_sd**2 * np.eye(OBSERVATIONS) for s in np.geomspace(0.1, 10, 200)]
divergence = lambda q: (
    0.5
    * (
        np.trace(np.linalg.solve(q, own))
        - OBSERVATIONS
        + np.linalg.slogdet(q)[1]
        - np.linalg.slogdet(own)[1]
    )
)
brownian_loss = min(map(divergence, rivals)) / OBSERVATIONS
print(f"mean loss of the best Brownian model: {brownian_loss:.4f} nats per observation")

# %% [markdown]
# With eight noisy observations it is small: data as few as these can hardly tell one Hurst index from another. With
# 200 exact ones it is another matter.
#
# ## Reading the Hurst index off data
#
# Exact type II paths, 200 points on $[0, 1]$, drawn with the Cholesky factor of the exact covariance, so that the
# approximation cannot profit from having made its own data. For each path, the likelihood of the *approximate* model
# with six processes, over a grid of $H$. The rates now reach from $0.3$ to $1.5$ per sampling interval, since
# roughness shows at the shortest lags.
#
# The amplitude $\alpha$ of the noise is unknown. If it were given, the variance alone would give $H$ away. Its best
# value $\hat\alpha^2 = y^\top C_H^{-1}y/n$ is put into the likelihood,
#
# $$\ell(H) = -\frac n2\log\bigl(y^\top C_H^{-1}\,y\bigr) - \frac12\log\det C_H + \text{const},$$
#
# where $C_H$ is the closed-form covariance of $\hat B$, with 0.1% of observation noise on the diagonal.
#
# Two textbook estimators serve as baselines. Both are slopes on logarithmic axes, and neither needs the amplitude.
#
# - The **variogram**: $\operatorname{mean}|y_{i+\ell} - y_i|^2$ grows as $\ell^{2H}$ with the lag $\ell$. The slope is
#   taken over lags from 1 to 8.
# - The **rescaled range**, with which Hurst discovered the phenomenon in the levels of the Nile
#   {cite:p}`hurst1951long`. Cut the series into windows of $n$ points, subtract in each the straight line between its
#   ends, and divide the range $R$ of what is left by the standard deviation $S$ of the increments. For large $n$, $R/S$
#   grows as $n^H$. Short windows are biased: for independent increments, $H = \frac12$, the expectation is known exactly
#   {cite:p}`anis1976expected` and looks like $H\approx0.6$ over windows of ten to a hundred points.
#   `rescaled_range_hurst` divides by that expectation first (or does not: `corrected=False`).

# %%
moments = np.arange(1, points + 1) / points
candidates = np.linspace(0.05, 0.95, 91)
fast = np.geomspace(0.3, 1.5 * points, 6)
covariances = np.stack(
    [markov_covariance(moments, optimal_weights(h, fast, 1.0), fast) for h in candidates]
)
level = np.trace(covariances, axis1=1, axis2=2) / points
covariances += 1e-6 * level[:, None, None] * np.eye(points)
logdets = np.linalg.slogdet(covariances)[1]

rng = np.random.default_rng([seed, 1])  # whatever was drawn before
roots = [np.linalg.cholesky(fractional_covariance(moments, h)) for h in true_hursts]
observed = np.stack(
    [root @ rng.standard_normal((points, series)) for root in roots]
)  # [H, points, series]
columns = np.swapaxes(observed, 0, 1).reshape(points, -1)
quadratic = np.einsum(
    "np,hnp->hp",
    columns,
    np.linalg.solve(covariances, np.broadcast_to(columns, (91, *columns.shape))),
)
likelihood = -0.5 * points * np.log(quadratic) - 0.5 * logdets[:, None]
estimates = candidates[likelihood.argmax(0)].reshape(len(true_hursts), series)
errors = np.abs(estimates - np.array(true_hursts)[:, None])

sampled = np.swapaxes(observed, 1, 2)  # [H, series, points]
increments = np.diff(sampled, prepend=0)
windows = [n for n in (10, 20, 25, 40, 50, 100, 200, 400) if n <= points // 2]
estimated = {
    "likelihood": estimates,
    "variogram": variogram_hurst(sampled),
    "rescaled range": rescaled_range_hurst(increments, windows),
    "the same, not corrected": rescaled_range_hurst(increments, windows, corrected=False),
}
print("mean absolute error, and bias at H = " + ", ".join(map(str, true_hursts)))
for name, values in estimated.items():
    off = values - np.array(true_hursts)[:, None]
    print(
        f"{name:>24}: {np.abs(off).mean():.4f}   " + " ".join(f"{x:+.2f}" for x in off.mean(1))
    )
paper.report("hurst-recovered", errors.mean(), samples=errors.mean(1))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: errors of three estimators for five Hurst indices; likelihood and variogram scatter closely around zero, the rescaled range more widely, too high for rough paths and too low for smooth ones. Right: profile log likelihoods of one path for each true index, each peaked near its own."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.9), width_ratios=(1.15, 1))
left.axhline(0, color=THEORY, ls="--", lw=1.2)
styles = {
    "likelihood": (-0.24, "o", PALETTE["blue"]),
    "variogram": (0.0, "s", PALETTE["grey"]),
    "rescaled range": (0.24, "^", PALETTE["purple"]),
}
for name, (shift, marker, colour) in styles.items():
    off = estimated[name] - np.array(true_hursts)[:, None]
    at = np.arange(len(true_hursts))[:, None] + shift + np.zeros(off.shape)
    left.plot(at.ravel(), off.ravel(), marker, ms=5, color=colour, alpha=0.5, label=name)
    left.plot(at[:, 0], off.mean(1), "_", ms=15, mew=3, color=colour)
left.set_xticks(np.arange(len(true_hursts)), [f"{h}" for h in true_hursts])
left.set(xlabel="true $H$", ylabel="estimated minus true $H$", ylim=(-0.22, 0.28))
left.grid(axis="x", visible=False)
left.legend(ncols=3, loc="upper center", fontsize=9, columnspacing=0.8, handletextpad=0.1)
for i, h in enumerate(true_hursts):
    curve, colour = likelihood[:, i * series], list(PALETTE.values())[i]
    right.plot(candidates, curve - curve.max(), color=colour)
    right.plot([h, h], [-12, 0], color=colour, lw=1, ls=":")
    right.text(h, 0.4, f"{h}", color=colour, ha="center", fontsize=10)
right.set(xlabel="$H$", ylabel="log likelihood below its maximum", xlim=(0, 1), ylim=(-12, 1.5))
right.grid(axis="x", visible=False)
plt.show()

# %% [markdown]
# *Left*: the errors for eight paths of each index; bars are their means. Both the likelihood and the variogram are off
# by a few hundredths, the likelihood by a little less. (The variogram does well because it looks at the shortest lags,
# where most of the information is.) The rescaled range is the worst of the three. It scatters more, for it works with
# few and long windows, and even with the correction it falls from left to right: rough paths look smoother and smooth
# ones rougher than they are. Without the correction, in the last printed row, rough paths are off by twice as much.
#
# *Right*: likelihoods of one path each, and its true index (dotted). They fall by two units, about two standard errors,
# within a tenth of the maximum or so: that is what 200 points of unknown amplitude can tell. All of this is a smooth
# function of $H$, through $\omega^*(H)$, which is why the paper can learn the Hurst index by gradients, together with
# the networks.
#
# ## What differs from the paper
#
# - **Only linear models** are inferred here. In them the control class contains the optimum and the evidence is
#   known, so that tightness can be checked at all. The paper goes on to neural drifts and diffusions and to latent
#   models of video.
# - **The control** has free gains at each of 200 steps. The paper's control is a network with the state and time as
#   inputs; for this model it would have to learn the same functions, which jump at observations.
# - **The bound is compared on the Euler grid**, where it has a gap of its own. The gap is computed, not fitted, and
#   is small because the observation noise is larger than the noise of a single step.
# - **The Hurst index** is found on a grid, for fractional Brownian motion itself. The paper optimises it by gradients
#   along with other parameters. A grid shows the whole likelihood.
# - **Type II only.** The paper treats type I as well, which has the same structure with other $A$, $b$ and $c$ and
#   processes that start in their stationary laws.
# - **Earlier weights** are represented by the plain rectangle rule at its best spacing; the cited works use finer
#   rules with better rates of convergence in $K$, which matters more when $K$ is large.
# - What makes neural SDEs stable is the subject of {doc}`stable-neural-sde`; the cost of solving their deterministic
#   cousins that of {doc}`opening-the-blackbox`.
#
# ## Things to try
#
# - `reprise sweep fractional-noise-sde -p hurst=0.2,0.3,0.5,0.7`: the grid's own gap grows as the noise gets rougher
#   ($\bar\omega$ grows, and with it the noise of a step) and all but vanishes for smooth noise.
# - `reprise run fractional-noise-sde -p noise_sd 0.1`: observations more precise than a single step of noise. No
#   drift can be tight then; the learned bound still reaches the dashed line, and the claim fails.
# - `reprise sweep fractional-noise-sde -p steps=50,100,200,400,800`: how long the gains take to learn.
# - `reprise run fractional-noise-sde -p points 50`: fewer points per series; the errors of the Hurst index double.
# - In the library: `optimal_weights(0.3, geometric_rates(20, 1.2), 10.0)`. Rates this close make $A$ nearly singular
#   and the weights huge, with alternating signs; the error stays small.

# %%
paper.verdicts()
