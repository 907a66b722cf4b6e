"""The workload ``network``: flows of one sensor, as rows of schema flow.v1 for a model.

Options (``[workload.options]``): exactly one of

    pcap = "traffic.pcap"        a capture file
    records = "conn.log"         a Zeek, Suricata or Argus log, or a flow table
    interface = "eth0"           live traffic

and, for files, ``speed``: 0 as fast as possible (the default), 1 as it happened, 10 ten times as fast; flows then come when they ended,
relative to the first one. ``labels`` names a file of label rules, ``site`` picks one site of a flow table, ``[workload.options.meter]``
holds time-outs and bounds of the meter.

Rules: a flow that carries a label becomes an observation with its truth, and only such rows feed a trainer; the source address is what a
response may act on; features are computed in the order of the source, whatever the pace.

>>> NetworkWorkload(NetworkOptions(interface="eth0")).name
'network'
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nervure_core.errors import ConfigurationError
from nervure_edge.config_sources import explain_validation
from nervure_edge.network.flow import Flow
from nervure_edge.network.flow_v1 import FlowFeatures
from nervure_edge.network.labels import LabelRules
from nervure_edge.network.meter import MeterSettings
from nervure_edge.network.row_binding import RowBinding
from nervure_edge.network.sources import CaptureSource, FlowSource, LiveSource, RecordSource
from nervure_edge.workloads.contract import ModelInput, Observation, WorkloadConfig

_LONGEST_WAIT_S = 0.1


class NetworkOptions(BaseModel):
    """What to sense."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pcap: Path | None = Field(default=None, description="a pcap or pcapng file, packed by gzip or not")
    records: Path | None = Field(default=None, description="flow records of Zeek, Suricata, Argus, or a flow table")
    interface: str | None = Field(
        default=None, min_length=1, max_length=15, description="live traffic of this interface"
    )
    speed: float = Field(default=0.0, ge=0, le=1e6, description="pace of a file: 0 at once, 1 as it happened")
    labels: Path | None = Field(default=None, description="CSV file of label rules")
    site: str = Field(default="", max_length=200, description="only flows of this site of a flow table")
    meter: MeterSettings = MeterSettings()

    @model_validator(mode="after")
    def _one_source(self) -> NetworkOptions:
        given = [name for name in ("pcap", "records", "interface") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"give exactly one of pcap, records and interface: {found}")
        if self.interface is not None and self.speed:
            raise ValueError("speed is for files: live traffic has its own pace")
        if self.site and self.records is None:
            raise ValueError("site picks flows of records: give records")
        return self


class NetworkWorkload:
    """Flows for a model.

    Args:
        options: Where flows come from.
        model_inputs: The inputs of the running model.
    """

    name = "network"

    def __init__(self, options: NetworkOptions, model_inputs: Callable[[], tuple[ModelInput, ...]] = tuple) -> None:
        self._options = options
        self._model_inputs = model_inputs

    def open(self) -> NetworkPipeline:
        """Open the source.

        Raises:
            InputError: A file is not what it should be.
            ConfigurationError, WorldError: The interface can't be captured.
        """
        options = self._options
        labels = LabelRules.read(options.labels)
        source: FlowSource
        if options.pcap is not None:
            source = CaptureSource(options.pcap, options.meter)
        elif options.records is not None:
            source = RecordSource(options.records, options.site)
        else:
            source = LiveSource(options.interface or "", options.meter)
        return NetworkPipeline(source, labels=labels, speed=options.speed, model_inputs=self._model_inputs)


def factory(config: WorkloadConfig) -> NetworkWorkload:
    """Make the workload from an agent's configuration: the entry point.

    Raises:
        ConfigurationError: An option is unknown, of the wrong type, or contradicts another.
    """
    try:
        options = NetworkOptions.model_validate(dict(config.options))
    except ValidationError as error:
        raise ConfigurationError(
            explain_validation(error, "workload network"), hint="see `nervure agent run --help`"
        ) from error
    return NetworkWorkload(options, config.model_inputs)


class NetworkPipeline:
    """One sensor at work.

    Args:
        source: Gives the flows.
        labels: Rules that label them.
        speed: Pace of a file; 0 for none.
        model_inputs: The inputs of the running model.
        monotonic_s: Clock of the pace, in seconds.
    """

    def __init__(
        self,
        source: FlowSource,
        *,
        labels: LabelRules | None = None,
        speed: float = 0.0,
        model_inputs: Callable[[], tuple[ModelInput, ...]] = tuple,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._labels = labels
        self._speed = speed
        self._binding = RowBinding(model_inputs)
        self._monotonic_s = monotonic_s
        self._features = FlowFeatures()
        self._waiting: deque[Flow] = deque()
        self._over = False
        self._closed = threading.Event()
        self._origin: tuple[float, int] | None = None

    def poll(self, limit: int) -> list[Observation] | None:
        if not self._waiting and not self._over:
            flows = self._source.read(limit, _LONGEST_WAIT_S)
            if flows is None:
                self._over = True
            else:
                self._waiting.extend(flows)
        if not self._waiting:
            return None if self._over else []
        observations: list[Observation] = []
        while self._waiting and len(observations) < limit:
            wait_s = self._wait_s(self._waiting[0])
            if wait_s > 0:
                if not observations:  # a bounded wait instead of a busy loop; closing ends it
                    self._closed.wait(min(wait_s, _LONGEST_WAIT_S))
                break
            observations.append(self._observe(self._waiting.popleft()))
        return observations

    @property
    def problem(self) -> str:
        """Why the source ended before it should have; empty where all is well."""
        return self._source.problem

    def stats(self) -> dict[str, int]:
        return self._source.stats()

    def close(self) -> None:
        self._closed.set()
        self._source.close()

    def _wait_s(self, flow: Flow) -> float:
        """Return how long a flow is still to come, in seconds; 0 or less: it is due."""
        if not self._speed:
            return 0.0
        now_s = self._monotonic_s()
        if self._origin is None:
            self._origin = (now_s, flow.end_us)
        origin_s, first_us = self._origin
        return origin_s + (flow.end_us - first_us) / 1e6 / self._speed - now_s

    def _observe(self, flow: Flow) -> Observation:
        if self._labels is not None:
            flow = self._labels.label(flow)
        return Observation(
            time_us=flow.end_us,
            subject=flow.subject,
            features=self._binding.bind(self._features.vector(flow)),
            detail=flow.detail(),
            truth=flow.label or None,
            source=flow.src,
        )
