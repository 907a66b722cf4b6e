"""The report in a real browser: it renders, every chart has a size, and the console stays silent."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nervure_simulations.report import Report, write_report

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: install it to see the report rendered"),
]


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *flags, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )


def test_the_page_renders_without_a_word_in_the_console(sample_report: Report, tmp_path: Path) -> None:
    _, page = write_report(sample_report, tmp_path)
    done = browse(page, tmp_path / "profile", "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert len(re.findall(r'<svg[^>]*class="chart"', done.stdout)) == 12
    assert sample_report.title in done.stdout


@pytest.mark.parametrize("width", [1280, 420])
def test_a_picture_of_it_is_not_blank(sample_report: Report, tmp_path: Path, width: int) -> None:
    _, page = write_report(sample_report, tmp_path)
    picture = tmp_path / "page.png"
    browse(page, tmp_path / "profile", f"--screenshot={picture}", f"--window-size={width},3000")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 60_000  # an empty page of this size compresses to a few kilobytes
