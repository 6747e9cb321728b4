"""Emulated links: each node in a network namespace of its own, all joined by one process that relays their packets.

Rates, delays and loss are those of `core.links`, as in the simulator. Linux only, and as root.
"""
