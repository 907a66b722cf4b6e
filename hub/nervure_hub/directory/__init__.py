"""The directory: who is here, what they run and report."""

from nervure_hub.directory.directory import Directory

__all__ = ["Directory"]
