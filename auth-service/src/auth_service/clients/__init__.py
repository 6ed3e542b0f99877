"""Machine clients: a PACS or a script with an id and a secret of its own."""
