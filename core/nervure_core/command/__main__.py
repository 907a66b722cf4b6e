"""``python -m nervure_core.command`` is the command ``nervure``, for where the script is not on the path."""

from nervure_core.command import main

main()
