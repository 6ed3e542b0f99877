"""Measures what a person waits for, on a running platform with the built page: results, studies, a long worklist, a drop of files.

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
from typing import Any

import cv2
import httpx
import numpy as np
import psycopg
from playwright.sync_api import Page, sync_playwright

from local_stack.backing import Backing
from local_stack.settings import LocalSettings

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FILES, ROUNDS, SCROLL_S = 100, 100, 10
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
EMPTY = "delete from studies where tenant_id = %(tenant)s"
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
# How long after the drop all files are in the list, and on the screen one frame later.
DROP = """async ([count, text]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  for (let i = 0; i < count; i++) data.items.add(new File([bytes], `${i}.png`, { type: "image/png" }));
  const began = performance.now();
  window.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  while (document.querySelectorAll(".uploads li").length < count)
    await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - began;
}"""


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
    return f"median {np.median(times):.1f} ms, 95 % {np.percentile(times, 95):.1f} ms, late {late:.0f} % ({rows} rows)"


def drop(page: Page) -> float:
    """Milliseconds from the drop of many files until all are listed."""
    _, png = cv2.imencode(".png", np.zeros((64, 64), np.uint8))
    text = base64.b64encode(png.tobytes()).decode()
    page.goto("/")
    page.locator(".drop-zone button").first.wait_for()
    return float(page.evaluate(DROP, [FILES, text]))


def main() -> None:
    """All figures; what was made for them is deleted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="how many studies the worklist has")
    count = parser.parse_args().jobs
    settings = LocalSettings()
    about = json.loads((settings.state / "run.json").read_text())
    base, owner = about["base_url"], Backing(settings).running_url(settings.state / "run.json")
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
        values: dict[str, Any] = {"tenant": tenant, "count": count}
        browser = program.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1600, "height": 1000}, base_url=base).new_page()
        page.set_default_timeout(120_000)
        try:
            sample(page)
            print(f"sample, click to result: {statistics.median(sample(page) for _ in range(5)):.2f} s")
            address = page.url
            print(f"study opens: {statistics.median(study(page, address) for _ in range(5)):.2f} s")
            page.context.request.post("/auth/session", data=body)
            database.execute(FILL, values)  # type: ignore[arg-type]
            database.execute("analyze studies, instances, jobs, study_findings")
            print(f"first page of {count} studies: {answers(client)}")
            print(f"scrolling: {scrolling(page)}")
            print(f"{FILES} files dropped are listed after {drop(page):.0f} ms")
        finally:
            browser.close()
            database.execute(EMPTY, values)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
