"""The asyncio world: actors in processes of their own, mutually authenticated TLS between them, the wall clock."""
