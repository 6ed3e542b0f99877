"""Ways in for weights that exist already."""
