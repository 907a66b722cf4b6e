"""Displays show what they are told; the same story on a terminal, as lines, and as JSON."""

import io
import json
from pathlib import Path

import pytest

from nervure_simulations.display import Display, Kind, open_display, print_summary
from nervure_simulations.report import Report
from nervure_simulations.scenarios import load_scenario


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tell(display: Display, report: Report) -> None:
    display.start(load_scenario("three-regions"))
    display.phase(1.5, "three hubs are ready")
    display.sample(report.timeline[60])
    for record in report.rounds:
        display.round(record.ended_at_s or 0.0, record)
    display.fault(118.4, "the hub of europe was killed")
    display.finish(report)


def test_plain_lines_tell_the_whole_story(sample_report: Report) -> None:
    out = io.StringIO()
    tell(open_display("live", out), sample_report)  # no terminal: lines
    said = out.getvalue()
    assert "    1.5 s  three hubs are ready\n" in said
    assert "FAULT: the hub of europe was killed" in said
    assert "round 7: 10 + 10 updates" in said
    assert "not accepted: the worst site got worse" in said
    assert "\x1b" not in said


def test_json_lines_are_one_object_each(sample_report: Report) -> None:
    out = io.StringIO()
    tell(open_display("json", out), sample_report)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["start", "phase", "sample", *["round"] * 10, "fault", "report"]
    assert lines[-1]["events"]["lost"] == 0


def test_a_terminal_gets_a_screen_with_rounds_regions_and_the_fault(
    sample_report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Terminal()
    tell(open_display("live", out), sample_report)
    for word in ("nervure", "europe", "release 10", "the hub of europe was killed", "events"):
        assert word in out.getvalue()


@pytest.mark.parametrize("kind", ["live", "lines", "json"])
def test_a_run_that_was_stopped_says_so_and_leaves_the_screen_whole(kind: Kind) -> None:
    out = Terminal()
    display = open_display(kind, out)
    display.start(load_scenario("one-region"))
    display.finish(None)
    assert kind == "json" or "there is no report" in out.getvalue()


def test_the_summary_says_what_was_not_met(sample_report: Report) -> None:
    out = io.StringIO()
    print_summary(sample_report, Path("out/demo/report.html"), out)
    assert "NOT MET" in out.getvalue()
    assert "out/demo/report.html" in out.getvalue()
