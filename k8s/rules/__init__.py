"""Rules over rendered objects, which schemas can't see: an object for itself, then what refers to what, then who reaches whom."""
