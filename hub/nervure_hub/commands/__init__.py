"""Commands over a hub's HTTP API; each module is the target of one entry point in ``nervure.commands``.

Rules: a command knows the API and nothing else of the hub; importing it costs little (no Ray, no FastAPI, no rich);
tables for people, ``--json`` for machines.
"""
