/** The first view: upload an X-ray, or try a sample. */
import { useState } from "react";
import { Checkbox } from "react-aria-components";
import { Link } from "wouter";
import sampleDicom from "../../../samples/chest.dcm?url";
import samplePng from "../../../samples/chest.png?url";
import normalPng from "../../../samples/normal.png?url";
import { useModel } from "../api/models";
import { useMe } from "../session/session";
import { Button } from "../ui/controls";
import { DropZone, useUpload } from "./drop";
import { setOneStudy, useOneStudy } from "./queue";
import { Uploads } from "./uploads";

export function Home() {
  const { me, ended } = useMe();
  const model = useModel();
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
          chest X-ray for five findings. It shows where it looks, how sure it is, and whether the networks
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
            <span className="muted">No X-ray at hand?</span>
            <Button isPending={fetching} onPress={() => sample(samplePng, "sample.png")}>
              Try the sample
            </Button>
            <Button kind="quiet" isDisabled={fetching} onPress={() => sample(sampleDicom, "sample.dcm")}>
              as DICOM
            </Button>
            <Button kind="quiet" isDisabled={fetching} onPress={() => sample(normalPng, "normal.png")}>
              a normal one
            </Button>
          </div>
        </div>
        {!me && !ended && (
          <p className="muted">
            Without an account, anyone with the link can see the result, and it is deleted after one day.{" "}
            <Link href="/sign-up">Create an account</Link> to keep a worklist.
          </p>
        )}
      </section>
      <Uploads />
    </div>
  );
}
