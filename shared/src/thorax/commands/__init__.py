"""The `thorax` command line."""
