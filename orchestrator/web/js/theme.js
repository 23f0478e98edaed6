// Dark, light, or as the system has it.

/** @param {string} choice `dark`, `light` or `system` */
export function theme(choice) {
  localStorage.setItem("theme", choice);
  apply();
}

function apply() {
  const choice = localStorage.getItem("theme") ?? "system";
  const light = choice === "light" || (choice === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
}

/** Applies the stored choice and follows the system. */
export function followTheme() {
  apply();
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", apply);
}
