"""Tenants, users and invitations: sign-up, the own account, and the administration of all accounts."""
