"""Models on the device: slots on disk, loading with a probe, deployment; import its modules directly.

Nothing is imported here, because ``loaded`` and ``deploy`` bring the manifest's validation and numpy, and a device that
only asks for help pays for neither.
"""
