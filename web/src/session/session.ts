/** Who is here: the account behind the page's cookies, or nobody. */
import { queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { api, csrf, ok, Problem } from "../api/client";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: async () => {
    if (!csrf()) return null; // there has been no login, or it has run out
    try {
      return await ok(api.GET("/auth/me"));
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 300_000,
});

export function useMe() {
  const query = useQuery(meQuery);
  return { me: query.data ?? null, waiting: query.isPending, error: query.error };
}

/** Log in and out. What was read as somebody else is forgotten. */
export function useSession() {
  const client = useQueryClient();
  const logIn = useCallback(
    async (name: string, password: string) => {
      await ok(api.POST("/auth/session", { body: { name, password } }));
      client.clear();
      await client.fetchQuery(meQuery);
    },
    [client],
  );
  const logOut = useCallback(async () => {
    await ok(api.DELETE("/auth/session")).catch((error) => {
      if (!(error instanceof Problem && error.status === 401)) throw error;
    });
    client.clear();
    client.setQueryData(meQuery.queryKey, null);
  }, [client]);
  return { logIn, logOut };
}
