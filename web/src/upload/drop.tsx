/** Files from anywhere: dropped on the window, pasted, or chosen. */
import { Upload } from "lucide-react";
import { useEffect, useState } from "react";
import { FileTrigger } from "react-aria-components";
import { useLocation } from "wouter";
import { viewPath } from "../api/addresses";
import type { Image } from "../api/client";
import { Button } from "../ui/controls";
import { enqueue, useOneStudy } from "./queue";

const TYPES: Image["media_type"][] = ["image/png", "image/jpeg", "application/dicom"];

/** Send files; a single one is opened at once, many are listed. */
export function useUpload() {
  const [, go] = useLocation();
  return async (files: File[]) => {
    if (!files.length) return;
    const jobs = enqueue(files);
    if (jobs.length > 1) return go("/");
    const job = await jobs[0];
    if (job !== "cancelled") go(job ? viewPath(job) : "/");
  };
}

export function DropZone() {
  const upload = useUpload();
  return (
    <div className="drop-zone">
      <Upload aria-hidden />
      <p>
        <strong>Drop chest X-rays here</strong>, paste them, or
      </p>
      <FileTrigger
        allowsMultiple
        onSelect={(files) => upload([...(files ?? [])])}
        acceptedFileTypes={[...TYPES, ".dcm", ".dicom", ""]}
      >
        <Button kind="primary">Choose files</Button>
      </FileTrigger>
      <p className="muted">DICOM, PNG or JPEG</p>
    </div>
  );
}

/** Takes what is dropped or pasted anywhere on the page. */
export function DropAnywhere() {
  const upload = useUpload();
  const oneStudy = useOneStudy();
  const [over, setOver] = useState(false);
  useEffect(() => {
    const listening = new AbortController();
    const listen = <E extends keyof WindowEventMap>(type: E, act: (event: WindowEventMap[E]) => void) =>
      window.addEventListener(type, act, { signal: listening.signal });
    const onFiles = (act: (files: File[]) => void) => (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      act([...event.dataTransfer.files]);
    };
    listen(
      "dragover",
      onFiles(() => setOver(true)),
    );
    listen("dragleave", (event) => event.relatedTarget === null && setOver(false));
    listen(
      "drop",
      onFiles((files) => {
        setOver(false);
        void upload(files);
      }),
    );
    listen("paste", (event) => void upload([...(event.clipboardData?.files ?? [])]));
    return () => listening.abort();
  });
  return over ? <div className="drop-veil">Drop to analyse{oneStudy && " as one study"}</div> : null;
}
