"""`aggregator`: serve `aggregate` hints."""

from aggregator.config import AggregatorSettings
from aggregator.tasks import AggregateHandler
from thorax.leaving import leave
from thorax.settings import load
from thorax.states import StepKind
from thorax.work.run import Process


def main() -> None:
    """Serve until told to stop."""
    settings = load(AggregatorSettings)
    process = Process("aggregator", settings)
    handler = AggregateHandler(process.engine, process.hints, quorum=settings.quorum)
    process.serve(handler, [StepKind.AGGREGATE], refresh=handler.capabilities)
    leave()


if __name__ == "__main__":
    main()
