"""Federated rounds: every hub trains its own agents, one elected leader joins what the hubs bring, judges and publishes.

Who reads this for the first time reads, in order:

- ``spec``: what a run is told. ``records``: what the coordination store holds of it, and under which keys.
- ``phases``: the table of what may follow what in one round.
- ``leader`` (which hub leads, which runs are due) and ``driver`` (one run, step by step, resumable at each).
- ``region`` (what a hub works on) and ``region_work`` (gather, select, train, store, say what came of it).
- ``training``: the strategy's four methods over a ``SessionGrid``; the only part that needs Flower.
- ``ledger``, ``selection``, ``joining``, ``summary``: the decisions, pure. ``workshop``, ``collecting``: what touches the
  world. ``submitting``: asking for runs.

Rules: a hub never waits for another hub but through the coordination store, so whoever is killed, the others go on; the
result does not depend on who led, nor on the order in which anybody answered.
"""
