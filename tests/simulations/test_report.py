"""The report holds every key it promises, and its page stands alone."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nervure_simulations.report import SCHEMA_VERSION, Report, render_page, write_report
from nervure_simulations.report.model import EventTotals


class Reader(HTMLParser):
    """Collects what a page would load, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_json_has_every_promised_key(sample_report: Report, tmp_path: Path) -> None:
    path, _ = write_report(sample_report, tmp_path / "out")
    data = json.loads(path.read_text())
    assert data["schema_version"] == SCHEMA_VERSION
    assert {"scenario", "duration_s"} <= data.keys()
    assert {"agents", "gateways"} <= data["regions"]["europe"].keys()
    assert {"produced", "acknowledged", "stored_unique", "duplicates_dropped", "lost"} <= data["events"].keys()
    assert {"count", "p50_us", "p99_us"} <= data["inference"].keys()
    promised = ["round", "region_updates", "accuracy", "f1", "fpr", "worst_site_fpr", "bytes_up_per_agent", "accepted"]
    assert set(promised) <= data["rounds"][0].keys()
    for when in ("initial", "final"):
        assert {"accuracy", "f1", "fpr"} <= data["detection"][when].keys()
    assert {"latest", "agents_on_latest", "agents"} <= data["models"].keys()
    assert {"kind", "region", "at_s", "agents", "rehomed", "rehome_p95_s"} <= data["faults"][0].keys()
    assert {"agent_rss_mib", "hub_rss_mib"} <= data["resources"].keys()


def test_a_report_is_read_back_as_it_was(sample_report: Report) -> None:
    assert Report.model_validate_json(sample_report.model_dump_json()) == sample_report


def test_the_page_loads_nothing_and_runs_nothing(sample_report: Report) -> None:
    page = render_page(sample_report)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.loads == []
    assert "script" not in reader.tags
    assert not re.search(r"url\(|@import", page)
    assert reader.tags.count("svg") == 1 + 12  # the leaf and the charts


def test_a_missed_promise_is_said_at_the_top(sample_report: Report) -> None:
    assert "1 of 4 promises not kept" in render_page(sample_report)
    kept = sample_report.model_copy(update={"bars": tuple(bar for bar in sample_report.bars if bar.met)})
    assert "All 3 promises kept" in render_page(kept)


def test_lost_events_are_shown_as_bad(sample_report: Report) -> None:
    events = EventTotals.model_validate({**sample_report.events.model_dump(), "lost": 12})
    page = render_page(sample_report.model_copy(update={"events": events}))
    assert re.search(r'class="card bad"><div class="what">Events lost</div><div class="value">12<', page)


def test_names_from_a_scenario_are_escaped(sample_report: Report) -> None:
    page = render_page(sample_report.model_copy(update={"title": "<script>alert(1)</script>"}))
    assert "<script>" not in page


@pytest.mark.parametrize("empty", ["timeline", "agents", "rounds", "faults", "bars", "marks"])
def test_the_page_does_without_any_part(sample_report: Report, empty: str) -> None:
    assert "</html>" in render_page(sample_report.model_copy(update={empty: ()}))
