"""Static SVG charts for one report: small functions from data to markup, no library and no script.

Rules: colours are CSS variables of the page, so one chart serves light and dark; every mark has a ``<title>`` for
hovering and for screen readers; every chart takes finished numbers and does no statistics.

>>> Frame("F1 over rounds", x=(0, 10), y=(0, 1)).width
560.0
"""

from nervure_simulations.report.charts.bands import Band, band_chart
from nervure_simulations.report.charts.frame import Frame, Mark, Plot
from nervure_simulations.report.charts.heat import Shade, heat_chart
from nervure_simulations.report.charts.histogram import histogram_chart
from nervure_simulations.report.charts.lanes import Lane, Span, lane_chart
from nervure_simulations.report.charts.lines import Line, line_chart
from nervure_simulations.report.charts.scale import Scale, linear, logarithmic
from nervure_simulations.report.charts.svg import Markup, tag, text

__all__ = [
    "Band",
    "Frame",
    "Lane",
    "Line",
    "Mark",
    "Markup",
    "Plot",
    "Scale",
    "Shade",
    "Span",
    "band_chart",
    "heat_chart",
    "histogram_chart",
    "lane_chart",
    "line_chart",
    "linear",
    "logarithmic",
    "tag",
    "text",
]
