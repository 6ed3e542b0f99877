/** A study in the worklist: what it is, what was found, or why it failed. */
import { memo } from "react";
import { Checkbox } from "react-aria-components";
import { Link } from "wouter";
import type { JobSummary } from "../api/client";
import { FindingChips } from "../findings/verdict";
import { State } from "../study/progress";
import { Picture } from "../ui/states";
import { ago, plural, taken, when } from "../ui/words";

type Props = {
  item: JobSummary;
  unread: boolean;
  selected: boolean;
  onSelect: (id: string, on: boolean) => void;
};

/** Drawn anew only when its own study changes: the list may have thousands. */
export const Row = memo(function Row({ item, unread, selected, onSelect }: Props) {
  const name = item.title || "Untitled study";
  const pictured = item.first_image && (item.state === "succeeded" || item.state === "running");
  return (
    <li className={`study-row${selected ? " selected" : ""}${unread ? " unread" : ""}`}>
      <Checkbox
        isSelected={selected}
        onChange={(on) => onSelect(item.id, on)}
        aria-label={`Select ${name}`}
        className="checkbox"
      >
        <span className="box" aria-hidden />
      </Checkbox>
      <Link href={`/studies/${item.id}`} className="study-link">
        <span className="thumb">
          {pictured && (
            <Picture src={`/v1/jobs/${item.id}/images/${item.first_image}/image.png?size=128`} alt="" />
          )}
        </span>
        <span className="study-name">
          <strong>
            {name}
            {unread && <span className="visually-hidden">, unread</span>}
          </strong>
          <span className="muted" title={when(item.created_at)}>
            {[
              item.study_date ? taken(item, item.created_at) : ago(item.created_at),
              item.view_position,
              item.accession,
              item.source ?? "upload",
              item.images > 1 && plural(item.images, "image"),
              item.priority === "stat" && "stat",
            ]
              .filter(Boolean)
              .join(" · ")}
          </span>
        </span>
        <span className="study-result">
          <FindingChips findings={item.findings} />
          {item.error && <span className="reason">{item.error.detail}</span>}
        </span>
        <State state={item.state} />
      </Link>
    </li>
  );
});
