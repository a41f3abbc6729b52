// Runs before the first paint, so that a chosen theme does not flash. "auto" follows the system.
try {
  const theme = localStorage.getItem("cadre.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing follows the system.
}
