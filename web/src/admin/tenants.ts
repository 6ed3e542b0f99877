/** Names of tenants, where only their ids are known. */
import { useQuery } from "@tanstack/react-query";
import { api, unwrap } from "../api/client";

/** The tenant of the open API. */
const OPEN_API = "00000000-0000-0000-0000-00000000a707";

/** Tells a tenant's name; until it is known, the beginning of its id. */
export function useTenantNames(of: readonly { tenant_id: string }[]): (id: string) => string {
  const ids = [...new Set(of.map(({ tenant_id }) => tenant_id))].slice(0, 100).sort();
  const tenants = useQuery({
    queryKey: ["tenants", ids],
    queryFn: () => unwrap(api.GET("/auth/tenants", { params: { query: { id: ids } } })),
    enabled: ids.length > 0,
  }).data;
  return (id) => {
    if (id === OPEN_API) return "open API";
    return tenants?.find((tenant) => tenant.id === id)?.name ?? `tenant ${id.slice(0, 8)}`;
  };
}
