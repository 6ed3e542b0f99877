"""Logins: passwords checked, refresh tokens rotated, the cookies of the page, the OAuth2 token endpoint."""
