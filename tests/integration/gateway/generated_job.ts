/** One job, typed by what openapi-typescript makes of the platform's own document: the image to send comes by stdin. */
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./schema";

const api = createClient<paths>({
  baseUrl: process.env.THORAX_URL ?? "",
  headers: { Authorization: `Bearer ${process.env.THORAX_TOKEN}` },
});
const form = new FormData();
form.append("files", new Blob([readFileSync(0)], { type: "image/png" }), "a.png");

const sent = await api.POST("/v1/jobs", { body: { files: [] }, bodySerializer: () => form });
if (!sent.data) throw new Error(JSON.stringify(sent.error));
const params = { path: { job_id: sent.data.job_id }, query: { wait: 60 } };
const { data: job, error } = await api.GET("/v1/jobs/{job_id}", { params });
if (!job) throw new Error(JSON.stringify(error));
const { state, study } = job;
const probabilities = job.images[0]?.findings?.map((finding) => finding.probability);
console.log(JSON.stringify({ state, findings: study?.findings?.map((finding) => finding.finding), probabilities }));
