"""Rows from CSV, JSON lines or stdin for any ONNX model."""

from nervure_edge.workloads.table.workload import TableOptions, TableWorkload, factory

__all__ = ["TableOptions", "TableWorkload", "factory"]
