from __future__ import annotations

from pathlib import Path

import pytest

from nervure_edge.network.capture import UnreadableFile
from nervure_edge.network.flow import Flow
from nervure_edge.network.labels import BadLabels, LabelRules


def flow(src: str, dst: str, *, sport: int = 4000, dport: int = 80, proto: str = "tcp", start_us: int = 0) -> Flow:
    return Flow(
        start_us=start_us,
        dur_us=1,
        src=src,
        dst=dst,
        sport=sport,
        dport=dport,
        proto=proto,
        service="-",
        state="SF",
        spkts=1,
        dpkts=1,
        sbytes=40,
        dbytes=40,
    )


def rules(folder: Path, text: str) -> LabelRules:
    path = folder / "labels.csv"
    path.write_text(text)
    return LabelRules(path)


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        "# who attacked\n"
        "src,dst,proto,dport,start_us,end_us,label,attack\n"
        "10.77.0.2,10.77.0.1,tcp,21,,,attack,bruteforce\n"
        "10.77.1.0/24,,,,100,200,attack,flood\n"
        "fe80::/10,,,,,,benign,\n",
    )

    def label(*ends: str, dport: int = 80, sport: int = 4000, start_us: int = 0) -> tuple[str, str]:
        labelled = found.label(flow(ends[0], ends[1], dport=dport, sport=sport, start_us=start_us))
        return labelled.label, labelled.attack

    assert label("10.77.0.2", "10.77.0.1", dport=21) == ("attack", "bruteforce")
    assert label("10.77.0.1", "10.77.0.2", sport=21, dport=4000) == ("attack", "bruteforce")
    assert label("10.77.0.2", "10.77.0.1") == ("", "")
    assert label("10.77.1.9", "8.8.8.8", start_us=150) == ("attack", "flood")
    assert label("10.77.1.9", "8.8.8.8", start_us=200) == ("", "")
    assert label("ff02::1", "fe80::1") == ("benign", "")
    assert label("host-with-a-name", "fe80::1") == ("benign", "")


def test_a_last_empty_rule_labels_the_rest(tmp_path: Path) -> None:
    found = rules(tmp_path, "src,label\n10.0.0.9,attack\n,benign\n")
    assert found.label(flow("10.0.0.1", "10.0.0.2")).label == "benign"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 0, "there are no rules"),
        ("label\n", 1, "there are no rules"),
        ("src,dst\n", 1, "the column 'label' is missing"),
        ("label,sorce\n", 1, "there is no column 'sorce'"),
        ("src,label\n1.2.3.4,evil\n", 2, "label 'evil' is neither"),
        ("src,label\n1.2.3.400,attack\n", 2, "1.2.3.400"),
        ("src,label\n1.2.3.4\n", 2, "shorter"),
        ("dport,label\nhttp,attack\n", 2, "http"),
    ],
)
def test_rules_that_cannot_be_understood(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(BadLabels) as caught:
        rules(tmp_path, text)
    assert f"labels.csv, line {line}: " in caught.value.message
    assert reason in caught.value.message


def test_no_rules_and_no_file(tmp_path: Path) -> None:
    assert LabelRules.read(None) is None
    with pytest.raises(UnreadableFile):
        LabelRules.read(tmp_path / "absent.csv")
