"""What an administrator sees of a result that a PACS did not take, and that it arrives once the cause is corrected."""

from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import dated
from tests.e2e.person import Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.orthanc import BASIC, run_orthanc
from tests.factories.patience import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_result_that_no_destination_took_says_why_and_is_resent(
    person: Person, stack: Run, tmp_path: Path
) -> None:
    page, about = person.page, stack.about()
    administrator = Account(stack, about["user"], about["password"])
    tenant = administrator.api.get("/auth/me").json()["tenant_id"]
    place = f"/v1/admin/tenants/{tenant}/destinations/archive"
    person.enter(administrator)
    page.goto("/admin")
    section = page.get_by_role("region", name="Results not delivered")
    section.get_by_text("Every result has been delivered").wait_for()
    with run_orthanc(tmp_path) as orthanc:

        def destine(authorization: str) -> None:
            body = {"url": f"{orthanc.base_url}/dicom-web", "authorization": authorization}
            administrator.api.put(place, json=body).raise_for_status()

        def delivery() -> dict[str, Any]:
            items = administrator.api.get(f"/v1/jobs/{job}/deliveries").json()["items"]
            return dict(items[0]) if items else {}

        try:
            destine("Basic d3Jvbmc6d3Jvbmc=")
            job = administrator.send(("chest.dcm", dated("20260301", "THORAX-9")), title="To the archive")
            administrator.final(job)
            until(lambda: delivery().get("state") == "dead")
            page.reload()
            row = section.get_by_role("listitem").filter(has_text=job[:8])
            row.wait_for()
            told = row.inner_text()
            assert "401" in told and "DICOMweb archive" in told and "1 attempt" in told
            assert "To the archive" not in told and not person.axe()
            page.goto("/account")  # where a tenant sees its own: what goes to a PACS is the administrator's
            own = page.get_by_role("region", name="Results not delivered")
            own.get_by_role("listitem").filter(has_text=job[:8]).wait_for()
            assert "ask an administrator" in own.inner_text() and not own.get_by_role("button").count()
            page.goto("/admin")
            destine(BASIC)
            row.get_by_role("button", name=f"Resend {job[:8]} to archive").click()
            row.wait_for(state="detached")
            until(lambda: delivery().get("state") == "delivered")
            assert len(orthanc.get("/instances").json()) == 3  # SR, SC and GSPS
            page.reload()
            section.get_by_text("Every result has been delivered").wait_for()
        finally:
            administrator.api.delete(place)
