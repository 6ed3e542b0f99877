/** Fetches what the viewer shows: the original where the browser can decode it, else the prepared image. */
import { queryOptions } from "@tanstack/react-query";
import { type Image, request } from "../api/client";
import { takeDecoder } from "./decoder";
import type { DecodeAnswer, DecodeRequest, Pixels } from "./pixels";

/** Fetches and decodes; the decoder starts while the file is on its way. */
function decoded(url: string, signal: AbortSignal, how: Omit<DecodeRequest, "data">): Promise<Pixels> {
  const worker = takeDecoder();
  return new Promise<Pixels>((done, fail) => {
    worker.onmessage = ({ data }: MessageEvent<DecodeAnswer>) =>
      "pixels" in data ? done(data.pixels) : fail(new Error(data.error));
    worker.onerror = () => fail(new Error("The decoder stopped."));
    request(url, { signal })
      .then((answer) => answer.arrayBuffer())
      .then((data) => worker.postMessage({ ...how, data }, [data]))
      .catch(fail);
  }).finally(() => worker.terminate());
}

export const pixelsQuery = (image: Image) =>
  queryOptions({
    queryKey: ["pixels", image.id],
    queryFn: async ({ signal }) => {
      try {
        return await decoded(image.links.original!, signal, { mediaType: image.media_type, note: null });
      } catch (error) {
        if (!image.links.image) throw error;
        const note = `${(error as Error).message} Thorax shows its prepared copy with 8 bits.`;
        return decoded(`${image.links.image}?size=1024`, signal, { mediaType: "image/png", note });
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    retry: 1,
  });

export type Heatmap = { width: number; height: number; data: Uint8Array };

/**
 * One finding's heatmap, 0 to 255: the alpha channel of the picture that the gateway renders. Small, since the maps
 * are smaller still and the graphics card interpolates.
 */
export const heatmapQuery = (image: Image, finding: string) =>
  queryOptions({
    queryKey: ["heatmap", image.id, finding],
    queryFn: async ({ signal }): Promise<Heatmap> => {
      const png = await request(`${image.links[`heatmap:${finding}`]}?size=128`, { signal });
      const bitmap = await createImageBitmap(await png.blob(), { premultiplyAlpha: "none" });
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
