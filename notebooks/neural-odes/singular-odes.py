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
# # Deep Learning solutions to singular ordinary differential equations: from special functions to spherical accretion
#
# Many equations of physics divide by zero. Legendre's equation, which one meets as soon as one separates variables on
# a sphere, is
#
# $$y'' = \frac{2x\,y' - \ell(\ell+1)\,y}{1 - x^2},\qquad -1\le x\le 1,$$
#
# and has two such places, $x = \pm1$, the poles. Nothing dramatic happens there: the solutions that one wants are
# polynomials. But a numerical integrator that arrives at a pole, or worse, is asked to start from one, sees $0/0$.
# And next to the wanted solution there is another one, with a logarithm, which a small error suffices to call up.
#
# The classical remedies are a local power series, with which one steps off the singular point by hand, or expansions
# in a basis of smooth functions. {cite:t}`cayuso2024singular` propose a third way: represent the solution by a small
# neural network and minimise the equation's residual over the whole interval, *multiplied out*, so that nothing is
# divided by zero. The network is a physics-informed one {cite:p}`raissi2019physics`, an idea that goes back to
# {cite:t}`lagaris1998artificial`. Its point here is what a network cannot do. It is smooth, so it cannot represent
# the logarithm. **Regularity takes the place of a boundary condition**, and no local analysis is needed.
#
# The page follows the paper through three of its four examples: Legendre's equation, the hypergeometric equation, and
# gas falling into a black hole, where the singular point (the place at which the flow passes the speed of sound) is
# not even known in advance. The second figure is the one to look forward to: the residual that is left when the
# degree $\ell$ is *not* an integer, when there is nothing smooth to find. It lies on a curve that can be calculated.
#
# ## Multiplied out
#
# A linear equation of second order, and the residual of a candidate $y$:
#
# $$\mathcal R[y](x) = p(x)\,y'' + q(x)\,y' + r(x)\,y .$$
#
# It is singular where $p = 0$. For Legendre's equation $p = 1 - x^2$, $q = -2x$, $r = \ell(\ell+1)$. At $x = 1$ the
# residual reads $-2y'(1) + \ell(\ell+1)\,y(1)$: not a division by zero but an ordinary equation, which ties the slope
# to the value. So a singular point *removes* a freedom, provided that $y''$ stays finite there.
#
# The network $N_\theta$ has one input, two hidden layers of $\tanh$ units and one output, and enters through
#
# $$y_\theta(x) = y_0 + (x - x_0)\,N_\theta(x),$$
#
# which has the value $y_0$ at $x_0$ whatever $\theta$ is. Without it the best solution would be $y = 0$. One value is
# all that an equation of second order is told: the place of the second condition is taken by smoothness at the
# singular points.
#
# Training minimises the sum of squares of $\mathcal R[y_\theta]$ at collocation points $x_1,\dots,x_m$, chosen denser
# towards the ends (the extrema of a Chebyshev polynomial, ends included).

# %% tags=["parameters"]
seed = 0  # all randomness derives from it
members = 3  # networks per equation, each from its own initialisation
width = 16  # units of both hidden layers, linear equations
points = 64  # collocation points
steps = 200  # Levenberg-Marquardt steps, linear equations
flow_width = 20  # units of both hidden layers, accretion flow
flow_steps = 250  # Levenberg-Marquardt steps, accretion flow
sound = 0.1  # k, squared speed of sound of the gas (speed of light 1)
start_radius = 5.0  # first guess of the sonic radius, in units of the black hole's mass
adam_steps = 2000  # steps of the first-order method that is compared
adam_rate = 0.01  # Adam's rate at the start of a cosine decay
march_steps = 4000  # Runge-Kutta steps of the marching solver

# %%
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from scipy.special import eval_legendre, gamma, hyp2f1

from reprise.claims import open_paper
from reprise.curvature.jacobian import per_example_jacobian
from reprise.dynamics.explicit import steps_on_host
from reprise.dynamics.singular import (
    accretion_brackets,
    accretion_profile,
    chebyshev_points,
    hypergeometric,
    jet,
    legendre,
    legendre_residual_floor,
    mach_number,
    polynomial_solution,
    sonic_point,
)
from reprise.networks.functional import from_vector, functional
from reprise.networks.mlp import MLP
from reprise.numerics.levenberg_marquardt import levenberg_marquardt
from reprise.plotting import PALETTE, THEORY, use_style
from reprise.training.loop import fit

use_style()
paper = open_paper("singular-odes", globals())

