"""What only administrators see: the audit, results that no destination took, webhooks, and a study that another bundle analyses again."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from click.testing import CliRunner
from tests.e2e.conftest import dated
from tests.e2e.person import SAMPLES, Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.bundles import make_bundle
from tests.factories.patience import until

from local_stack.backing import Backing
from local_stack.settings import LocalSettings
from thorax.commands.cli import cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Refusing(BaseHTTPRequestHandler):
    """A DICOMweb server that knows nobody."""

    def refuse(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_error(401)

    do_GET = do_POST = refuse

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def administrator(person: Person, stack: Run) -> Account:
    """Logged in."""
    about = stack.about()
    account = Account(stack, about["user"], about["password"])
    person.enter(account)
    return account


def test_a_result_that_no_destination_took_says_why_and_is_sent_again(
    person: Person, stack: Run, administrator: Account, refusing: ThreadingHTTPServer
) -> None:
    page, account = person.page, Account(stack)
    tenant = account.api.get("/auth/me").json()["tenant_id"]
    destinations = f"/v1/admin/tenants/{tenant}/destinations"
    body = {"url": f"http://127.0.0.1:{refusing.server_port}/dicom-web"}
    administrator.api.put(f"{destinations}/archive", json=body).raise_for_status()
    job = account.send(("chest.dcm", dated("20260102")), title="For the archive")
    account.final(job)
    dead = lambda: [one for one in administrator.api.get("/v1/admin/deliveries").json()["items"] if one["job_id"] == job]  # noqa: E731  # fmt: skip
    until(dead, "the delivery is not given up")
    page.goto("/admin")
    row = page.get_by_role("region", name="Results not delivered").locator("li", has_text=job[:8])
    row.get_by_text(account.name).wait_for()
    said = row.inner_text()
    assert "401" in said and "DICOMweb archive" in said and "1 attempt" in said
    asked = refusing.asked  # type: ignore[attr-defined]
    row.get_by_role("button", name=f"Resend {job[:8]} to archive").click()
    until(lambda: refusing.asked > asked, "nothing is sent again")  # type: ignore[attr-defined]
    administrator.api.delete(f"{destinations}/archive").raise_for_status()
    with page.expect_response("**/v1/admin/deliveries*"):
        page.reload()
    until(lambda: not row.count(), "a result for a destination that is not there any more is listed")


def test_a_webhook_is_added_told_again_and_removed(
    person: Person, stack: Run, administrator: Account
) -> None:
    page = person.page
    page.goto("/account")
    section = page.get_by_role("region", name="Webhooks")

    def add(name: str, url: str) -> None:
        section.get_by_label("Name of a new webhook").fill(name)
        section.get_by_label("Address").fill(url)
        page.keyboard.press("Enter")

    add("private", "https://10.1.2.3/")
    section.get_by_text("10.1.2.3 has no public address").wait_for()
    add("ris", "https://ris.invalid/thorax")
    section.get_by_text("ris.invalid has no address here").wait_for()
    secret = section.locator("code", has_text="whsec_").inner_text()
    add("ris", "https://ris.invalid/another")  # would replace the first one
    section.get_by_text("The name ris is taken").wait_for()
    section.get_by_role("button", name="Test ris").click()
    section.get_by_text("ris: The endpoint's name has no address here").wait_for()
    assert not person.axe()
    job = administrator.send(("chest.png", (SAMPLES / "chest.png").read_bytes()), title="To be told")
    administrator.final(job)
    items = lambda: administrator.api.get(f"/v1/jobs/{job}/deliveries").json()["items"]  # noqa: E731
    until(lambda: items() and items()[0]["attempts"] and items()[0]["state"] == "waiting")
    owner = Backing(LocalSettings(state=stack.state)).running_url(stack.state / "run.json")
    with psycopg.connect(owner.replace("+psycopg", "")) as database:  # as after a day of attempts
        database.execute("update deliveries set state = 'dead' where job_id = %s", [job])
    page.reload()
    assert secret not in page.content()
    dead = page.get_by_role("region", name="Results not delivered").locator("li", has_text=job[:8])
    dead.get_by_role("button", name=f"Resend {job[:8]} to ris").click()
    dead.wait_for(state="detached")
    assert items()[0]["state"] in ("waiting", "sending")
    section.get_by_role("button", name="Remove ris").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    section.get_by_role("button", name="Remove ris").wait_for(state="detached")
    assert items() == []


def test_the_audit_tells_what_was_done_and_by_whom(
    person: Person, stack: Run, administrator: Account
) -> None:
    page, account = person.page, Account(stack)
    who = account.api.get("/auth/me").json()["id"]
    job = account.send(("chest.png", (SAMPLES / "chest.png").read_bytes()), title="Private title")
    account.final(job)
    page.goto("/admin")
    audit = page.get_by_role("region", name="What was done")
    rows = audit.get_by_role("row")
    done = lambda what, to: rows.filter(has_text=what).filter(has_text=to[:8])  # noqa: E731
    done("sent", job).filter(has_text=who[:8]).wait_for()
    assert re.search(r"\s(worker|aggregator)\s.*state: succeeded", done("answered", job).inner_text(), re.S)
    assert (
        done("account created", who).count() == 1 <= done("logged in", who).count()
    )  # again on a slow machine
    said = audit.inner_text()
    assert "Private title" not in said and account.name not in said, "the audit has ids and no names"


def test_a_study_is_analysed_again_by_the_bundle_that_its_group_has_now(person: Person, stack: Run) -> None:
    page, account = person.page, Account(stack)
    person.enter(account)
    first = account.send(("chest.png", (SAMPLES / "chest.png").read_bytes()), title="Twice")
    account.final(first)
    page.goto(f"/studies/{first}")

    def again(bundle: str) -> None:
        before = page.url
        page.get_by_role("button", name="Analyse again").click()
        page.wait_for_url(lambda url: url != before)
        person.result("**/studies/*")
        page.get_by_role("link", name=bundle, exact=True).wait_for()

    again("tiny 1.0")
    models = stack.state.parent / "models"
    make_bundle(models / "second", 1, name="second", version="2.0")  # of format 1
    owner = Backing(LocalSettings(state=stack.state)).running_url(stack.state / "run.json")
    env = {"THORAX_DATABASE_URL": owner, "THORAX_MODELS": str(models)}
    tenant = account.api.get("/auth/me").json()["tenant_id"]
    for words in (["register", str(models / "second")], ["activate", "second", "--tenant", tenant]):
        done = CliRunner().invoke(cli, ["bundle", *words], env=env)
        assert done.exit_code == 0, done.output
    again("second 2.0")
    page.get_by_role("link", name="an earlier one").click()
    page.get_by_role("link", name="tiny 1.0", exact=True).wait_for()
    page.goto(f"/studies/{first}")
    page.get_by_role("link", name="tiny 1.0", exact=True).wait_for()  # the first result stays
    page.goto("/studies")
    marks = page.get_by_role("link", name="Superseded by a later result")
    until(lambda: marks.count() == 2)
    marks.first.click()
    page.get_by_role("link", name="second 2.0", exact=True).wait_for()
    page.goto("/studies")


def test_an_administrator_says_how_long_a_group_is_kept_and_holds_a_study(
    person: Person, stack: Run, administrator: Account
) -> None:
    page, account = person.page, Account(stack)
    tenant = account.api.get("/auth/me").json()["tenant_id"]
    job = account.send(("chest.png", (SAMPLES / "chest.png").read_bytes()), title="Held")
    study = account.final(job)["study"]["id"]
    page.goto("/admin")
    form = page.get_by_role("region", name="Retention")
    form.get_by_label("Group whose data are kept").select_option(tenant)
    form.get_by_text("Kept as those of all groups.").wait_for()
    form.get_by_label("Heatmaps: days").fill("30")
    form.get_by_role("button", name="Save days").click()
    form.get_by_text("Heatmaps: 30 days").wait_for()
    form.get_by_label("Study id or Study Instance UID").fill(study)
    form.get_by_role("button", name="Hold", exact=True).click()
    form.get_by_role("button", name=f"Release {study}").wait_for()
    assert account.api.delete(f"/v1/jobs/{job}").status_code == 409
    assert not person.axe()
    form.get_by_role("button", name=f"Release {study}").click()
    until(lambda: not form.get_by_role("button", name=f"Release {study}").count(), "the study stays held")
    form.get_by_role("button", name="Keep as all groups").click()
    form.get_by_text("Kept as those of all groups.").wait_for()
