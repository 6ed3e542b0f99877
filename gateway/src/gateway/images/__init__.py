"""Pictures of an image: display, heatmap overlays, the original."""
