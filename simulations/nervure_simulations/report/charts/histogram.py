"""A distribution over logarithmic buckets, with its quantiles marked."""

from __future__ import annotations

from collections.abc import Sequence

from nervure_simulations.report.charts.frame import Frame, Plot
from nervure_simulations.report.charts.svg import Markup, tag


def histogram_chart(frame: Frame, buckets: Sequence[tuple[float, float, int]], *, colour: str) -> Markup:
    """Draw one column a bucket.

    Args:
        frame: The axes; its y domain reaches the largest count.
        buckets: (lower edge, upper edge, count).
        colour: CSS colour.
    """
    plot = Plot(frame)
    total = sum(count for _, _, count in buckets) or 1
    for low, high, count in buckets:
        if not count:
            continue
        left, right = plot.x.at(low), plot.x.at(high)
        top = plot.y.at(count)
        title = f"{frame.x_format(low)} to {frame.x_format(high)}: {count:,} ({count / total:.1%})"
        plot.add(
            tag(
                "rect",
                tag("title", title),
                x=left + 0.5,
                y=top,
                width=max(right - left - 1.0, 1.0),
                height=max(plot.y.start - top, 0.5),
                rx=1.5,
                class_="column",
                style=f"--c:{colour}",
            )
        )
    return plot.done()
