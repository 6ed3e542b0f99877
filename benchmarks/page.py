"""Measures what a person waits for, on a running platform with the built page: the first script, results, studies, a long
worklist, a drop of files, and many jobs that change at once.

`python benchmarks/page.py` beside `make run` (THORAX_STATE as there); `--jobs 500` is a quick look. Needs chromium,
which draws in software here.
"""

import argparse
import base64
import json
import os
import secrets
import shutil
import statistics
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import psycopg
from playwright.sync_api import Page, sync_playwright

from local_stack.backing import Backing
from local_stack.settings import LocalSettings
from thorax.storage import DISPLAY, blob_key

# WebGL in software; composed without it, which takes a fortieth of the CPU time.
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
]
SAMPLE = Path(__file__).parents[1] / "samples/chest.png"
FILES, ROUNDS, SCROLL_S = 100, 100, 10
LIVE = 300  # jobs that run at once
PICTURED = 2000  # of the newest studies have an image: more than are scrolled past
PATIENCE_MS, POLL_MS = 60_000, 20
PASSWORD = "a sentence is a good password"
FILL = """
with numbers as (select n, gen_random_uuid() as study, gen_random_uuid() as job from generate_series(1, %(count)s) n),
made as (
  insert into studies (id, tenant_id, title, created_at)
  select study, %(tenant)s, 'Screening ' || n, now() - n * interval '1 minute' from numbers returning id),
images as (
  insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, state, view_position)
  select gen_random_uuid(), study, %(tenant)s, 0, n || '.png', 'image/png', 1, '', 'prepared', 'PA' from numbers),
jobs as (
  insert into jobs (id, tenant_id, study_id, owner, state, bundle_digest, steps_total, steps_done, created_at, finished_at)
  select job, %(tenant)s, study, 'figures', 'succeeded', (select digest from bundles where active), 7, 7,
    now() - n * interval '1 minute', now() - n * interval '1 minute' from numbers returning id)
insert into study_findings (job_id, finding, probability, threshold, positive, disagreement, verdict)
select job, finding, random(), 0.5, false, 0.1, 'uncertain' from numbers, unnest(
  array['atelectasis', 'cardiomegaly', 'consolidation', 'edema', 'pleural_effusion']) finding"""
NEWEST = """
select i.id from jobs j join instances i using (study_id) where j.tenant_id = %(tenant)s and j.owner = 'figures'
order by j.created_at desc limit %(pictured)s"""
# No step belongs to them, so no worker takes them.
OPEN = """
update jobs set state = %(state)s, version = version + 1, finished_at = null where id in (
  select id from jobs where tenant_id = %(tenant)s and owner = 'figures' order by created_at desc limit %(live)s)"""
CLOSE = "update jobs set state = 'succeeded', finished_at = now() where tenant_id = %(tenant)s and state = 'running'"
EMPTY = """
with images as (
  insert into blobs_pending_deletion (instance_id) select id from instances where tenant_id = %(tenant)s on conflict do nothing)
delete from studies where tenant_id = %(tenant)s"""
# Scrolls by 120 px at each frame, and tells how long each frame took and how many rows there were at the end.
SCROLL = """async (seconds) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const times = [];
  const began = await frame();
  let last = began;
  while (last - began < 1000 * seconds) {
    window.scrollBy(0, 120);
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return [times, document.querySelectorAll(".study-row").length];
}"""
# How long after the drop all files are in the list and painted.
DROP = """async ([count, text, patience]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  for (let i = 0; i < count; i++) data.items.add(new File([bytes, String(i)], `${i}.png`, { type: "image/png" }));
  const began = performance.now();
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  while (document.querySelectorAll(".uploads li").length < count && performance.now() - began < patience) await frame();
  await frame();
  return [performance.now() - began, document.querySelectorAll(".uploads li").length];
}"""
# Whether so many rows are in a state; the list is asked for more until it has so many open ones.
SHOWN = """([state, count]) => {
  const rows = (states) => document.querySelectorAll(states).length;
  if (rows(".state.queued, .state.running") < count) document.querySelector(".more button")?.click();
  return rows(`.state.${state}`) >= count;
}"""


def script(page: Page, client: httpx.Client) -> float:
    """Kilobytes of JavaScript, gzipped, that the first page needs."""
    page.goto("/")
    page.wait_for_load_state("networkidle")
    names = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    size = 0
    for name in names:
        if name.partition("?")[0].endswith(".js"):
            with client.stream("GET", name, headers={"Accept-Encoding": "gzip"}) as answer:
                size += sum(map(len, answer.iter_raw()))
    return size / 1000


def sample(page: Page) -> float:
    """Seconds from the click on the sample to five findings beside its image."""
    page.goto("/")
    began = time.perf_counter()
    page.get_by_role("button", name="Try the sample").click()
    _result(page)
    return time.perf_counter() - began


def study(page: Page, address: str) -> float:
    """Seconds from the address to five findings beside the image, in a tab that knows the page and not the study."""
    page.goto("/model")
    page.wait_for_load_state("networkidle")
    began = time.perf_counter()
    page.goto(address)
    _result(page)
    return time.perf_counter() - began


