"""The look of the book's figures: one style, one colour-blind-safe palette, pieces that several pages draw."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

#: Colours by role. A page gives each method one colour and keeps it; ``theory`` is always the dark line.
PALETTE = dict(
    zip(("blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "yellow", "cyan"),
        sns.color_palette("colorblind").as_hex(), strict=True)
)  # fmt: skip
THEORY = "#222222"


def use_style() -> None:
    """Set the book's Matplotlib style; in a notebook figures become SVG (pass ``rasterized=True`` to dense artists)."""
    sns.set_theme(context="notebook", style="ticks", palette=list(PALETTE.values()))
    mpl.rcParams.update(
        {
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
            "legend.fontsize": "small",
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
