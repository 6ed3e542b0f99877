/** Any other study to compare with, where the earlier ones of the patient can't be found or there are none. */
import { useState } from "react";
import { Link } from "wouter";
import type { Schemas } from "../api/client";
import { SearchField } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { when } from "../ui/words";
import { NO_FILTERS, useJobs } from "../worklist/jobs";

export function StudySearch({ a, priors }: { a: string; priors: Schemas["Priors"] }) {
  const [title, setTitle] = useState("");
  const jobs = useJobs({ ...NO_FILTERS, title, state: "succeeded" }, 20);
  const items = jobs.data?.pages.flatMap((page) => page.items).filter(({ id }) => id !== a) ?? [];
  return (
    <section className="card choose" aria-label="Compare with">
      <h2>Compare with</h2>
      <p className="muted">
        {!priors.patient_known
          ? "The file has no patient ID, so earlier studies of this patient can't be found."
          : !priors.items.length && "This patient has no earlier study here."}{" "}
        Choose any other study.
      </p>
      <SearchField label="Search titles" value={title} onChange={setTitle} />
      <ErrorNote error={jobs.error} />
      <ul className="list">
        {items.map((item) => (
          <li key={item.id}>
            <Link href={`/compare/${a}/${item.id}`}>{item.title || "Untitled study"}</Link>
            <span className="muted">{when(item.created_at)}</span>
          </li>
        ))}
      </ul>
      {jobs.data && items.length === 0 && <p className="muted">No other study matches.</p>}
    </section>
  );
}
