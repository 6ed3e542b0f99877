"""From predictions to the ensemble's findings and heatmaps; and the sweeper, which recovers lost work and deletes what is due."""
