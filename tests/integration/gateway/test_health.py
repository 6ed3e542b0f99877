"""Probes, metrics, the documents that describe the API, and the gateway while other services are down."""