# %% [markdown]
# ## Networks of three hundred parameters deserve a better optimiser
#
# With $\theta\in\mathbb R^p$ ($p = 321$ by default) and $m = 64$ residuals, the Jacobian $J$ of the residuals is a
# small matrix. Levenberg-Marquardt {cite:p}`marquardt1963algorithm` uses all of it: the step $\delta$ minimises the
# *linearised* sum of squares, damped by $\mu$,
#
# $$\delta = -(J^\top J + \mu I)^{-1}J^\top\mathcal R = -J^\top(JJ^\top + \mu I)^{-1}\mathcal R ,$$
#
# with $\mu$ lowered after each success and raised after each failure. The second form, with a matrix of size $m\times
# m$, is the cheap one for more parameters than residuals, as in {doc}`sven`. Each row of $J$ is the gradient of one
# residual, by one backward sweep through the network and its first two derivatives in $x$. (The library's function is
# `levenberg_marquardt`; everything is in double precision, since second derivatives in single precision would stop at
# errors of about $10^{-3}$.)


# %%
def network(width, scale=1.0):
    """N(theta, x) for a parameter vector and a scalar x, and a function that draws parameter vectors."""
    make = lambda: MLP([1, width, width, 1], activation=jnp.tanh, rngs=nnx.Rngs(0))
    apply, shapes = functional(nnx.eval_shape(make))

    def draw(rng, count):
        """Standard normal biases, weights of variance 1 / fan-in; the last layer times `scale`."""
        sizes = [
            rng.normal(size=(count, leaf.size))
            / np.sqrt(leaf.shape[0] if leaf.ndim == 2 else 1)
            for leaf in jax.tree.leaves(shapes)
        ]
        sizes[-2:] = [scale * part for part in sizes[-2:]]  # bias and weights of the last layer
        return np.concatenate(sizes, 1)

    return lambda theta, x: apply(from_vector(shapes, theta), x[None])[0], draw


net, draw_net = network(width)


def solution(theta, x, at, value):
    return value + (x - at) * net(theta, x)


def residual(theta, x, p, q, r, at, value):
    y, slope, curvature = jet(lambda x: solution(theta, x, at, value), x)
    return p * curvature + q * slope + r * y


def train(theta, x, p, q, r, at, value):
    """One network for one equation: its parameters, and half the sum of squares after every step."""
    at_point = lambda theta, *here: residual(theta, *here, at, value)
    linearised = lambda theta: per_example_jacobian(at_point, theta, x, p, q, r)
    theta, trace = levenberg_marquardt(linearised, theta, steps)
    return theta, trace.loss


# %% [markdown]
# An equation is nothing but three columns of numbers, $p$, $q$, $r$ at the collocation points, so one compiled
# program solves all of them at once (`jax.vmap`): Legendre's equation for 17 degrees $\ell = 1, 1.25, \dots, 5$, once
# more with a perturbed datum for later, and the hypergeometric equation. The accretion flow is nonlinear and has a
# program of its own. On a second thread, `train_by_adam` gives one of the equations to a first-order method, for a
# comparison at the end of the page.

# %%
degrees = np.arange(1, 5.01, 0.25)
nudge = 1e-6  # error of a datum, for the comparison with marching
GAUSS = (0.5, 0.5, 3.5)  # a, b, c of the hypergeometric equation


def tabulated(equation, low, at, value):
    """An equation on [low, 1] as arrays, with the one value that its solution is told."""
    x = chebyshev_points(points, low, 1.0)
    return x, *(np.broadcast_to(part, x.shape) for part in equation(x)), at, value


problems = [tabulated(lambda x, l=l: legendre(x, l), -1.0, 1.0, 1.0) for l in degrees]
problems += [tabulated(lambda x: legendre(x, 3.0), -1.0, 1.0, 1.0 + nudge)]
problems += [tabulated(lambda z: hypergeometric(z, *GAUSS), 0.0, 0.0, 1.0)]
columns = [
    np.stack([np.asarray(part, float) for part in column])
    for column in zip(*problems, strict=True)
]
rng = np.random.default_rng(seed)
starts = draw_net(rng, members)

# Where solutions are looked at: 1001 Chebyshev points, ends included, and one point next to the right end.
near = 1 - 1e-6
fine = np.append(chebyshev_points(1001), near)
looks = np.stack(
    [fine if low < 0 else np.append((fine[:-1] + 1) / 2, near) for low in columns[0][:, 0]]
)


