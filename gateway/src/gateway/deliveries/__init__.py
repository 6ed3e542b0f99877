"""Where a tenant's results are sent, and what could not be delivered, for administrators."""
