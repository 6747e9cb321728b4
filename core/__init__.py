"""What both worlds share: actors, wire, records, numerics, physics, learning and the roles of the system.

Nothing here knows whether it runs in the simulator or on real sockets; `import-linter` holds that.
"""
