"""One installation is of one version, and each version has a migration of its own."""

from collections.abc import Iterator

from rules.objects import Object, Rendered, called, containers_of

STORES = {"postgres", "valkey"}


def complaints(rendered: Rendered) -> Iterator[str]:
    """Images of several versions, and a Job whose name an upgrade would not change. A digest does not say its version."""
    own = [each for each in rendered.workloads if each["metadata"]["name"] not in STORES]
    found = {tag: called(each) for each in own for tag in _tags(each)}
    if len(found) > 1:
        yield f"images of {len(found)} versions: {', '.join(f'{tag} in {where}' for tag, where in found.items())}"
    for job in rendered.of("Job"):
        for tag in _tags(job):
            if tag.replace(".", "-") not in job["metadata"]["name"]:
                yield f"{called(job)}: is not named after {tag}: a Job cannot be changed, and an upgrade would be refused"


def _tags(workload: Object) -> Iterator[str]:
    for container in containers_of(workload):
        place, _, _ = container["image"].partition("@")
        _, colon, tag = place.rpartition("/")[2].partition(":")
        if colon:
            yield tag.removesuffix("-gpu")
