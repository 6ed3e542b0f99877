/** What a user can do with a study: report, compare, save, share, retry, cancel, delete. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Download, FileText, GitCompareArrows, Link2, RotateCw, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { type JobRef, ownJob, viewPath } from "../api/addresses";
import type { Job } from "../api/client";
import { analyseAgain, deleteJob, dropFromCache, isFinal, jobQuery, retryJob } from "../api/jobs";
import { Button, Confirm } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { download } from "../ui/words";

export function Actions({ job, at }: { job: Job; at: JobRef }) {
  const client = useQueryClient();
  const [, go] = useLocation();
  const reload = () => client.invalidateQueries({ queryKey: jobQuery(at).queryKey });
  const retry = useMutation({ mutationFn: () => retryJob(at), onSuccess: reload });
  const again = useMutation({
    mutationFn: () => analyseAgain(at),
    onSuccess: ({ id }) => {
      void client.invalidateQueries({ queryKey: ["jobs"] });
      go(viewPath(ownJob(id)));
    },
  });
  const done = job.state === "succeeded";
  return (
    <div className="actions">
      {done && (
        <Link href={`${viewPath(at)}/report`} className="button plain">
          <FileText aria-hidden /> Report
        </Link>
      )}
      {done && at.kind === "studies" && (
        <Link href={`/compare/${at.key}`} className="button plain">
          <GitCompareArrows aria-hidden /> Compare
        </Link>
      )}
      {done && (
        <Button onPress={() => download(`${job.id}.json`, "application/json", JSON.stringify(job, null, 2))}>
          <Download aria-hidden /> JSON
        </Button>
      )}
      <CopyLink />
      {mayRetry(job) && (
        <Button onPress={() => retry.mutate()} isPending={retry.isPending}>
          <RotateCw aria-hidden /> Try again
        </Button>
      )}
      {done && at.kind === "studies" && (
        <Button onPress={() => again.mutate()} isPending={again.isPending}>
          <RotateCw aria-hidden /> Analyse again
        </Button>
      )}
      <Remove {...{ job, at, reload }} />
      <ErrorNote error={retry.error ?? again.error} />
    </div>
  );
}

/** A file that can't be analysed stays one: only what may have another outcome can be tried again. */
function mayRetry({ state, error, images }: Job): boolean {
  if (state !== "failed") return state === "cancelled";
  return ![error, ...images.map((image) => image.error)].every((one) => !one || one.permanent);
}

function CopyLink() {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(location.href);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <Button onPress={copy}>
      <Link2 aria-hidden /> {copied ? "Copied" : "Copy link"}
    </Button>
  );
}

/** What is asked before a job is removed, by what the server is asked for. */
const REMOVALS = {
  cancel: {
    word: "Cancel",
    title: "Cancel this analysis?",
    act: "Cancel the analysis",
    what: "Work that has not started is skipped. You can try again later.",
  },
  erase: {
    word: "Delete",
    title: "Delete this study?",
    act: "Delete",
    what: "This deletes the images, findings and heatmaps for everyone. It can't be undone.",
  },
} as const;

type RemoveProps = { job: Job; at: JobRef; reload: () => Promise<void> };

function Remove({ job, at, reload }: RemoveProps) {
  const client = useQueryClient();
  const [, go] = useLocation();
  const intent = isFinal(job) ? "erase" : "cancel";
  // The dialog keeps its question: the job may end before there is an answer.
  const [asked, setAsked] = useState<keyof typeof REMOVALS>(intent);
  const remove = useMutation({
    mutationFn: (only: keyof typeof REMOVALS) => deleteJob(at, only),
    onSuccess: (_, only) => {
      void client.invalidateQueries({ queryKey: ["jobs"] });
      if (only === "cancel") return reload();
      go(at.kind === "open" ? "/" : "/studies");
      dropFromCache(client, at, job);
    },
    onError: reload,
  });
  const { title, act, what } = REMOVALS[asked];
  return (
    <>
      <Confirm
        title={title}
        act={act}
        onConfirm={() => remove.mutate(asked)}
        trigger={
          <Button kind="quiet" onPress={() => setAsked(intent)}>
            <Trash2 aria-hidden /> {REMOVALS[intent].word}
          </Button>
        }
      >
        {what}
      </Confirm>
      <ErrorNote error={remove.error} />
    </>
  );
}
