"""Training without a framework: forward model in, training step out, both plain ONNX.

A hub builds ``train.onnx`` once from ``infer.onnx``; an agent runs it with the onnxruntime it has anyway. The step does
forward pass, loss, gradients by reverse-mode differentiation, FedProx's proximal term, optional clipping, and SGD or
Adam, in ordinary operators of the default ONNX domain.

What goes in and out is described in :mod:`.names`; the short form for agents:

- inputs ``x, y, lr, mu, p.<w>…, g.<w>…`` and with Adam ``m.<w>…, v.<w>…, t`` (start: zeros);
- outputs ``loss, grad_norm, new.p.<w>…`` and with Adam ``new.m.<w>…, new.v.<w>…, new.t``: the output ``new.<input>``
  is the next step's ``<input>``. Rows with a label outside 0 .. C-1 (-1, say) weigh nothing, so batches may be padded.

Rules: trainable weights are inputs, never initialisers, so one file serves every round; everything not in ``trainable``
is frozen into the graph, and operators that only touch frozen values (normalisation, say) need no gradient rule; a model
that can't be trained is refused with the reasons (:func:`supports`), never trained a little wrong. Operators are added
in ``rules/``, objectives in ``losses``, optimizers in ``optimizers``.

>>> from onnx import parser
>>> infer = parser.parse_model('''<ir_version: 9, opset_import: ["" : 17]>
... net (float[N, 2] x) => (float[N, 2] p) <float[2, 2] w = {1, 0, 0, 1}, float[2] b = {0, 0}>
... { s = Gemm(x, w, b)  p = Softmax(s) }''')
>>> supports(infer)
[]
>>> [value.name for value in build(infer, optimizer="sgd").graph.output]
['loss', 'grad_norm', 'new.p.w', 'new.p.b']
"""

from nervure_federation.training_graph.build import build, supports
from nervure_federation.training_graph.errors import UntrainableModelError
from nervure_federation.training_graph.forward import weights
from nervure_federation.training_graph.names import Optimizer

__all__ = ["Optimizer", "UntrainableModelError", "build", "supports", "weights"]
