/** What a view shows instead of its content: loading, empty, broken, offline. */
import { CircleAlert } from "lucide-react";
import { Component, type ReactNode, useState } from "react";
import { Offline, Problem, send } from "../api/client";
import { Button } from "./controls";
import { plural } from "./words";

/** An error as a sentence, what to do about it and when, and the code of those that only support can mend. */
export function ErrorNote({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (!error) return null;
  const problem = error instanceof Problem ? error : null;
  return (
    <div className="note error" role="alert">
      <CircleAlert aria-hidden />
      <div>
        <p>
          {error instanceof Error ? error.message : "Something went wrong. Try again."} {problem?.remedy}
        </p>
        {problem && problem.retryAfter > 0 && <p>Try again in {period(problem.retryAfter)}.</p>}
        {problem && problem.status >= 500 && <code>{problem.code}</code>}
        {error instanceof Offline && <p>Retrying automatically.</p>}
      </div>
      {onRetry && <Button onPress={onRetry}>Try again</Button>}
    </div>
  );
}

function period(seconds: number): string {
  if (seconds < 90) return plural(Math.ceil(seconds), "second");
  if (seconds < 5400) return plural(Math.ceil(seconds / 60), "minute");
  return plural(Math.ceil(seconds / 3600), "hour");
}

type BoundaryProps = { of: string; children: ReactNode };

/** Confines an error to its part of the page. It is rendered anew when `of` changes. */
export class Boundary extends Component<BoundaryProps, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override componentDidUpdate(before: BoundaryProps) {
    if (before.of !== this.props.of) this.setState({ broken: false });
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <div className="note error" role="alert">
        <CircleAlert aria-hidden />
        <div>
          <p>This part of the page could not be shown. Reload the page.</p>
        </div>
        <Button onPress={() => location.reload()}>Reload</Button>
      </div>
    );
  }
}

export function Loading({ what }: { what: string }) {
  return (
    <div className="loading" role="status">
      <span className="spinner" aria-hidden />
      {what}
    </div>
  );
}

/** Nothing to show; `inside` a view that has a heading of its own. */
export function Empty({
  title,
  inside,
  children,
}: {
  title: string;
  inside?: boolean;
  children?: ReactNode;
}) {
  const Title = inside ? "h2" : "h1";
  return (
    <div className="empty">
      <Title>{title}</Title>
      {children}
    </div>
  );
}

/**
 * A picture behind the session: when it fails, the session is renewed and it is asked for once more.
 * `paper`: it has to be there before somebody prints, in sight or not.
 */
export function Picture({ src, alt, paper = false }: { src: string; alt: string; paper?: boolean }) {
  const [tries, setTries] = useState(0);
  const again = () =>
    tries < 2 &&
    send(new Request(src, { headers: { Range: "bytes=0-0" } }))
      .then(({ ok }) => ok && setTries(tries + 1))
      .catch(() => undefined);
  const url = tries ? `${src}${src.includes("?") ? "&" : "?"}try=${tries}` : src;
  return <img src={url} alt={alt} onError={again} loading={paper ? "eager" : "lazy"} decoding="async" />;
}
