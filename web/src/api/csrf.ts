/** The CSRF token of the page's session; empty without a session. */
export function csrfToken(): string {
  const found = document.cookie.split("; ").find((cookie) => cookie.startsWith("thorax_csrf="));
  return found ? decodeURIComponent(found.slice("thorax_csrf=".length)) : "";
}
