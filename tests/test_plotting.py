import matplotlib as mpl
import numpy as np

from reprise import plotting

mpl.use("agg")


def test_band_draws_the_median_between_the_tenth_and_ninetieth_percentile():
    from matplotlib import pyplot as plt

    x, samples = np.arange(3.0), np.arange(11.0)[:, None] + np.array([0.0, 1.0, 2.0])
    samples[0, 0] = np.nan  # a seed without a value is left out, not drawn as a gap
    _, ax = plt.subplots()
    plotting.band(ax, x, samples, "black")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [5.5, 6, 7])
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([edges.min(), edges.max()], [1.9, 11])
    plt.close("all")


def test_neighbouring_colours_of_the_cycle_differ_in_lightness_or_hue():
    plotting.use_style()
    colors = [mpl.colors.to_rgb(c) for c in mpl.rcParams["axes.prop_cycle"].by_key()["color"]]
    assert len(set(colors)) == 10
    assert all(np.abs(np.subtract(a, b)).max() > 0.2 for a, b in zip(colors, colors[1:], strict=False))
