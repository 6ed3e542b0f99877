/** Views whose code is fetched when it is needed. */
import { type ComponentType, useEffect, useState } from "react";
import { Loading } from "./states";

/**
 * A view by the function that fetches its code; `ahead` fetches that before it is shown. React's own `lazy` would keep a
 * view back for 300 ms once its placeholder was drawn.
 */
export function later<P extends object>(load: () => Promise<ComponentType<P>>) {
  let View: ComponentType<P> | undefined;
  const ahead = async () => {
    View = await load();
  };
  function Later(props: P) {
    const [, drawAgain] = useState(false);
    const [error, setError] = useState<unknown>();
    useEffect(() => {
      if (!View) ahead().then(() => drawAgain(true), setError);
    }, []);
    if (error) throw error;
    return View ? <View {...props} /> : <Loading what="Loading…" />;
  }
  return Object.assign(Later, { ahead });
}
