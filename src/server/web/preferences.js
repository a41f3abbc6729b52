// Small choices that outlive the page: theme, experts shown, model, the system prompt of new
// conversations. Where the browser keeps nothing they live as long as the page.

const kept = new Map();

export function preference(name) {
  if (kept.has(name)) return kept.get(name);
  try {
    return localStorage.getItem(`cadre.${name}`);
  } catch {
    return null;
  }
}

export function setPreference(name, value) {
  kept.set(name, value);
  try {
    localStorage.setItem(`cadre.${name}`, value);
  } catch {
    // Kept for this page only.
  }
}

const kThemes = ["auto", "light", "dark"];
const kThemeNames = { auto: "as the system", light: "light", dark: "dark" };

export function theme() {
  return kThemes.includes(preference("theme")) ? preference("theme") : "auto";
}

export const themeName = () => kThemeNames[theme()];

// The next of auto, light, dark; the first step always changes what is seen.
export function nextTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const order = dark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
  const next = order[(order.indexOf(theme()) + 1) % order.length];
  setPreference("theme", next);
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}
