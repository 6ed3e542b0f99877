/** Who is here: the account behind the page's cookies, or nobody. */
import { type QueryClient, queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { api, csrf, ok, onEnd, Problem } from "../api/client";
import { resetQueue } from "../upload/queue";

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

const ENDED = ["session ended"];
const tabs = new BroadcastChannel("thorax.session");

/** Whether there was a session that ended by itself, for whoever asks for a login now. */
export const hasEnded = (client: QueryClient) => client.getQueryData(ENDED) === true;

/** Follow what this tab did not do itself: the session ended, or another tab logged in or out. */
export function watchSession(client: QueryClient): void {
  onEnd(() => {
    forget(client);
    client.setQueryData(ENDED, true);
  });
  tabs.onmessage = () => {
    resetQueue(); // or it would ask whether to leave
    location.reload();
  };
}

/** What was read or chosen as somebody else. `me` stays in the cache, as the header would not hear of a new one. */
function forget(client: QueryClient): void {
  resetQueue();
  client.setQueryData(meQuery.queryKey, null);
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== meQuery.queryKey[0] });
  client.getMutationCache().clear();
}

/** Log in and out, here and in all tabs. */
export function useSession() {
  const client = useQueryClient();
  const logIn = useCallback(
    async (name: string, password: string) => {
      await ok(api.POST("/auth/session", { body: { name, password } }));
      forget(client);
      tabs.postMessage("in");
      await client.refetchQueries({ queryKey: meQuery.queryKey }, { throwOnError: true });
    },
    [client],
  );
  const logOut = useCallback(async () => {
    await ok(api.DELETE("/auth/session")).catch((error) => {
      if (!(error instanceof Problem && error.status === 401)) throw error;
    });
    forget(client);
    tabs.postMessage("out");
  }, [client]);
  return { logIn, logOut };
}
