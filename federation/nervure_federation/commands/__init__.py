"""Commands of the federation, found by entry points ``nervure.commands``."""
