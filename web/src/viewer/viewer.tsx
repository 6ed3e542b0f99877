/** One image with all its tools, and the heatmap of the chosen finding over it. */
import { useQuery } from "@tanstack/react-query";
import { useCallback, useRef } from "react";
import type { Finding, Schemas } from "../api/client";
import { pixelsQuery } from "./load";
import { Stage } from "./stage";
import { Toolbar } from "./toolbar";
import { toggleFullScreen, useKeys, useLook } from "./use_look";

type Props = {
  image: Schemas["ImageView"];
  finding: Finding | undefined;
  onFinding: (index: number) => void;
};

export function Viewer({ image, finding, onFinding }: Props) {
  const frame = useRef<HTMLElement>(null);
  const [look, change] = useLook();
  const { data: pixels } = useQuery(pixelsQuery(image));
  const onFullScreen = useCallback(() => toggleFullScreen(frame.current), []);
  useKeys({ change, onFinding, onFullScreen });
  return (
    <section className="viewer" ref={frame} aria-label={`Image ${image.file_name}`}>
      <Toolbar {...{ look, change, onFullScreen }} header={pixels?.header} heat={finding !== undefined} />
      <Stage {...{ image, finding, look, change }} />
    </section>
  );
}
