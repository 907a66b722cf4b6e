"""The command ``nervure``: a click group that finds its subcommands in the entry points ``nervure.commands``.

Rules:
- Importing this package, and listing the subcommands, imports no part of Nervure but core: a device without the hub's
  extras can still ask for help.
- Subcommands raise ``NervureError``; here it becomes one message on standard error and the family's exit status. With
  ``--json`` anywhere on the line the message is a JSON object.
- A bug shows its traceback only with ``NERVURE_TRACEBACK=1``; else one line that says where to look.

>>> nervure --help  # doctest: +SKIP
"""

from nervure_core.command.group import cli, main
from nervure_core.command.output import emit, json_option, wants_json

__all__ = ["cli", "emit", "json_option", "main", "wants_json"]
