"""The network workload: flows from live traffic, capture files or the logs of other tools, as features for a model.

What is where:

- `nervure_edge.network.capture`: packets from pcap and pcapng files
- `nervure_edge.network.packets`, `meter`: headers and the grouping of packets into flows
- `nervure_edge.network.records`: flows that other tools measured, and our own flow tables
- `nervure_edge.network.flow_v1`: the feature schema; `dataset`: whole files as arrays
"""

from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.flow_v1 import COLUMNS, SCHEMA, FlowFeatures
from nervure_edge.network.meter import FlowMeter, MeterSettings, meter_capture
from nervure_edge.network.records import open_records
from nervure_edge.network.records.flow_table import in_order_of_end, read_table, write_table

__all__ = [
    "ATTACK",
    "BENIGN",
    "COLUMNS",
    "SCHEMA",
    "Flow",
    "FlowFeatures",
    "FlowMeter",
    "MeterSettings",
    "in_order_of_end",
    "meter_capture",
    "open_records",
    "read_table",
    "write_table",
]
