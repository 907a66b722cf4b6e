from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.patience import patient

from nervure_core.errors import InputError, WorldError
from nervure_edge.network.dataset import load_features
from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.records import NotRecords, open_records
from nervure_edge.network.records.flow_table import (
    HEADER,
    NotAFlowTable,
    in_order_of_end,
    read_table,
    write_table,
)
from nervure_edge.network.records.row import ground_truth
from nervure_edge.network.services import SERVICES, UNKNOWN
from nervure_edge.network.tcp_state import STATES

EXPECTED = Flow(
    start_us=1_540_469_303_250_000,
    dur_us=114_184,
    src="192.168.1.132",
    dst="216.239.35.4",
    sport=58687,
    dport=22,
    proto="tcp",
    service="ssh",
    state="SF",
    spkts=3,
    dpkts=2,
    sbytes=152,
    dbytes=112,
    site="sample",
)

ZEEK_COLUMNS = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "local_orig",
    "local_resp",
    "missed_bytes",
    "history",
    "orig_pkts",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_ip_bytes",
    "tunnel_parents",
]
ZEEK_ROW = [
    "1540469303.25",
    "CGm6jB4",
    "192.168.1.132",
    "58687",
    "216.239.35.4",
    "22",
    "tcp",
    "-",
    "0.114184",
    "32",
    "32",
    "SF",
    "-",
    "-",
    "0",
    "ShADad",
    "3",
    "152",
    "2",
    "112",
    "-",
]
ZEEK_TSV = (
    "#separator \\x09\n#path\tconn\n#fields\t"
    + "\t".join(ZEEK_COLUMNS)
    + "\n#types\ttime\n"
    + "\t".join(ZEEK_ROW)
    + "\n#close\t2018\n"
)
IOT23_TSV = ZEEK_TSV.replace("tunnel_parents", "tunnel_parents   label   detailed-label").replace(
    "112\t-\n", "112\t(empty)   Malicious   PartOfAHorizontalPortScan\n"
)
ZEEK_CSV = (
    ",".join([*ZEEK_COLUMNS, "label", "detailed-label"])
    + "\n"
    + ",".join(["" if word == "-" else word for word in ZEEK_ROW])
    + ",Malicious,C&C\n"
)
ZEEK_JSON = (
    '{"ts":1540469303.25,"uid":"C","id.orig_h":"192.168.1.132","id.orig_p":58687,"id.resp_h":"216.239.35.4",'
    '"id.resp_p":22,"proto":"tcp","service":"ssh","duration":0.114184,"conn_state":"SF","orig_pkts":3,'
    '"orig_ip_bytes":152,"resp_pkts":2,"resp_ip_bytes":112}\n'
)
EVE = (
    '{"event_type":"dns","dns":{}}\n'
    '{"event_type":"flow","src_ip":"192.168.1.132","src_port":58687,"dest_ip":"216.239.35.4","dest_port":22,'
    '"proto":"TCP","app_proto":"ssh","flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":194,'
    '"bytes_toclient":140,"start":"2018-10-25T14:08:23.250000+0200","end":"2018-10-25T14:08:23.364184+0200"},'
    '"tcp":{"tcp_flags_ts":"1b","tcp_flags_tc":"1b"}}\n'
)
ARGUS = (
    "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,SrcPkts,Label\n"
    "2018/10/25 12:08:22.000000,0,arp,10.0.0.1,,who,10.0.0.2,,CON,,,2,84,42,1,\n"
    "2018/10/25 12:08:23.250000,0.114184,tcp,192.168.1.132,58687,   ->,216.239.35.4,22,FSPA_FSPA,0,0,5,334,194,3,"
    "flow=From-Botnet-V1\n"
)
TABLE = HEADER + "\n1540469303250000,114184,192.168.1.132,216.239.35.4,58687,22,tcp,ssh,SF,3,2,152,112,,,\n"

ALL = {
    "zeek-tsv": ZEEK_TSV,
    "zeek-csv": ZEEK_CSV,
    "zeek-json": ZEEK_JSON,
    "suricata-eve": EVE,
    "argus": ARGUS,
    "flows.v1": TABLE,
}


def save(folder: Path, content: str | bytes, name: str = "sample.log") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("form", ALL)
@pytest.mark.parametrize("packed", [False, True])
def test_one_flow_in_every_form(tmp_path: Path, form: str, packed: bool) -> None:
    content = ALL[form].encode()
    with open_records(save(tmp_path, gzip.compress(content) if packed else content)) as records:
        (flow,) = records
    assert replace(flow, label="", attack="") == EXPECTED
    assert (records.format, records.skipped, records.problem) == (form, 0, "")


def test_labels_of_the_data_sets(tmp_path: Path) -> None:
    found = {}
    for name, content in (("csv", ZEEK_CSV), ("tsv", IOT23_TSV), ("argus", ARGUS)):
        with open_records(save(tmp_path, content)) as records:
            (flow,) = records
        found[name] = (flow.label, flow.attack)
    assert found == {
        "csv": (ATTACK, "C&C"),
        "tsv": (ATTACK, "PartOfAHorizontalPortScan"),
        "argus": (ATTACK, "From-Botnet-V1"),
    }
    assert ground_truth("Benign", "-") == ground_truth("normal") == (BENIGN, "")
    assert ground_truth("-") == ground_truth("Background") == ("", "")
    assert ground_truth("Malicious", "-") == (ATTACK, "")


