/** The first view: give it an X-ray, or take ours. */
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Checkbox } from "react-aria-components";
import { Link } from "wouter";
import sampleDicom from "../../../samples/chest.dcm?url";
import samplePng from "../../../samples/chest.png?url";
import { isFinal, jobQuery, useActiveModel, viewPath } from "../api/jobs";
import { useMe } from "../session/session";
import { Stage } from "../study/progress";
import { Button } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { percent } from "../ui/words";
import { DropZone, useUpload } from "./drop";
import {
  cancelUploads,
  clearQueue,
  isActive,
  type Sending,
  setOneStudy,
  tryAgain,
  useOneStudy,
  useQueue,
} from "./queue";
import { mayPass } from "./send";

export function Home() {
  const { me } = useMe();
  const { model } = useActiveModel();
  const queue = useQueue();
  const oneStudy = useOneStudy();
  const upload = useUpload();
  const [fetching, setFetching] = useState(false);
  const sample = async (url: string, name: string) => {
    setFetching(true);
    try {
      const blob = await (await fetch(url)).blob();
      await upload([new File([blob], name, { type: blob.type })]);
    } finally {
      setFetching(false);
    }
  };
  return (
    <div className="home">
      <section className="hero">
        <h1>See what the ensemble sees</h1>
        <p className="lead">
          An ensemble{model && model.backbones.length > 1 && ` of ${model.backbones.length} networks`} reads a
          chest X-ray for five findings, shows where it looks, and says how sure it is and how far its members
          agree.
        </p>
      </section>
      <section className="card upload" aria-label="Upload">
        <DropZone />
        <div className="row between">
          <Checkbox isSelected={oneStudy} onChange={setOneStudy} className="checkbox">
            <span className="box" aria-hidden /> All files are one study
          </Checkbox>
          <div className="row">
            <span className="muted">No image at hand?</span>
            <Button isPending={fetching} onPress={() => sample(samplePng, "sample.png")}>
              Try the sample
            </Button>
            <Button kind="quiet" isDisabled={fetching} onPress={() => sample(sampleDicom, "sample.dcm")}>
              as DICOM
            </Button>
          </div>
        </div>
        {!me && (
          <p className="muted">
            Without an account, only who has the link sees the result, and it is erased after a day.{" "}
            <Link href="/sign-up">Create an account</Link> to keep a worklist.
          </p>
        )}
      </section>
      {queue.length > 0 && (
        <section className="card" aria-label="Uploads">
          <div className="row between">
            <h2>Uploads</h2>
            <div className="row">
              {queue.some(isActive) && (
                <Button kind="quiet" onPress={cancelUploads}>
                  Cancel
                </Button>
              )}
              {!queue.every(isActive) && (
                <Button kind="quiet" onPress={clearQueue}>
                  Clear
                </Button>
              )}
            </div>
          </div>
          <ul className="uploads">
            {queue.map((item) => (
              <UploadRow key={item.id} item={item} />
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

function UploadRow({ item }: { item: Sending }) {
  const ref = item.job ?? { kind: "open" as const, key: "" };
  const { data: job } = useQuery({
    ...jobQuery(ref),
    enabled: item.job !== null,
    refetchInterval: ({ state }) => (isFinal(state.data) ? false : 2000),
  });
  return (
    <li>
      <span className="file-name">{item.name}</span>
      {item.state === "waiting" && <span className="muted">waiting</span>}
      {item.state === "sending" && (
        <span className="row">
          <progress value={item.share} aria-label={`Upload of ${item.name}`} />
          {item.share < 1 ? percent(item.share) : "storing"}
        </span>
      )}
      {item.job && (
        <span className="row">
          {job && <Stage job={job} />}
          <Link href={viewPath(item.job)}>Open</Link>
        </span>
      )}
      <ErrorNote error={item.error} onRetry={mayPass(item.error) ? () => tryAgain(item) : undefined} />
    </li>
  );
}
