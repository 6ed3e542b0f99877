/** The frame around every view: navigation, the disclaimer that is always in sight, and the addresses of the views. */
import { useQueryClient } from "@tanstack/react-query";
import { CircleUserRound, Moon, Sun, WifiOff } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Button as AriaButton, Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { Link, Redirect, Route, Switch, useLocation } from "wouter";
import { useOnline } from "./api/connection";
import { followJobs } from "./api/events";
import { aucOf, useModel } from "./api/models";
import { SessionEnded } from "./session/ended";
import { Login } from "./session/login";
import { useMe, useSession } from "./session/session";
import { Study } from "./study/ahead";
import { theme, toggleTheme } from "./theme";
import { IconButton } from "./ui/controls";
import { later } from "./ui/later";
import { Boundary, Empty, ErrorNote, Loading } from "./ui/states";
import { DropAnywhere } from "./upload/drop";
import { Home } from "./upload/home";
import { Worklist } from "./worklist/worklist";

const Report = later(async () => (await import("./report/report")).Report);
const Compare = later(async () => (await import("./compare/compare")).Compare);
const Account = later(async () => (await import("./account/account")).Account);
const Admin = later(async () => (await import("./admin/admin")).Admin);
const Model = later(async () => (await import("./model/model")).Model);

export function App() {
  const [path] = useLocation();
  useFollowedJobs();
  useEffect(() => {
    document.title = `${TITLES[path.split("/")[1] ?? ""] ?? "Page not found"} · Thorax`;
  }, [path]);
  return (
    <>
      <a href="#main" className="skip">
        Skip to content
      </a>
      <Header />
      <Connection />
      <SessionEnded />
      <main id="main" className={WIDE.test(path) ? "wide" : ""}>
        <Boundary of={path}>
          <Views />
        </Boundary>
      </main>
      <Disclaimer />
      <DropAnywhere />
    </>
  );
}

/** While somebody is logged in, what happens to their studies is shown by itself. */
function useFollowedJobs(): void {
  const client = useQueryClient();
  const account = useMe().me?.id;
  useEffect(() => (account ? followJobs(client) : undefined), [client, account]);
}

/** A part of the page could not be loaded, most likely since a new build replaced it. Reload, once a minute at most. */
export async function reloadOnce(): Promise<void> {
  if (Date.now() - Number(sessionStorage.getItem(RELOADED)) < 60_000) return;
  // While the server does not answer, a reload would lose the page.
  const answer = await fetch("/healthz", { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  sessionStorage.setItem(RELOADED, String(Date.now()));
  location.reload();
}

const RELOADED = "thorax.reloaded";
const TITLES: Record<string, string> = {
  "": "Upload",
  "log-in": "Log in",
  "sign-up": "Create an account",
  studies: "Studies",
  open: "Study",
  compare: "Compare",
  account: "Account",
  admin: "Administration",
  model: "Model",
};
const WIDE = /^\/(studies|open|compare)\/[^/]+(\/(?!report)[^/]*)?$/;

function Views() {
  return (
    <Switch>
      <Route path="/" component={Home} />
      <Route path="/log-in">
        <Login />
      </Route>
      <Route path="/sign-up">
        <Login signUp />
      </Route>
      <Route path="/model">
        <Model />
      </Route>
      <Route path="/open/:key">{({ key }) => <Study job={{ kind: "open", key }} />}</Route>
      <Route path="/open/:key/report">{({ key }) => <Report job={{ kind: "open", key }} />}</Route>
      <Route path="/studies">
        <Private>
          <Worklist />
        </Private>
      </Route>
      <Route path="/studies/:key">
        {({ key }) => (
          <Private>
            <Study job={{ kind: "studies", key }} />
          </Private>
        )}
      </Route>
      <Route path="/studies/:key/report">
        {({ key }) => (
          <Private>
            <Report job={{ kind: "studies", key }} />
          </Private>
        )}
      </Route>
      <Route path="/compare/:a/:b?">
        {({ a, b }) => (
          <Private>
            <Compare a={a} b={b} />
          </Private>
        )}
      </Route>
      <Route path="/account">
        <Private>
          <Account />
        </Private>
      </Route>
      <Route path="/admin">
        <Private>
          <Admin />
        </Private>
      </Route>
      <Route>
        <Empty title="Page not found">
          <Link href="/">Go to the first page</Link>
        </Empty>
      </Route>
    </Switch>
  );
}

/** Only for users who have logged in; others are sent to the login and back. */
function Private({ children }: { children: ReactNode }) {
  const { me, waiting, error } = useMe();
  const [path] = useLocation();
  if (error && !me) return <ErrorNote error={error} />;
  if (waiting) return <Loading what="Loading…" />;
  return me ? children : <Redirect to={`/log-in?next=${encodeURIComponent(path)}`} replace />;
}

function Header() {
  const { me } = useMe();
  const [path] = useLocation();
  const here = (href: string) => (path === href ? ("page" as const) : undefined);
  return (
    <header className="top">
      <Link href="/" className="brand">
        <img src="/favicon.svg" alt="" width="26" height="26" /> Thorax
      </Link>
      <nav aria-label="Main">
        <Link href="/" aria-current={here("/")}>
          Upload
        </Link>
        {me && (
          <Link
            href="/studies"
            aria-current={here("/studies") ?? (/^\/(studies|compare)\//.test(path) || undefined)}
          >
            Studies
          </Link>
        )}
        <Link href="/model" aria-current={here("/model")}>
          Model
        </Link>
      </nav>
      <ThemeButton />
      {me ? (
        <AccountMenu name={me.name} admin={me.scopes.includes("admin")} />
      ) : (
        <Link href="/log-in" className="button plain">
          Log in
        </Link>
      )}
    </header>
  );
}

function ThemeButton() {
  const [now, setNow] = useState(theme());
  return (
    <IconButton
      label={now === "dark" ? "Light colours" : "Dark colours"}
      onPress={() => setNow(toggleTheme())}
    >
      {now === "dark" ? <Sun /> : <Moon />}
    </IconButton>
  );
}

function AccountMenu({ name, admin }: { name: string; admin: boolean }) {
  const [, go] = useLocation();
  const { logOut } = useSession();
  const act = (key: string | number) => (key === "out" ? void logOut().then(() => go("/")) : go(String(key)));
  return (
    <MenuTrigger>
      <AriaButton className="icon-button" aria-label={`Account of ${name}`}>
        <CircleUserRound />
      </AriaButton>
      <Popover className="popover" placement="bottom end">
        <p className="menu-name">{name}</p>
        <Menu onAction={act} aria-label="Account">
          <MenuItem id="/account">Account</MenuItem>
          {admin && <MenuItem id="/admin">Administration</MenuItem>}
          <MenuItem id="out">Log out</MenuItem>
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}

function Connection() {
  const online = useOnline();
  const client = useQueryClient();
  const was = useRef(online);
  useEffect(() => {
    if (online && !was.current) void client.invalidateQueries();
    was.current = online;
  }, [online, client]);
  return online ? null : (
    <p className="banner" role="status">
      <WifiOff aria-hidden /> Thorax can't be reached. Reconnecting…
    </p>
  );
}

function Disclaimer() {
  const model = useModel();
  return (
    <footer className="disclaimer">
      <strong>Demonstration. Not a medical device, not for diagnosis.</strong>{" "}
      {model && <Link href="/model">{`${model.name} ${model.version}: ${aucOf(model)}`}</Link>}
    </footer>
  );
}
