/** The page's own code. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/client";
import { App, reloadOnce } from "./app";
import { watchSession } from "./session/session";
import { studyAhead } from "./study/ahead";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      networkMode: "always",
      staleTime: 5_000,
      // What the server refused, it will refuse again.
      retry: (count, error) => !(error instanceof Problem && error.status < 500) && count < 3,
    },
    mutations: { networkMode: "always" },
  },
});

const ahead = studyAhead(client, location.pathname);
watchSession(client);
window.addEventListener("vite:preloadError", reloadOnce);

const WAIT_MS = 150;

// A study whose job is about to come is drawn once, with it: drawing keeps the thread from asking for the image.
void Promise.race([ahead, new Promise((done) => setTimeout(done, WAIT_MS))]).then(() => {
  const root = document.getElementById("root");
  if (!root) return;
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  );
});
