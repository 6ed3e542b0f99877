"""What gateway, workers and aggregator must agree on about a PACS."""

OWN_MANUFACTURER = "THORAX"
"""Manufacturer (0008,0070) of what this platform makes: a loop guard, as a PACS may send it back."""
