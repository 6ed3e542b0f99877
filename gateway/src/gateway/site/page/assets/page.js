// The plain page: send one image to the open API, wait, show findings and overlay. For where node is missing.
const [form, said, table, picture] = ["form", "#said", "table", "#picture"].map((s) => document.querySelector(s));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  table.hidden = picture.hidden = true;
  try {
    said.textContent = "Sending…";
    const body = new FormData();
    body.append("files", form.elements.file.files[0]);
    const receipt = await json("/v1/anonymous/jobs", { method: "POST", body });
    said.textContent = "Analysing…";
    let job;
    do job = await json(`${receipt.links.self}?wait=30`);
    while (!["succeeded", "failed", "cancelled"].includes(job.state));
    if (job.state !== "succeeded") throw new Error(job.error?.detail ?? `The job was ${job.state}.`);
    said.textContent = `${job.bundle.name} ${job.bundle.version}`;
    show(job);
  } catch (error) {
    said.textContent = error.message;
  }
});

async function json(url, options) {
  const answer = await fetch(url, options);
  const document = await answer.json();
  if (!answer.ok) throw new Error(`${document.detail} ${document.remedy} (${document.code})`);
  return document;
}

function show(job) {
  const links = job.images[0].links;
  table.tBodies[0].replaceChildren(...job.study.findings.map((finding) => {
    const row = document.createElement("tr");
    const button = document.createElement("button");
    button.textContent = finding.label;
    button.addEventListener("click", () => overlay(links, finding));
    const words = [`${(100 * finding.probability).toFixed(1)} %`, finding.positive ? "positive" : "negative"];
    for (const cell of [button, ...words]) row.insertCell().append(cell);
    return row;
  }));
  table.hidden = false;
  overlay(links, job.study.findings.reduce((a, b) => (b.probability - b.threshold > a.probability - a.threshold ? b : a)));
}

function overlay(links, finding) {
  picture.src = links[`overlay:${finding.finding}`];
  picture.alt = `Where the ensemble sees ${finding.label}`;
  picture.hidden = false;
}