@pytest.mark.parametrize("form", ALL)
def test_damaged_rows_are_counted_and_passed_over(tmp_path: Path, form: str) -> None:
    good = ALL[form]
    last = good.rstrip("\n").splitlines()[-1] if form != "zeek-tsv" else good.splitlines()[-2]
    damaged = [
        last.replace("58687", "70000"),
        last.replace("58687", "x"),
        last.replace("192.168.1.132", ""),
        last[: len(last) // 2],
        last.replace("tcp", "\x00").replace("TCP", "\x00"),
        "\x00\xff" * 9,
        'a "lone\rreturn',
        '"' + "a field without end" * 9999,
        "[" * 5000,
    ]
    with open_records(save(tmp_path, good + "\n".join(damaged) + "\n" + last + "\n")) as records:
        flows = list(records)
    assert len(flows) == 2
    assert records.skipped == len(damaged)


def test_rows_without_values(tmp_path: Path) -> None:
    row = "\t".join("-" if word in ("0.114184", "32", "SF") else word for word in ZEEK_ROW)
    with open_records(save(tmp_path, ZEEK_TSV + row + "\n")) as records:
        _, flow = records
    assert (flow.dur_us, flow.state) == (0, "OTH")


def test_a_line_without_end_is_dropped(tmp_path: Path) -> None:
    content = TABLE + "x" * (3 << 20) + "\n" + TABLE.splitlines()[1] + "\n"
    with open_records(save(tmp_path, content)) as records:
        assert len(list(records)) == 2
    assert records.skipped == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("root:x:0:0\n", "first line 'root:x:0:0'"),
        ("#separator \\x09\n#fields\tts\tquery\n", "the column id.orig_h is missing"),
        ("ts,uid,proto\n", "the column id.orig_h is missing"),
        ('{"a": 1}\n', "JSON lines that are neither"),
        ("{" * 40 + "\n", "JSON lines that are neither"),
        (b"\xd4\xc3\xb2\xa1" + b"\0" * 40, "first line"),
    ],
)
def test_what_holds_no_records(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(NotRecords, match="no flow records") as caught:
        open_records(save(tmp_path, content))
    assert reason in caught.value.message


@patient
@given(st.data())
def test_whatever_the_bytes_only_input_errors(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(sorted(ALL.values()))).encode() * 3)
    for _ in range(data.draw(st.integers(0, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with open_records(save(tmp_path, bytes(content))) as records:
            flows = list(records)
    except InputError:
        return
    assert len(flows) + records.skipped + records.ignored > 0
    write_table(tmp_path / "again.csv", flows)
    assert list(read_table(tmp_path / "again.csv")) == flows


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["C", "Z"]), max_size=20)
FLOWS = st.builds(
    Flow,
    start_us=st.integers(0, 2**61),
    dur_us=st.integers(0, 2**40),
    src=st.ip_addresses().map(str),
    dst=st.ip_addresses().map(str),
    sport=st.integers(0, 65535),
    dport=st.integers(0, 65535),
    proto=st.sampled_from(["icmp", "gre", "ip-200"]),
    service=st.sampled_from(SERVICES),
    state=st.sampled_from(STATES),
    spkts=st.integers(0, 2**40),
    dpkts=st.integers(0, 2**40),
    sbytes=st.integers(0, 2**53),
    dbytes=st.integers(0, 2**53),
    label=st.sampled_from(["", BENIGN, ATTACK]),
    attack=WORDS,
    site=WORDS,
)


@patient
@given(st.lists(FLOWS, max_size=20), st.sampled_from(["flows.csv", "flows.csv.gz"]))
def test_tables_give_back_what_was_written(tmp_path: Path, flows: list[Flow], name: str) -> None:
    path = tmp_path / name
    assert write_table(path, flows) == len(flows)
    assert list(read_table(path)) == flows
    content = path.read_bytes()
    write_table(path, flows)
    assert path.read_bytes() == content, "the same flows must give the same bytes"
    assert list(tmp_path.glob("*.part")) == []


def test_a_port_names_the_service_where_the_row_does_not(tmp_path: Path) -> None:
    flow = replace(EXPECTED, service=UNKNOWN, site="a")
    write_table(tmp_path / "t.csv", [flow])
    assert next(read_table(tmp_path / "t.csv")).service == "ssh"


def test_tables_are_sorted_by_the_end() -> None:
    early, late = replace(EXPECTED, dur_us=1), replace(EXPECTED, start_us=EXPECTED.start_us - 5)
    assert in_order_of_end([late, early]) == [early, late]


def test_files_that_are_no_tables_or_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(NotAFlowTable, match=r"not a flows\.v1 table"):
        list(read_table(save(tmp_path, ZEEK_JSON)))
    with pytest.raises(WorldError, match="cannot write"):
        write_table(tmp_path / "no" / "such" / "folder.csv", [])


def test_whole_files_as_arrays(tmp_path: Path) -> None:
    flows = [
        replace(EXPECTED, site=site, label=label, dport=n)
        for n, (site, label) in enumerate([("a", BENIGN), ("b", ATTACK), ("a", ""), ("a", ATTACK)])
    ]
    write_table(tmp_path / "t.csv.gz", flows)
    data = load_features(tmp_path / "t.csv.gz")
    assert data.y.tolist() == [0, 1, -1, 1]
    assert data.sites == ("a", "b", "a", "a")
    assert data.of_site("a").y.tolist() == [0, -1, 1]
    assert data.skipped == 0
