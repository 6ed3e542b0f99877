"""`gateway`: serve the public API and the page."""

from gateway.app import create_app
from gateway.config import GatewaySettings
from thorax import database, metrics, telemetry, tracing
from thorax.http.server import serve
from thorax.leaving import leave
from thorax.settings import load


def main() -> None:
    """Serve until told to stop."""
    settings = load(GatewaySettings)
    telemetry.configure("gateway", level=settings.log_level, form=settings.log_format)
    tracing.start("gateway")
    metrics.serve(settings)
    database.require_usable(settings.database_url.get_secret_value(), pooled=settings.database_pooled)
    app = create_app(settings)
    serve(app, settings.host, settings.port, grace_s=settings.grace_s, leaving=app.state.notifications.close)
    leave()


if __name__ == "__main__":
    main()