def _result(page: Page) -> None:
    page.get_by_role("radio").nth(4).wait_for(state="attached")
    page.locator("canvas[data-ready]").wait_for()


def _own_image(client: httpx.Client) -> UUID:
    """An image of the account that has been analysed."""
    job = client.post("/v1/jobs", files={"files": SAMPLE.open("rb")}).raise_for_status().headers["location"]
    while (view := client.get(job, params={"wait": "10"}).json())["state"] in ("queued", "running"):
        pass
    return UUID(view["images"][0]["id"])


def answers(client: httpx.Client) -> str:
    """How long the worklist's first page takes to answer."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.get("/v1/jobs", params={"limit": 50}).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
    return f"median {statistics.median(times):.0f} ms, p95 {np.percentile(times, 95):.0f} ms"


def scrolling(page: Page) -> str:
    """Frames of a worklist that loads what comes into sight."""
    page.goto("/studies")
    page.locator(".study-row").nth(20).wait_for()
    times, rows = page.evaluate(SCROLL, SCROLL_S)
    late = 100 * np.mean(np.array(times) > 25)
    rate = 1000 * len(times) / sum(times)
    return f"{rate:.0f} frames/s, 95 % within {np.percentile(times, 95):.1f} ms, late {late:.0f} % ({rows} rows loaded)"


def drop(page: Page) -> str:
    """From the drop of many files until all are listed; they are sent to nowhere."""
    page.route("**/v1/jobs", lambda route: None)
    page.goto("/")
    page.get_by_role("button", name="Choose files").wait_for()
    text = base64.b64encode(SAMPLE.read_bytes()).decode()
    took, listed = page.evaluate(DROP, [FILES, text, PATIENCE_MS])
    page.get_by_role("button", name="Cancel").click()
    return f"{listed} of {FILES} files dropped are listed after {took:.0f} ms"


def live(page: Page, database: psycopg.Connection[Any], values: dict[str, Any]) -> str:
    """From a change of hundreds of jobs in the database until the worklist shows all of them."""
    streams: list[str] = []
    page.on("request", lambda request: "/v1/events" in request.url and streams.append(request.url))
    database.execute(OPEN, {**values, "state": "queued"})
    page.goto("/studies")
    page.wait_for_function(SHOWN, arg=["queued", values["live"]], polling=POLL_MS)
    began = time.perf_counter()
    database.execute(OPEN, {**values, "state": "running"})
    page.wait_for_function(SHOWN, arg=["running", values["live"]], polling=POLL_MS)
    took = time.perf_counter() - began
    database.execute(CLOSE, values)
    return f"{values['live']} jobs change at once: shown after {took:.2f} s, by {len(streams)} event stream"


def main() -> None:
    """All figures; what was made for them is deleted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="how many studies the worklist has")
    count = parser.parse_args().jobs
    settings = LocalSettings()
    about = json.loads((settings.state / "run.json").read_text())
    base, owner = about["base_url"], Backing(settings).running_url(settings.state / "run.json")
    blobs = Path(settings.blob_store)
    name = f"figures-{secrets.token_hex(4)}"
    body = {"name": name, "password": PASSWORD}
    httpx.post(f"{base}/auth/register", json=body, timeout=60).raise_for_status()
    form = {"grant_type": "password", "username": name, "password": PASSWORD}
    token = httpx.post(f"{base}/auth/token", data=form, timeout=60).json()["access_token"]
    client = httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with (
        psycopg.connect(owner.replace("+psycopg", ""), autocommit=True) as database,
        sync_playwright() as program,
    ):
        query = "select tenant_id from auth.users where name = %s"
        [tenant] = database.execute(query, [name]).fetchone() or [None]
        values: dict[str, Any] = {
            "tenant": tenant,
            "count": count,
            "live": min(LIVE, count),
            "pictured": PICTURED,
        }
        browser = program.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1600, "height": 1000}, base_url=base).new_page()
        page.set_default_timeout(PATIENCE_MS)
        try:
            print(f"first script: {script(page, client):.0f} kB gzipped")
            sample(page)
            print(f"sample, click to result: {statistics.median(sample(page) for _ in range(5)):.2f} s")
            address = page.url
            print(f"study opens: {statistics.median(study(page, address) for _ in range(5)):.2f} s")
            assert page.context.request.post("/auth/session", data=body).ok
            database.execute(FILL, values)
            database.execute("analyze studies, instances, jobs, study_findings")
            picture = blobs / blob_key(_own_image(client), DISPLAY)
            for (image,) in database.execute(NEWEST, values).fetchall():
                (blobs / blob_key(image, DISPLAY)).parent.mkdir()
                (blobs / blob_key(image, DISPLAY)).hardlink_to(picture)
            print(f"first page of {count} studies: {answers(client)}")
            print(f"scrolling: {scrolling(page)}")
            print(live(page, database, values))
            print(drop(page))
        finally:
            browser.close()
            database.execute(EMPTY, values)


if __name__ == "__main__":
    main()
