/** Bundles, and how good they were measured to be. */
import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, type Model, unwrap } from "./client";

/** How often the maximum of a map is inside a radiologist's box, of `n` images; `chance`: the boxes' share of them. */
export type Pointing = { hits: number; n: number; chance: number };

/** What the evaluation of a bundle leaves in its manifest. */
type Metrics = {
  data?: string;
  split?: string;
  n?: number;
  ensemble?: {
    mean_auc?: number | null;
    mean_auc_95?: number[];
    auc?: Record<string, number | null>;
    ece?: number;
  };
  backbones?: Record<string, { mean_auc?: number | null }>;
  pointing?: Record<string, Pointing>;
};
export const metricsOf = (model: Model | undefined): Metrics => model?.metrics ?? {};

const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: () => unwrap(api.GET("/v1/models")),
  staleTime: 60_000,
});

export const useModels = () => useQuery(modelsQuery);

/** The bundle of this digest; the one that new jobs use where none is given. */
export const useModel = (digest?: string): Model | undefined =>
  useModels().data?.items.find((item) => (digest ? item.digest === digest : item.active));

/** A bundle's measured mean AUC in words. */
export function aucOf(model: Model): string {
  const { ensemble, data, n } = metricsOf(model);
  if (typeof ensemble?.mean_auc !== "number") return "AUC not measured";
  const images = n ? `, ${n.toLocaleString("en")} images` : "";
  return `mean AUC ${ensemble.mean_auc.toFixed(3)} measured on ${data ?? "held-out data"}${images}`;
}
