"""Each form of the page in a real browser: filled in wrongly, corrected, sent."""

import secrets

import pytest
from tests.e2e.person import PASSWORD, SAMPLES, Account, Person
from tests.e2e.test_make_run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_sign_up_after_a_password_that_is_too_short(person: Person) -> None:
    page, create = person.page, person.page.get_by_role("button", name="Create an account")
    page.goto("/sign-up")
    create.click()  # nothing is filled in: the browser itself asks for the fields
    page.get_by_label("Name or e-mail").fill(f"reader-{secrets.token_hex(4)}")
    page.get_by_label("Password").fill("short")
    with page.expect_response("**/auth/register") as answer:
        create.click()
    assert answer.value.status == 422
    told = "The password has fewer than 12 characters. Choose another one."
    assert page.get_by_role("alert").inner_text() == told
    page.get_by_label("Name or e-mail").fill("a name with blanks")
    create.click()
    page.get_by_text("The name must be an e-mail address, or 2 to 64 letters, digits and ._+-.").wait_for()
    page.get_by_label("Name or e-mail").fill(f"reader-{secrets.token_hex(4)}")
    page.get_by_label("Password").fill(PASSWORD)
    create.click()
    page.wait_for_url("**/studies")


def test_log_in_after_a_wrong_password(person: Person, stack: Run) -> None:
    page, account = person.page, Account(stack)
    page.goto("/log-in")
    person.log_in(account.name, "not the password")
    assert page.get_by_role("alert").inner_text().startswith("The name or the password is wrong.")
    person.log_in(account.name)
    page.wait_for_url("**/studies")


def test_the_forms_of_an_account(person: Person, stack: Run) -> None:
    page, account = person.page, Account(stack)
    person.enter(account)
    page.goto("/account")
    # another password
    current, new = page.get_by_label("Current password"), page.get_by_label("New password")
    change = page.get_by_role("button", name="Change the password")
    current.fill(PASSWORD)
    new.fill("short")
    change.click()
    page.get_by_role("alert").wait_for()
    new.fill(f"{PASSWORD} again")
    change.click()
    page.get_by_text("Password changed").wait_for()
    # a machine client
    name, create = (
        page.get_by_label("Name of a new client"),
        page.get_by_role("button", name="Create", exact=True),
    )
    name.fill("x" * 200)
    create.filter(has_not_text="invitation").click()
    page.get_by_role("alert").wait_for()
    name.fill("pacs")
    create.filter(has_not_text="invitation").click()
    page.get_by_text("It is not shown again").wait_for()
    # deletion
    page.get_by_role("button", name="Delete the account").click()
    dialog = page.get_by_role("dialog")
    for password in ("not the password", f"{PASSWORD} again"):
        dialog.get_by_label("Password").fill(password)
        with page.expect_response("**/auth/me") as answer:
            dialog.get_by_role("button", name="Delete").click()
    assert answer.value.ok
    page.get_by_role("link", name="Log in").wait_for()


def test_the_api_page_sends_an_upload_as_its_form_stands(person: Person, stack: Run) -> None:
    page, account = person.page, Account(stack)
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#oauth_username").fill(account.name)
    page.locator("#oauth_password").fill(PASSWORD)
    page.get_by_role("button", name="Apply given OAuth2 credentials").first.click()
    page.get_by_role("button", name="Remove authorization").first.wait_for()
    page.locator(".modal-ux .btn-done").first.click()
    upload = page.locator("#operations-jobs-post_job")
    upload.locator(".opblock-summary-control").click()
    upload.get_by_role("button", name="Try it out").click()
    upload.locator("input[type=file]").set_input_files(SAMPLES / "chest.png")
    with page.expect_response("**/v1/jobs?*") as answer:
        upload.get_by_role("button", name="Execute").click()
    assert answer.value.status == 202, answer.value.text()
