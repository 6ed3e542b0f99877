/** A study in the worklist: what it is, what was found, or why it failed. */
import { useQueryClient } from "@tanstack/react-query";
import { memo, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import type { JobSummary } from "../api/client";
import { FindingChips } from "../findings/verdict";
import { studyAhead } from "../study/ahead";
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
  const client = useQueryClient();
  const name = item.title || "Untitled study";
  const pictured = item.first_image && (item.state === "succeeded" || item.state === "running");
  return (
    <li className={`study-row${selected ? " selected" : ""}${unread ? " unread" : ""}`}>
      {/* Native: a list has hundreds of them. */}
      <label className="checkbox">
        <input
          type="checkbox"
          className="visually-hidden"
          checked={selected}
          onChange={({ target }) => onSelect(item.id, target.checked)}
          aria-label={`Select ${name}`}
        />
        <span className="box" aria-hidden />
      </label>
      <Link
        href={`/studies/${item.id}`}
        className="study-link"
        onPointerDown={({ pointerType, button }) => {
          if (pointerType === "mouse" && button === 0) void studyAhead(client, `/studies/${item.id}`);
        }}
      >
        <Thumb
          src={pictured ? `/v1/jobs/${item.id}/images/${item.first_image}/image.png?size=128` : undefined}
        />
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
      {item.superseded_by && (
        <Link className="superseded" href={`/studies/${item.superseded_by}`}>
          Superseded by a later result
        </Link>
      )}
    </li>
  );
});

const REST_MS = 250;
const waiting = new Map<Element, () => void>();
const timers = new Map<Element, ReturnType<typeof setTimeout>>();
/** One for all rows: each observer of its own takes time at each frame. */
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    clearTimeout(timers.get(target));
    timers.delete(target);
    const act = waiting.get(target);
    if (isIntersecting && act) timers.set(target, setTimeout(act, REST_MS));
  }
});

/** Calls `act` once an element has stayed in sight; returns what ends the wait. */
function whenRests(element: Element, act: () => void): () => void {
  waiting.set(element, act);
  observer.observe(element);
  return () => {
    observer.unobserve(element);
    waiting.delete(element);
    clearTimeout(timers.get(element));
    timers.delete(element);
  };
}

/** The server draws each of them: only those are asked for that stay in sight, not those that are scrolled past. */
function Thumb({ src }: { src: string | undefined }) {
  const frame = useRef<HTMLSpanElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (frame.current && src && !seen) return whenRests(frame.current, () => setSeen(true));
  }, [src, seen]);
  return (
    <span className="thumb" ref={frame}>
      {src && seen && <Picture src={src} alt="" />}
    </span>
  );
}
