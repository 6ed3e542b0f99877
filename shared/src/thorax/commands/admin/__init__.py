"""`thorax admin`: what an operator does, beside bundles and backups."""
