"""The command ``nervure agent``."""