def in_double_precision(function, *arguments):
    """Compile and run a function, on whichever thread this is called."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(function)(*arguments))


def solve_all(starts, looks, *columns):
    """All networks of all equations: losses [problem, member, step], jets [problem, member, point, 3]."""

    def one(theta, look, *problem):
        theta, losses = train(theta, *problem)
        seen = lambda x: jnp.stack(jet(lambda x: solution(theta, x, *problem[-2:]), x))
        return losses, jax.vmap(seen)(look)

    each = jax.vmap(one, (0, *(None,) * 7))
    return jax.vmap(each, (None, *(0,) * 7))(starts, looks, *columns)


def train_by_adam(starts, x, p, q, r, at, value):
    """Losses [member, step], half a sum of squares, and the solutions' values at the fine points."""

    def loss(theta, _):
        each = jax.vmap(residual, (None, 0, 0, 0, 0, None, None))(theta, x, p, q, r, at, value)
        return 0.5 * jnp.mean(each**2)

    def one(theta):
        adam = optax.adam(optax.cosine_decay_schedule(adam_rate, adam_steps))
        theta, history = fit(loss, theta, adam, jax.random.key(0), adam_steps)
        y = jax.vmap(lambda x: solution(theta, x, at, value))(jnp.asarray(fine))
        return points * history["loss"], y

    return jax.vmap(one)(starts)


third = list(degrees).index(3.0)
pool = ThreadPoolExecutor(2)
linear = pool.submit(in_double_precision, solve_all, starts, looks, *columns)
of_third = [column[third] for column in columns]
by_adam = pool.submit(in_double_precision, train_by_adam, starts, *of_third)

# %% [markdown]
# ## Legendre's equation
#
# For $\ell = 0, 1, 2, \dots$ the solutions that are regular at both ends are the Legendre polynomials $P_\ell$. The
# network knows $y(1) = 1$ and nothing about $x = -1$.

# %%
losses, jets = linear.result()
by_degree = dict(zip(degrees, jets, strict=False))
exact = {l: eval_legendre(int(l), fine) for l in degrees if l == int(l)}
errors = {l: np.abs(by_degree[l][..., 0] - y) for l, y in exact.items()}
worst = np.stack([error.max(1) for error in errors.values()])  # [degree, member]
for l, row in zip(errors, worst, strict=True):
    print(f"l = {l:g}: largest error on [-1, 1] " + "  ".join(f"{value:.1e}" for value in row))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: networks for degrees one to five lie on the dashed Legendre polynomials. Right: their pointwise errors are between one in ten thousand and one in a billion everywhere, the ends included."}}
