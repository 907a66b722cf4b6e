"""How property tests are run on machines that may be busy: no deadline per example, fewer examples, no complaint about slowness."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

patient = settings(
    deadline=None,
    max_examples=60,
    # A folder shared by the examples of a test is fine: each example overwrites the files that it reads.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
