"""Rules over rendered objects, which schemas cannot see: within an object, then references between objects, then network reach."""