colors = dict(zip(exact, ("blue", "orange", "green", "red", "purple"), strict=True))
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.6))
for l, y in exact.items():
    color = PALETTE[colors[l]]
    typical = np.argsort(errors[l].max(1))[members // 2]
    axes[0].plot(
        fine[:-1], by_degree[l][typical, :-1, 0], color=color, lw=2.5, label=rf"$\ell = {l:g}$"
    )
    axes[0].plot(fine[:-1], y[:-1], color=THEORY, ls="--", lw=0.9)
    axes[1].plot(fine[:-1], np.maximum(errors[l][typical, :-1], 1e-12), color=color, lw=1)
axes[0].set(xlabel="$x$", ylabel="$y$: networks, and $P_\\ell$ dashed", ylim=(-1.1, 1.1))
axes[0].legend(loc="lower right", ncols=2, fontsize=9, columnspacing=1, handlelength=1.2)
axes[1].set(xlabel="$x$", ylabel=r"$|y - P_\ell|$", yscale="log", ylim=(1e-10, 1e-2))
plt.show()

# %% [markdown]
# *Left:* networks (colours) under the polynomials (dashed). *Right:* the pointwise error, for the network of median
# quality. It grows with the degree, for there is more to represent, and it does not grow towards $x = \pm1$, although
# $p = 1 - x^2$ gives the second derivative no weight there. At $x = 1$ it drops to zero, where the value was
# prescribed.

# %%
largest = worst.max(0)
paper.report("legendre-accuracy", np.median(largest), samples=largest)

# %% [markdown]
# ## No solution, no small residual
#
# For a degree that is not an integer, the solution that is regular at $x = 1$ has a logarithm at $x = -1$. A smooth
# function cannot solve the equation on the whole interval. How close can it come? One would expect the answer to
# depend on the network: the more units, the better an imitation of the logarithm. It does not, and this can be seen
# without any numerics.
#
# Let $\varphi(x) = P_\ell(-x)$ be the solution that is regular at the *other* end. Multiply the residual of any
# smooth $y$ with $y(1) = 1$ by $\varphi$ and integrate by parts twice. The equation holds for $\varphi$, so that only
# boundary terms remain,
#
# $$\int_{-1}^{1}\varphi\,\mathcal R[y]\,dx = \Big[(1 - x^2)(\varphi\,y' - \varphi' y)\Big]_{-1}^{1}
#   = \frac{2\sin\pi\ell}{\pi},$$
#
# since next to $x = 1$, $\varphi\approx\frac{\sin\pi\ell}{\pi}\ln\frac{1-x}{2}$, and everything else vanishes. The
# left side is *the same number for every candidate*: pushing the residual down in one place pushes it up in another.
# By the inequality of Cauchy and Schwarz its root mean square has a floor. With the mean taken over Chebyshev points,
# whose density is $1/\pi\sqrt{1-x^2}$,
#
# $$\mathrm{rms}\,\mathcal R[y]\;\ge\;\frac{2\,|\sin\pi\ell|}{\pi}\Big(\pi\int_{-1}^1\varphi^2\sqrt{1-x^2}\,dx\Big)^{-1/2}.$$
#
# It is zero exactly at the integers.

# %%
floor_at = np.linspace(0.9, 5.1, 421)
floor = np.array([legendre_residual_floor(l) for l in floor_at])


def remaining(l):
    """Residuals of the networks for degree l at 1001 Chebyshev points."""
    y, slope, curvature = np.moveaxis(by_degree[l][:, :-1], -1, 0)
    p, q, r = legendre(fine[:-1], l)
    return p * curvature + q * slope + r * y


residuals = np.stack([remaining(l) for l in degrees])  # [degree, member, point]
left = np.sqrt(np.mean(residuals**2, -1))
spectral = [
    polynomial_solution(lambda x, l=l: legendre(x, l), 12, 1.0, 1.0)[1] for l in degrees
]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Root mean square residual against the degree: networks and polynomials lie on the calculated floor, an arch of height about one between integers, and fall by orders of magnitude at the integers."}}
fig, ax = plt.subplots(figsize=(7.2, 3.8))
ax.plot(
    floor_at, np.maximum(floor, 1e-14), color=THEORY, ls="--", lw=1.3, label="floor, calculated"
)
for i in range(members):
    label = f"networks, {members} initialisations" if i == 0 else None
    ax.plot(
        degrees, left[:, i], "o", ms=6, mec="white", mew=0.8, color=PALETTE["blue"], label=label
    )
ax.plot(
    degrees,
    np.maximum(spectral, 1e-14),
    "x",
    ms=6,
    color=PALETTE["orange"],
    label="polynomials of degree 12",
)
ax.set(xlabel=r"degree $\ell$", ylabel=r"rms residual", yscale="log", ylim=(3e-15, 30))
fig.legend(loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# Networks (dots) and polynomials (crosses) sit *on* the floor between the integers: their representational power has
# nothing to do with it. At the integers the floor opens, and what is left is the quality of the method: the
# optimiser's for the networks, rounding for the polynomials. Scanning $\ell$ for dips of the residual therefore
# *finds* the eigenvalues of Legendre's equation, and that a network is smooth is all that selects them.

# %%
between = np.isin(degrees, [1.5, 2.5, 3.5])
whole = np.isin(degrees, [1.0, 2.0, 3.0, 4.0])
print(f"non-integer degrees: smallest rms residual {left[between].min():.3f}")
print(f"integer degrees: largest rms residual {left[whole].max():.1e}")
for l, row in zip(degrees[between], residuals[between], strict=True):
    # With half weights at the ends, the mean over Chebyshev points is that of the inequality.
    mean = (np.sum(row**2, -1) - 0.5 * (row[:, 0] ** 2 + row[:, -1] ** 2)) / (row.shape[-1] - 1)
    above = np.sqrt(mean.min()) / legendre_residual_floor(l) - 1
    print(f"l = {l}: the best network is {above:.4%} above the floor")
ratios = left[between].min(0) / left[whole].max(0)
paper.report(
    "regularity-selects-eigenvalues", left[between].min() / left[whole].max(), samples=ratios
)

# %% [markdown]
# ## The hypergeometric equation
#
# The equation
#
# $$z(1-z)\,w'' + [c - (a+b+1)z]\,w' - ab\,w = 0$$
#
# contains most special functions, Legendre's included. Its singular points are $z = 0$ and $z = 1$ (and infinity).
# Near zero the solutions behave like $1$ and $z^{1-c}$, near one like $1$ and $(1-z)^{c-a-b}$. The one that is
# regular at zero, with $w(0) = 1$, is ${}_2F_1(a,b;c;z)$, and its value at the other singular point is a *connection
# formula* of Gauss,
#
# $$w(1) = \frac{\Gamma(c)\,\Gamma(c-a-b)}{\Gamma(c-a)\,\Gamma(c-b)} .$$
#
# The network starts with $w(0) = 1$ and is not told where to arrive. We take $(a, b, c) = (\frac12, \frac12,
# \frac72)$. Here the powers are $z^{-5/2}$, which smoothness forbids, and $(1-z)^{5/2}$, which is present in the
# solution: it has two derivatives at $z = 1$, and no third.

# %%
a, b, c = GAUSS
gauss = gamma(c) * gamma(c - a - b) / (gamma(c - a) * gamma(c - b))
z, w = looks[-1][:-1], jets[-1][:, :-1, 0]
endpoint = np.abs(w[:, -1] / gauss - 1)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: networks follow the hypergeometric function from one at z = 0 to Gauss's value at z = 1. Right: relative errors stay below one in ten thousand."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.4))
reference = hyp2f1(a, b, c, z)
axes[0].plot(z, w.T, color=PALETTE["blue"], lw=2.5)
axes[0].plot(z, reference, color=THEORY, ls="--", lw=0.9, label="${}_2F_1$")
axes[0].plot(1, gauss, "o", color=PALETTE["orange"], label="Gauss's $w(1)$", clip_on=False)
axes[0].set(xlabel="$z$", ylabel="$w$")
axes[0].legend()
axes[1].plot(z, np.maximum(np.abs(w / reference - 1).T, 1e-12), color=PALETTE["blue"], lw=1)
axes[1].set(xlabel="$z$", ylabel="relative error", yscale="log", ylim=(1e-9, 1e-2))
plt.show()

# %% [markdown]
# All networks arrive at Gauss's value (left), and most of the error that they make on the way is made near $z = 1$
# (right), where the missing third derivative makes the solution hard to imitate for a smooth function.

# %%
paper.report("hypergeometric-endpoint", endpoint.max(), samples=endpoint)

# %% [markdown]
# ## What marching does
#
# A solver that starts at $x = 1$ must evaluate $y'' = (2xy' - \ell(\ell+1)y)/(1-x^2)$ there, and gets nothing. One
# that starts at a regular point and marches towards the singular one fails more quietly. We let the classical
# Runge-Kutta method march $P_3$ from $x = 0$ towards $x = 1$, with steps that shrink in proportion to the distance
# that remains. The right start is $y(0) = 0$, $y'(0) = -\frac32$. Now perturb the start by $10^{-6}$, in the *value*:
# the equation answers with $10^{-6}\cdot\frac32 Q_3(x)$, where $Q_3$ is the other solution,
#
# $$Q_3(x) = \frac{x(5x^2-3)}{2}\,\operatorname{artanh}x - \frac{5x^2}{2} + \frac23,\qquad Q_3'(x) \approx \frac{1}{2(1-x)}\ \text{ near } 1 .$$
#
# (Perturbing the slope would test nothing: it only rescales $P_3$.) The slope's error thus grows without bound, to
# $0.75$ at $x = 1 - 10^{-6}$, and no smaller step helps, since it is the equation's own doing. The network gets its
# datum wrong by as much, $y(1) = 1 + 10^{-6}$.


# %%
def explicit(x, state):
    """Legendre's equation of degree 3, solved for y''."""
    y, slope = state
    return np.array([slope, (2 * x * slope - 12 * y) / (1 - x**2)])


slope_of = lambda x: (15 * x**2 - 3) / 2  # of P_3
with np.errstate(divide="ignore", invalid="ignore"):
    print(f"at x = 1 the explicit form gives y'' = {explicit(np.float64(1.0), (1.0, 6.0))[1]}")
graded = 1 - (1 - near) ** (np.arange(march_steps + 1) / march_steps)
marched = {
    start: steps_on_host(explicit, graded, np.array([start, -1.5]))[:, 1]
    for start in (0.0, nudge)
}
by_marching = np.abs(marched[nudge][-1] - slope_of(near))
perturbed = jets[len(degrees)][..., 1]  # slopes of the networks with the wrong datum
by_network = np.abs(perturbed[:, -1] - slope_of(near))
print(
    f"error of y' at x = 1 - 1e-6: marching {by_marching:.3f}, networks {by_network.max():.1e}"
)

# The remedy: a power series around x = 1 for the first hundredth, then marching away from the singular point.
off, terms = 0.01, [1.0]
for k in range(3):
    terms.append(-terms[-1] * (12 - k * (k + 1)) / (2 * (k + 1) ** 2))  # in powers of 1 - x
start = [
    sum(t * off**k for k, t in enumerate(terms)),
    -sum(k * t * off ** (k - 1) for k, t in enumerate(terms) if k),
]
away = steps_on_host(explicit, np.linspace(1 - off, 0, march_steps + 1), np.array(start))
print(f"series start, then marching from 0.99 down to 0: error of y(0) {abs(away[-1, 0]):.1e}")
polynomial, _ = polynomial_solution(lambda x: legendre(x, 3.0), 12, 1.0, 1.0)
print(
    f"polynomial of degree 12: largest error {np.abs(polynomial(fine) - exact[3.0]).max():.1e}"
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Error of the slope against the distance from x = 1, both logarithmic: the perturbed march grows along the calculated line like one over the distance, the network's error stays level and small."}}
fig, ax = plt.subplots(figsize=(7.2, 3.8))
distance = 1 - graded
inner = graded[1:]
second = (
    (15 * inner**2 - 3) / 2 * np.arctanh(inner)
    + inner * (5 * inner**2 - 3) / 2 / (1 - inner**2)
    - 5 * inner
)
ax.plot(
    distance[1:],
    1.5 * nudge * np.abs(second),
    color=THEORY,
    ls="--",
    lw=1.3,
    zorder=3,
    label=r"$10^{-6}\cdot\frac{3}{2}|Q_3'|$",
)
for start, color, label in (
    (nudge, "red", "marching, $y(0)$ off by $10^{-6}$"),
    (0.0, "orange", "marching, exact start"),
):
    size = np.maximum(np.abs(marched[start] - slope_of(graded)), 1e-16)
    ax.plot(distance, size, color=PALETTE[color], label=label, lw=3 if start else 1.5)
inside = fine[:-1] > 0
order = np.argsort(-np.append(fine[:-1][inside], near))
at = np.append(fine[:-1][inside], near)[order]
sizes = np.abs(
    np.concatenate([perturbed[:, :-1][:, inside], perturbed[:, -1:]], 1)[:, order]
    - slope_of(at)
)
beyond = at < 1
for i in range(members):
    label = "networks, $y(1)$ off by $10^{-6}$" if i == 0 else None
    ax.plot((1 - at)[beyond], sizes[i, beyond], color=PALETTE["blue"], lw=1.3, label=label)
ax.set(
    xlabel="distance $1 - x$ from the singular point",
    ylabel="error of $y'$",
    xscale="log",
    yscale="log",
    xlim=(1, 1e-6),
    ylim=(1e-14, 10),
)
fig.legend(loc="outside upper center", ncols=2)
plt.show()

# %% [markdown]
# Towards the right the singular point comes closer. The march with a perturbed start (red) follows the calculated
# line, a slope error that grows like one over the distance. With an exact start (orange) the same growth sets in,
# from the method's own small errors. The network (blue) is far less accurate than an exact march in the middle of the
# interval, and it does not care where the singular point is: for its error to grow, it would have to produce a
# logarithm. What counts is the number of decades between red and blue at the right edge.
#
# To be fair, the printout above has the classical remedies too, and both are far more accurate than the network: a
# series at the singular point and a march *away* from it, and a polynomial of degree 12. The case for the network is
# that it needs no analysis of the point, not that it is more exact.

# %%
decades = lambda error: (
    np.log10(by_marching) - np.log10(error) if np.isfinite(by_marching) else 16.0
)
paper.report(
    "marching-fails",
    decades(by_network.max()),
    samples=[decades(error) for error in by_network],
)

# %% [markdown]
# ## Gas falling into a black hole
#
# In the steady spherical flow of a perfect fluid onto a Schwarzschild black hole
# {cite:p}`bondi1952spherically,michel1972accretion`, let $r$ be the radius, $u > 0$ the inward radial component of
# the four-velocity, and $p = k\rho$ the equation of state, with speed of sound $a = \sqrt k$ (lengths in units of the
# mass, $c = G = 1$). Conservation of particles and energy gives one equation of first order,
#
# $$\underbrace{\Big[u^2 - \big(1 - \tfrac2r + u^2\big)a^2\Big]}_{D}\;u' \;=\; u\,\underbrace{\Big[\big(1 - \tfrac2r + u^2\big)\tfrac{2a^2}{r} - \tfrac{1}{r^2}\Big]}_{B} .$$
#
# $D$ changes sign where the flow passes the speed of sound. If $B$ is not zero there as well, $u'$ is infinite. A
# smooth transonic flow therefore passes through the one point at which **both brackets vanish**,
#
# $$u_s^2 = \frac{1}{2r_s},\qquad a^2 = \frac{u_s^2}{1-3u_s^2}\quad\Longrightarrow\quad r_s = \frac{1 + 3k}{2k} .$$
#
# Two smooth curves cross at this point, accretion (slow outside, fast inside) and its opposite, a wind. For other
# equations of state $r_s$ has no such formula and must be found along with the flow. So the network is not told:
# $r_s$ is one more trainable number.
#
# In $s = 1/r$, with $s_0 = 1/20$ the outer end of the domain $3\le r\le20$, we write
#
# $$u_\theta = u(20)\,\frac{s}{s_0}\,e^{(s - s_0)N_\theta(s)},\qquad
#   \mathcal R = r^2\Big(D\,\frac{u'}{u} - B\Big) = -D\,\frac{d\ln u}{ds} - \frac{B}{s^2},$$
#
# which is positive, takes the given value at the outer end, and begins training with a flow that gets faster inward
# roughly as fast as it should. To the residuals at the collocation points we append two: $D$ and $r_s^2B$ at $r =
# r_s$, with $u = u_\theta(1/r_s)$.

# %%
outer, inner_end = 1 / 20, 1 / 3
boundary = accretion_profile(np.array([20.0]), sound)[0]
flow_net, draw_flow = network(flow_width, scale=0.1)


def log_speed(theta, s):
    unit = (2 * s - outer - inner_end) / (inner_end - outer)
    return jnp.log(boundary) + jnp.log(s / outer) + (s - outer) * flow_net(theta, unit)


def flow_residual(theta, s):
    value, slope = jax.jvp(lambda s: log_speed(theta, s), (s,), (jnp.ones_like(s),))
    flow, pull = accretion_brackets(1 / s, jnp.exp(value), sound)
    return -flow * slope - pull / s**2


def at_sonic_radius(both, which):
    """The brackets at the trainable radius: D (0) or r^2 B (1)."""
    theta, radius = both[:-1], both[-1]
    flow, pull = accretion_brackets(radius, jnp.exp(log_speed(theta, 1 / radius)), sound)
    return jnp.where(which == 0, flow, radius**2 * pull)


def solve_flow(starts, s, look):
    """Radii [member], log u at other points [member, point], losses [member, step]."""

    def linearised(both):
        inside = lambda both, s: flow_residual(both[:-1], s)
        parts = (
            per_example_jacobian(inside, both, s),
            per_example_jacobian(at_sonic_radius, both, jnp.arange(2)),
        )
        return tuple(jnp.concatenate(pair) for pair in zip(*parts, strict=True))

    def one(start):
        both, trace = levenberg_marquardt(linearised, start, flow_steps)
        return both[-1], jax.vmap(lambda s: log_speed(both[:-1], s))(look), trace.loss

    return jax.vmap(one)(starts)


flow_starts = np.c_[draw_flow(rng, members), np.full(members, start_radius)]
flow_look = np.linspace(outer, inner_end, 500)
flowing = (flow_starts, chebyshev_points(points, outer, inner_end), flow_look)
found_radii, log_u, flow_losses = in_double_precision(solve_flow, *flowing)

true_radius, _ = sonic_point(sound)
radii = 1 / flow_look
profile = accretion_profile(radii, sound)
profile_errors = np.abs(np.exp(log_u) / profile - 1)
for radius, error in zip(found_radii, profile_errors, strict=True):
    print(
        f"sonic radius {radius:.6f} (exact {true_radius:g}), largest relative error of u {error.max():.1e}"
    )

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: Mach number against radius; networks follow the accretion branch through Mach one at radius 6.5, where the dotted wind branch crosses it. Right: relative errors of the velocity, small on both sides of the sonic point."}}
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.7))
for i in range(members):
    label = "networks" if i == 0 else None
    axes[0].plot(
        radii,
        mach_number(radii, np.exp(log_u[i]), sound),
        color=PALETTE["blue"],
        lw=2.5,
        label=label,
    )
axes[0].plot(
    radii,
    mach_number(radii, profile, sound),
    color=THEORY,
    ls="--",
    lw=0.9,
    label="accretion, first integral",
)
wind = accretion_profile(radii, sound, wind=True)
axes[0].plot(
    radii,
    mach_number(radii, wind, sound),
    color=PALETTE["grey"],
    ls=":",
    label="wind, first integral",
)
axes[0].plot(found_radii, np.ones(members), "o", color=PALETTE["orange"], label="trained $r_s$")
axes[0].plot(start_radius, 1, "o", mfc="white", color=PALETTE["orange"], label="its start")
axes[0].set(xlabel="radius $r$ / mass", ylabel="Mach number", yscale="log", xscale="log")
axes[0].set_xticks([3, 5, 10, 20], ["3", "5", "10", "20"])
axes[0].set_yticks([0.3, 1, 3], ["0.3", "1", "3"])
axes[0].minorticks_off()
axes[1].plot(radii, np.maximum(profile_errors.T, 1e-12), color=PALETTE["blue"], lw=1)
axes[1].axvline(true_radius, color=PALETTE["orange"], lw=1.2)
axes[1].text(1.03 * true_radius, 2e-3, "exact $r_s$", color=PALETTE["orange"])
axes[1].set(
    xlabel="radius $r$ / mass",
    ylabel="relative error of $u$",
    xscale="log",
    yscale="log",
    ylim=(1e-9, 1e-2),
)
axes[1].set_xticks([3, 5, 10, 20], ["3", "5", "10", "20"])
axes[1].minorticks_off()
fig.legend(*axes[0].get_legend_handles_labels(), ncols=3, loc="outside upper center")
plt.show()

# %% [markdown]
# *Left:* the networks pass Mach 1 at the crossing of the two branches and stay on the accretion branch. The trained
# radius has moved there from its start (open circle). *Right:* the error is largest around the sonic point, where $D
# \approx 0$ and the residual says least about the slope, and it is small there, too.
#
# The profile belongs to the claim, because the radius alone can deceive. There are poor solutions that pass the
# crossing with a kink and turn onto the wind branch inside; next to $r_s$ the residual is multiplied by $D\approx0$
# and hardly notices, and $r_s$ looks right. A network whose profile is off by more than 1% anywhere therefore counts
# as an error of 1. The start of $u_\theta$ keeps nearly all networks away from such solutions.

# %%
radius_errors = np.where(
    profile_errors.max(1) < 0.01, np.abs(found_radii / true_radius - 1), 1.0
)
paper.report("sonic-point-found", np.median(radius_errors), samples=radius_errors)

# %% [markdown]
# ## How much is the optimiser's merit?
#
# The paper trains with first-order methods and quasi-Newton ones, larger networks, and loss weights that adapt near
# singular points. Here is the comparison for $\ell = 3$: the same networks and collocation points, from the same
# starts, trained by Adam, without weights.

# %%
adam_losses, adam_values = by_adam.result()
pool.shutdown()
adam_errors = np.abs(adam_values - exact[3.0]).max(1)
print(
    "largest error of Adam's solutions:               "
    + "  ".join(f"{e:.1e}" for e in adam_errors)
)
print(
    "largest error of Levenberg-Marquardt's solutions: "
    + "  ".join(f"{e:.1e}" for e in errors[3.0].max(1))
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Root mean square residual against the number of steps on logarithmic axes: Levenberg-Marquardt falls by orders of magnitude within two hundred steps, Adam by far less in two thousand."}}
fig, ax = plt.subplots(figsize=(7.2, 3.4))
rms = lambda losses: np.sqrt(2 * losses / points)
for i in range(members):
    for curves, color, label in (
        (adam_losses, "orange", "Adam"),
        (losses[third], "blue", "Levenberg-Marquardt"),
    ):
        x = np.arange(1, curves.shape[1] + 1)
        ax.plot(
            x, rms(curves[i]), color=PALETTE[color], lw=1.3, label=label if i == 0 else None
        )
ax.set(
    xlabel="steps, each one pass over the collocation points",
    ylabel="rms residual",
    xscale="log",
    yscale="log",
)
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# A step of Levenberg-Marquardt costs more than one of Adam (a gradient for each residual instead of one for their
# sum, and a linear system of size $m$), and is worth far more. Residuals of differential equations make badly
# conditioned least-squares problems. The same observation is behind the second-order methods of {doc}`sven`.
#
# ## What differs from the paper
#
# - **Optimiser.** Levenberg-Marquardt in double precision on networks of a few hundred parameters, in place of
#   first-order and quasi-Newton training of larger ones. There is no need here for the paper's adaptive weights near
#   singular points, and none are used; the page does not say what they are worth.
# - **Fewer examples.** The paper's main application, black holes in a theory of gravity that violates Lorentz
#   symmetry, is left out: two singular radii, long expressions, nothing new in kind. The equation of state of our gas
#   is the simplest one, for which $r_s$ is known in closed form.
# - **More checks.** That non-integer degrees leave a residual, and how large it must be, is implied by the analysis
#   of singular points that the paper rests on; it is not one of its experiments. Nor is the comparison with marching
#   one in numbers.
# - **No superiority is claimed** over a series start or a spectral method, which are cheaper and more exact on these
#   equations. Networks that are trained to *be* differential equations instead of solving given ones are the subject
#   of other pages of this part, such as {doc}`opening-the-blackbox`.
#
# ## Things to try
#
# - `reprise sweep singular-odes -p width=4,8,16,32`: with few units the errors for $\ell = 5$ grow; the residuals
#   between the integers stay where they are.
# - `reprise sweep singular-odes -p steps=50,100,200,400`: the dips at the integers get deeper, and nothing else
#   moves.
# - `reprise run singular-odes -p sound 0.05`: a colder gas; the sonic point moves outward, to $r_s = 11.5$. (The
#   claim about the radius is for any $k$ whose $r_s$ lies in the domain.)
# - `reprise sweep singular-odes -p start_radius=4,5,8,12`: how good a first guess of the sonic radius must be.
# - `reprise run singular-odes -p adam_steps 20000`: ten times as many steps of Adam.

# %%
paper.verdicts()
