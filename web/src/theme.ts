/** Dark or light. Dark by default, as reading rooms are. */
const KEY = "thorax.theme";
type Theme = "dark" | "light";

export function theme(): Theme {
  return localStorage.getItem(KEY) === "light" ? "light" : "dark";
}

export function applyTheme(): void {
  document.documentElement.dataset.theme = theme();
}

export function toggleTheme(): Theme {
  localStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
  applyTheme();
  return theme();
}
