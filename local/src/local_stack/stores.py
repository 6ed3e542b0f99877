"""The stores of the platform, embedded: `Postgres(folder)` and `Valkey(folder)`, each a context manager."""

from local_stack.postgres import Postgres
from local_stack.valkey import Valkey

__all__ = ["Postgres", "Valkey"]
