"""Who asks: nobody (the open API), the bearer of a token, a person, or a machine client."""

from dataclasses import dataclass, field

EARLY_S = 30.0
"""An access token is renewed so long before it ends."""


@dataclass(frozen=True)
class Credentials:
    """An access `token`, or what one is got for: a person's `user` and `password`, or a machine client's `client_id` and
    `client_secret`. With none of them the open API is used: no list of jobs, and whoever has a job's link has the job."""

    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)

    @property
    def anonymous(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.token or self.user or self.client_id)

    @property
    def form(self) -> dict[str, str] | None:
        """What /auth/token is asked (RFC 6749, 4.3 and 4.4); None where there is nothing to ask with."""
        if self.client_id:
            return {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            }
        if self.user:
            return {"grant_type": "password", "username": self.user, "password": self.password}
        return None
