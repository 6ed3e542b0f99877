"""Jobs: what a client polls."""
