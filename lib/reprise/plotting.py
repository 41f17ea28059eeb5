"""The look of the book's figures: one style, one colour-blind-safe palette, pieces that several pages draw."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

#: Colours by role, Seaborn's "colorblind" palette (spelled out: importing Seaborn takes a second). A page gives each
#: method one colour and keeps it.
PALETTE = {
    "blue": "#0173b2", "orange": "#de8f05", "green": "#029e73", "red": "#d55e00", "purple": "#cc78bc",
    "brown": "#ca9161", "pink": "#fbafe4", "grey": "#949494", "yellow": "#ece133", "cyan": "#56b4e9",
}  # fmt: skip
#: Predictions and closed forms are always drawn in this dark line.
THEORY = "#222222"
_INK = "#262626"


def use_style() -> None:
    """Set the book's Matplotlib style; in a notebook figures become SVG (pass ``rasterized=True`` to dense artists)."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=list(PALETTE.values())),
            "font.size": 12,
            "axes.labelsize": 12,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "axes.axisbelow": True,
            "axes.linewidth": 1.25,
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "text.color": _INK,
            "grid.color": "#cccccc",
            "xtick.color": _INK,
            "xtick.major.width": 1.25,
            "xtick.major.size": 6,
            "ytick.color": _INK,
            "ytick.major.width": 1.25,
            "ytick.major.size": 6,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "white",
            "figure.figsize": (7.2, 3.4),
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "image.cmap": "viridis",
            "svg.fonttype": "path",
            "svg.hashsalt": "reprise",
        }
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    set_matplotlib_formats("svg")


def band(ax: Axes, x: ArrayLike, samples: ArrayLike, color: str, label: str | None = None, **line) -> None:
    """Draw the median over seeds of ``samples`` (shape ``[seeds, points]``), in a band of 10th to 90th percentile."""
    low, middle, high = np.nanquantile(np.asarray(samples), (0.1, 0.5, 0.9), axis=0)
    ax.plot(x, middle, color=color, label=label, **line)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
