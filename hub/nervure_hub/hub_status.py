"""How a hub does, as its API tells it."""

from __future__ import annotations

from typing import Any

from nervure_hub.commands.client import Api


def fetch_status(api: str) -> dict[str, Any]:
    """Return ``{"hub": …, "stats": …}``.

    Raises:
        NervureError: The hub is away, refuses, or can't say; the family says which.
    """
    with Api(api) as client:
        return {name: client.get(f"/v1/{name}") for name in ("hub", "stats")}


def render_status(status: dict[str, Any]) -> str:
    """Return the status as text."""
    hub, stats = status["hub"], status["stats"]
    events = stats["events"]
    lines = [
        f"hub {hub['region']} ({hub['hub_id']}), version {hub['version']}",
        f"  agents here  {stats['sessions']}",
        f"  events       {events['stored']} stored, {events['duplicates_dropped']} repeats dropped",
        f"  lost         {events['lost_reported']} events that agents had to drop",
        f"  memory       {stats['rss_mib']:.0f} MiB in {len(stats['pids'])} process{'' if len(stats['pids']) == 1 else 'es'}",
    ]
    lines += [
        f"  {item['name']:<12} {item['sessions']} sessions, {item['events']['received']} events, "
        f"journal {item['journal_bytes'] / 2**20:.1f} MiB, pid {item['pid']}"
        for item in stats["gateways"]
    ]
    others = [item for item in hub["hubs"] if item.get("hub_id") != hub["hub_id"]]
    if others:
        names = ", ".join(f"{item.get('region', '?')} ({item.get('grpc', '?')})" for item in others)
        lines.append(f"  other hubs   {names}")
    return "\n".join(lines)
