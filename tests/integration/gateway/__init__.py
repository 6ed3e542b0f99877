"""The gateway over HTTP, with every process real."""
