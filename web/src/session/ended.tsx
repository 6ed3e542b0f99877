/** Says that the session has ended, what waits for a login, and offers both ways on. */
import { LogIn } from "lucide-react";
import { Link, useLocation, useSearch } from "wouter";
import { Button } from "../ui/controls";
import { plural } from "../ui/words";
import { resetQueue, useQueue } from "../upload/queue";
import { setLastAccount } from "./account";
import { useMe } from "./session";

export function SessionEnded() {
  const { ended } = useMe();
  const [path] = useLocation();
  const search = useSearch();
  const held = useQueue().filter(({ state }) => state === "held").length;
  if (!ended) return null;
  const next = path === "/log-in" ? search : `next=${encodeURIComponent(path)}`;
  const withoutAccount = () => {
    resetQueue();
    setLastAccount(null);
  };
  return (
    <section className="banner" aria-label="Session" role="status">
      <LogIn aria-hidden />
      <span>
        Your session has ended.{" "}
        {held > 0 ? `Log in to send ${plural(held, "waiting upload")}.` : "Log in to continue."}
      </span>
      {path !== "/log-in" && <Link href={`/log-in?${next}`}>Log in again</Link>}
      <Button kind="quiet" onPress={withoutAccount}>
        {held > 0 ? "Discard and continue without an account" : "Continue without an account"}
      </Button>
    </section>
  );
}
