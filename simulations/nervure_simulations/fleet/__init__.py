"""A whole fleet on one machine: etcd, Ray, regional hubs, agents, traffic, rounds, a fault, and the count at the end.

>>> report = await run_fleet(scenario, Path("out/demo"), display=open_display("lines", sys.stdout))  # doctest: +SKIP
>>> report.events.lost  # doctest: +SKIP
0
"""
