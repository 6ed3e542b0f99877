/** Who uses the page: the account behind its cookies, or nobody. */
import { type QueryClient, queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { ME } from "../api/addresses";
import { api, onSessionEnd, Problem, type Schemas, unwrap } from "../api/client";
import { csrfToken } from "../api/csrf";
import { early } from "../api/early";
import { forgetSent, resetQueue, resumeUploads } from "../upload/queue";
import { setLastAccount, useLastAccount } from "./account";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: async () => {
    if (!csrfToken()) return null; // there was no login, or it has expired
    try {
      const me = (await early<Schemas["Me"]>(ME)) ?? (await unwrap(api.GET(ME)));
      setLastAccount(me.id);
      return me;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 300_000,
});

/** The account; `ended` where there was one whose session has ended and that has not logged out. */
export function useMe() {
  const query = useQuery(meQuery);
  const account = useLastAccount();
  const me = query.data ?? null;
  return { me, waiting: query.isPending, error: query.error, ended: query.data === null && account !== null };
}

const tabs = new BroadcastChannel("thorax.session");

/** Follow what this tab did not do itself: the session ended, or another tab logged in or out. */
export function watchSession(client: QueryClient): void {
  onSessionEnd(() => {
    forgetSent();
    clearUserData(client);
  });
  tabs.onmessage = () => {
    resetQueue(); // or it would ask whether to leave
    location.reload();
  };
}

/** Drops what the last user read or chose. `me` stays in the cache, or the header would not learn of a new one. */
function clearUserData(client: QueryClient): void {
  client.setQueryData(meQuery.queryKey, null);
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== meQuery.queryKey[0] });
  client.getMutationCache().clear();
}

/** Log in and out, here and in all tabs. */
export function useSession() {
  const client = useQueryClient();
  const logIn = useCallback(
    async (name: string, password: string) => {
      await unwrap(api.POST("/auth/session", { body: { name, password } }));
      clearUserData(client);
      tabs.postMessage("in");
      const me = await client.fetchQuery({ ...meQuery, staleTime: 0 });
      if (me) resumeUploads(me.id);
    },
    [client],
  );
  const logOut = useCallback(async () => {
    await unwrap(api.DELETE("/auth/session")).catch((error) => {
      if (!(error instanceof Problem && error.status === 401)) throw error;
    });
    resetQueue();
    setLastAccount(null);
    clearUserData(client);
    tabs.postMessage("out");
  }, [client]);
  return { logIn, logOut };
}
