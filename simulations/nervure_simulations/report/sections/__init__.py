"""The parts of the page, one file each: every function takes a ``Report`` and returns markup, or None to be left out."""

from nervure_simulations.report.sections.fleet import fleet_section
from nervure_simulations.report.sections.flow import flow_section
from nervure_simulations.report.sections.learning import learning_section
from nervure_simulations.report.sections.recovery import recovery_section
from nervure_simulations.report.sections.summary import bars_section, summary_section
from nervure_simulations.report.sections.tables import environment_section, rounds_section

__all__ = [
    "bars_section",
    "environment_section",
    "fleet_section",
    "flow_section",
    "learning_section",
    "recovery_section",
    "rounds_section",
    "summary_section",
]
