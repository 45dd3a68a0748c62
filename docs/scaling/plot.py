"""Draws docs/scaling/autoscale.svg: the common and the recommended rule under a step, a ramp and a spike."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from autoscale import LOADS, MINUTE, simulate  # noqa: E402
from matplotlib import pyplot  # noqa: E402
from sweep import COMMON, RECOMMENDED  # noqa: E402

FIGURE = Path(__file__).with_name("autoscale.svg")

# Legible on white and on black, and told apart without seeing colours by their lightness and dashes.
INK, COMMON_COLOUR, RECOMMENDED_COLOUR, LOAD_COLOUR = "#848484", "#d9822b", "#2f8fd0", "#848484"
SHOWN = ("step", "ramp", "spike")
LOAD_LABEL = "load, in instances"

STYLE = {
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False, "font.size": 10,
    # The same file from the same data.
    "svg.hashsalt": "relance", "svg.fonttype": "none",
}  # fmt: skip


def draw() -> pyplot.Figure:
    """Instances and refused requests over time, a column for each load."""
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(2, 3, figsize=(10, 5), sharex="col", sharey="row", layout="constrained")
        for column, name in enumerate(SHOWN):
            load = LOADS[name]()
            above, below = axes[:, column]
            minute = slice(None, None, MINUTE)
            time = range(0, len(load) // MINUTE)
            above.plot(time, load[minute] / 1000, color=LOAD_COLOUR, linestyle=":", linewidth=2, label=LOAD_LABEL)
            for label, rule, colour, line in (
                ("common rule", COMMON, COMMON_COLOUR, "--"),
                ("recommended rule", RECOMMENDED, RECOMMENDED_COLOUR, "-"),
            ):
                run = simulate(load, rule)
                above.plot(time, run.ready[minute], color=colour, linestyle=line, drawstyle="steps-post", label=label)
                refused = run.refused.reshape(-1, MINUTE).sum(1) / run.offered.reshape(-1, MINUTE).sum(1)
                below.plot(time, 100 * refused, color=colour, linestyle=line, drawstyle="steps-post")
            above.set_title(name, fontsize=11)
            below.set_xlabel("minutes")
            for axis in (above, below):
                axis.grid(color=INK, alpha=0.25, linewidth=0.5)
        for row in axes:
            row[0].set_ylim(bottom=0)
        axes[0, 0].set_ylabel("instances")
        axes[1, 0].set_ylabel("refused, %")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        return figure


def save(path: Path = FIGURE) -> None:
    """Without a date and without a background, so that it fits pages in light and dark."""
    figure = draw()
    with pyplot.rc_context(STYLE):
        figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    save()
