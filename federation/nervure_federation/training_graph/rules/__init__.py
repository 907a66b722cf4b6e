"""The gradient rules, one family of operators a file. Importing this package fills the table."""

from nervure_federation.training_graph.rules import activations, arithmetic, linear, shapes

__all__ = ["activations", "arithmetic", "linear", "shapes"]
