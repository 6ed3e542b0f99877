/** Fetches what the viewer shows: the original where the browser can decode it, else the prepared image. */
import { queryOptions } from "@tanstack/react-query";
import { bytes, type Schemas } from "../api/client";
import type { DecodeAnswer, DecodeRequest, Pixels } from "./pixels";

type Image = Schemas["ImageView"];

function decode(request: DecodeRequest): Promise<Pixels> {
  const worker = new Worker(new URL("./decode.worker.ts", import.meta.url), { type: "module" });
  return new Promise<Pixels>((done, fail) => {
    worker.onmessage = ({ data }: MessageEvent<DecodeAnswer>) =>
      "pixels" in data ? done(data.pixels) : fail(new Error(data.error));
    worker.onerror = () => fail(new Error("The decoder stopped."));
    worker.postMessage(request, [request.data]);
  }).finally(() => worker.terminate());
}

export const pixelsQuery = (image: Image) =>
  queryOptions({
    queryKey: ["pixels", image.id],
    queryFn: async ({ signal }) => {
      try {
        const original = await bytes(image.links.original!, signal);
        return await decode({ data: original, mediaType: image.media_type, note: null });
      } catch (error) {
        if (!image.links.image) throw error;
        const prepared = await bytes(`${image.links.image}?size=1024`, signal);
        const note = `${(error as Error).message} Shown as the platform prepared it, in 8 bits.`;
        return decode({ data: prepared, mediaType: "image/png", note });
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    retry: 1,
  });

export type Heat = { width: number; height: number; data: Uint8Array };

/**
 * One finding's heatmap, 0 to 255: the alpha channel of the picture that the gateway renders. Small, since the maps
 * are smaller still and the graphics card interpolates more finely than 8 bits can say.
 */
export const heatQuery = (image: Image, finding: string) =>
  queryOptions({
    queryKey: ["heat", image.id, finding],
    queryFn: async ({ signal }): Promise<Heat> => {
      const png = await bytes(`${image.links[`heatmap:${finding}`]}?size=128`, signal);
      const bitmap = await createImageBitmap(new Blob([png], { type: "image/png" }), {
        premultiplyAlpha: "none",
      });
      const { width, height } = bitmap;
      const context = new OffscreenCanvas(width, height).getContext("2d");
      if (!context) throw new Error("This browser can't read the heatmap.");
      context.drawImage(bitmap, 0, 0);
      const rgba = context.getImageData(0, 0, width, height).data;
      return { width, height, data: Uint8Array.from({ length: width * height }, (_, i) => rgba[4 * i + 3]!) };
    },
    enabled: image.findings.length > 0,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 300_000,
  });
