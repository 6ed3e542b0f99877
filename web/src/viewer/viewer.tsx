/** One image with all its tools, and the heatmap of the chosen finding over it. */
import { useQuery } from "@tanstack/react-query";
import { useCallback, useRef } from "react";
import type { Finding, Image } from "../api/client";
import { useViewerKeys } from "./commands";
import { ImageCanvas } from "./image_canvas";
import { pixelsQuery } from "./load";
import { Toolbar } from "./toolbar";
import { toggleFullScreen, useViewState } from "./view_state";

type Props = {
  image: Image;
  finding: Finding | undefined;
  cut: number;
  onFinding: (index: number) => void;
};

export function Viewer({ image, finding, cut, onFinding }: Props) {
  const frame = useRef<HTMLElement>(null);
  const [view, change] = useViewState();
  const { data: pixels } = useQuery(pixelsQuery(image));
  const onFullScreen = useCallback(() => toggleFullScreen(frame.current), []);
  useViewerKeys({ change, onFinding, onFullScreen });
  return (
    <section className="viewer" ref={frame} aria-label={`Image ${image.file_name}`}>
      <Toolbar {...{ view, change, onFullScreen }} {...{ pixels }} heat={finding !== undefined} />
      <ImageCanvas {...{ image, finding, cut, view, change }} />
    </section>
  );
}
