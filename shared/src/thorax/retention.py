"""How long data are kept, and studies under legal hold: what administrators ask the database, by the gateway and by `thorax admin`."""

from thorax import queries

QUERIES = queries.load(__file__)
