"""A session that ends elsewhere: files wait for their owner and never reach the open API by themselves."""

import pytest
from tests.e2e.person import SAMPLES, Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.patience import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def ended(person: Person, stack: Run) -> Account:
    """Somebody at the upload view, whose session another browser has ended meanwhile."""
    account = Account(stack)
    person.enter(account)
    person.page.goto("/")
    person.page.get_by_role("button", name=f"Account of {account.name}").wait_for()
    for session in account.api.get("/auth/sessions").json():
        if session["page"]:
            account.api.delete(f"/auth/sessions/{session['id']}").raise_for_status()
    person.context.clear_cookies(name="thorax_access")  # it outlives its session by some minutes
    return account


def choose(person: Person, name: str) -> None:
    with person.page.expect_file_chooser() as chooser:
        person.page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(SAMPLES / name)


def test_the_queue_waits_for_its_owner(person: Person, stack: Run) -> None:
    account, page = ended(person, stack), person.page
    sent_openly: list[str] = []
    page.on("request", lambda r: "/v1/anonymous/jobs" in r.url and sent_openly.append(r.url))
    choose(person, "chest.png")
    page.get_by_text("Log in to send 1 waiting upload").wait_for()
    choose(person, "chest.jpg")
    page.get_by_text("Log in to send 2 waiting uploads").wait_for()
    page.get_by_role("link", name="Log in again").click()
    person.log_in(account.name)
    until(lambda: page.get_by_role("link", name="Open").count() == 2)
    page.get_by_text("Your session has ended").wait_for(state="detached")
    titles = [job["title"] for job in account.api.get("/v1/jobs").json()["items"]]
    assert sorted(titles) == ["chest.jpg", "chest.png"]
    assert not sent_openly


def test_another_account_does_not_send_the_queued_uploads(person: Person, stack: Run) -> None:
    account, page = ended(person, stack), person.page
    choose(person, "chest.png")
    page.get_by_role("link", name="Log in again").click()
    other = Account(stack)
    person.log_in(other.name)
    page.get_by_role("button", name=f"Account of {other.name}").wait_for()
    page.get_by_role("region", name="Uploads").wait_for(state="detached")
    for one in (account, other):
        assert one.api.get("/v1/jobs").json()["items"] == []


def test_the_open_api_is_used_again_only_when_chosen(person: Person, stack: Run) -> None:
    ended(person, stack)
    choose(person, "chest.png")
    person.page.get_by_role("button", name="Discard and continue without an account").click()
    person.page.get_by_role("region", name="Uploads").wait_for(state="detached")
    choose(person, "chest.png")
    person.result("**/open/*")
