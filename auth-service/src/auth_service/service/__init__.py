"""What auth-service does, one file per subject. Services flush; the session dependency commits."""
