// Dark or light: as the system has it, or as it was chosen here.

const key = "cprkit-theme";

/** Sets what was chosen before. */
export function startTheme(): void {
  const chosen = remembered();
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset["theme"] = chosen;
}

/** Switches to the other one. */
export function switchTheme(): void {
  const { dataset } = document.documentElement;
  const isDark =
    dataset["theme"] === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : dataset["theme"] === "dark";
  dataset["theme"] = isDark ? "light" : "dark";
  try {
    localStorage.setItem(key, dataset["theme"]);
  } catch {
    // A browser may keep nothing of pages from files.
  }
}

function remembered(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
