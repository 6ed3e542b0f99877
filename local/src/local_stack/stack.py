"""Brings the platform up in the right order: stores, schema, bundle, services, first user."""

import json

import httpx

from local_stack.backing import Backing
from local_stack.logs import Log
from local_stack.process import Process, program
from local_stack.server import HOST, free_port, free_port_from, secret_in, write_private
from local_stack.services import Places, services, targets
from local_stack.settings import LocalSettings
from local_stack.supervisor import Supervisor
from thorax.bundle import load_bundle

FIRST_USER = "admin"


class Stack:
    """One platform on this machine."""

    def __init__(self, settings: LocalSettings, log: Log) -> None:
        self.supervisor = Supervisor(log)
        self._settings = settings
        self._backing = Backing(settings)
        self._auth_port = free_port()
        self.dicom_port = free_port_from(settings.dicom_port)
        self._password_file = settings.state.absolute() / "first-user"
        self._targets_file = settings.state / "prometheus-targets.json"
        self._aes = (settings.dicom_aes or settings.state / "dicom.toml").absolute()

    @property
    def password(self) -> str:
        """The first user's."""
        return secret_in(self._password_file)

    async def up(self) -> None:
        """Return when an image sent now would be accepted and analysed. Raises StartError."""
        settings = self._settings
        self._backing.check_connection()
        await self.supervisor.start(*(server.process for server in self._backing.embedded))
        if not self._backing.is_current(load_bundle(settings.bundle).digest):
            await self._migrate()
        auth, needed, more = services(settings, self._places())
        self.supervisor.begin(auth, *needed)
        # auth-service first: a gateway that found it unready waits long before it tries again.
        await self.supervisor.ready(auth)
        await self._ensure_first_user(auth)
        self._write_aes()
        await self.supervisor.ready(*needed)
        await self.supervisor.start(*more)
        write_private(self._targets_file, targets([auth, *needed, *more]))
        self._write_run_file()
        self.supervisor.on_change = self._write_run_file

    async def down(self) -> None:
        """Stop everything; only the state remains."""
        await self.supervisor.stop()
        self._settings.run_file.unlink(missing_ok=True)
        self._targets_file.unlink(missing_ok=True)

    def _places(self) -> Places:
        auth, delivery = self._settings.auth_secret, self._settings.state / "delivery-secret"
        for secret in (auth, delivery):
            secret_in(secret)
        databases, redis = self._backing.databases(), self._backing.redis_url()
        return Places(databases, redis, self._auth_port, auth, delivery, self.dicom_port, self._aes)

    async def _migrate(self) -> None:
        """Schema and bundle, as the schema's owner; the workers look for the active bundle when they start."""
        command = [program("thorax"), "migrate", "--bundle", str(self._settings.bundle.absolute())]
        owner = {"THORAX_DATABASE_URL": self._backing.owner_url()}
        await self.supervisor.once(Process("migrate", command, owner))

    async def _ensure_first_user(self, auth: Process) -> None:
        """Make sure that a first user exists."""
        form = {"grant_type": "password", "username": FIRST_USER, "password": self.password}
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{self._auth_port}") as client:
            if (await client.post("/auth/token", data=form, timeout=10)).is_success:
                return
        env = {**auth.env, "THORAX_ADMIN_PASSWORD_FILE": str(self._password_file)}
        create = [*auth.argv, "create-admin", "--name", FIRST_USER]
        await self.supervisor.once(Process("first-user", create, env))

    def _write_aes(self) -> None:
        """Unless the AE titles are given: THORAX takes studies for the first user from any peer of this machine."""
        if self._settings.dicom_aes is None:
            tenant = self._backing.tenant_of(FIRST_USER)
            write_private(self._aes, f'[THORAX]\ntenant = "{tenant}"\npeers = {{ "*" = ["127.0.0.0/8"] }}\n')

    def _write_run_file(self) -> None:
        ports = {server.name: server.port for server in self._backing.embedded}
        ports |= {"gateway": self._settings.port, "auth-service": self._auth_port, "dimse": self.dicom_port}
        person = {"user": FIRST_USER, "password": self.password}
        about = {"base_url": self._settings.base_url, "ports": ports, **person, "pids": self.supervisor.pids}
        write_private(self._settings.run_file, json.dumps(about, indent=2) + "\n")
