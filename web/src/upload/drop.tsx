/** Files from anywhere: dropped on the window, pasted, or chosen. */
import { Upload } from "lucide-react";
import { useEffect, useState } from "react";
import { FileTrigger } from "react-aria-components";
import { useLocation } from "wouter";
import { viewPath } from "../api/jobs";
import { Button } from "../ui/controls";
import { enqueue, useOneStudy } from "./queue";

/** Send files; one alone is shown at once, many are listed. */
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
        acceptedFileTypes={["image/png", "image/jpeg", "application/dicom", ".dcm", ".dicom", ""]}
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
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const drag = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      void upload([...(event.dataTransfer?.files ?? [])]);
    };
    const paste = (event: ClipboardEvent) => void upload([...(event.clipboardData?.files ?? [])]);
    window.addEventListener("dragover", drag);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    window.addEventListener("paste", paste);
    return () => {
      window.removeEventListener("dragover", drag);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
      window.removeEventListener("paste", paste);
    };
  });
  return over ? <div className="drop-veil">Drop to analyse{oneStudy && " as one study"}</div> : null;
}
