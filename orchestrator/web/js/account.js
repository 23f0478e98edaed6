// Signing in and out, and the menu of the user: theme and session.

import { h, icon, t, fill } from "./dom.js";
import { post, del } from "./api.js";
import { theme } from "./theme.js";

/** Replaces the page by the sign-in form. @param {HTMLElement} shell */
export function signIn(shell) {
  if (document.querySelector(".signin")) return;
  const user = /** @type {HTMLInputElement} */ (h("input", { type: "text", name: "username", autocomplete: "username", required: true }));
  const password = /** @type {HTMLInputElement} */ (h("input", { type: "password", name: "password", autocomplete: "current-password", required: true }));
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const form = h("form", {
    class: "signin",
    onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      try {
        await post("api/session", { user: user.value, password: password.value });
        location.reload();
      } catch (failure) {
        error.hidden = false;
        error.textContent = /** @type {Error} */ (failure).message;
        password.select();
      }
    },
  }, h("h1", null, t("Sign in to Watchpost")), h("label", { class: "field" }, h("span", null, t("User")), user), h("label", { class: "field" }, h("span", null, t("Password")), password), error, h("button", { class: "primary", type: "submit" }, t("Sign in")));
  fill(document.body, form);
  shell.remove();
  user.focus();
}

export function userMenu() {
  const list = h("div", { class: "menu-list", hidden: true });
  const close = () => { list.hidden = true; };
  const choice = (/** @type {string} */ value, /** @type {string} */ label) => h("button", { type: "button", onclick: () => { theme(value); close(); } }, label);
  list.append(
    choice("system", t("Theme of the system")),
    choice("dark", t("Dark")),
    choice("light", t("Light")),
    h("button", { type: "button", onclick: async () => { await del("api/session").catch(() => null); location.reload(); } }, t("Sign out")),
  );
  const button = h("button", { type: "button", class: "icon quiet", "aria-label": t("User menu"), "aria-haspopup": "true", onclick: () => { list.hidden = !list.hidden; } }, icon("user"));
  document.addEventListener("click", (event) => { if (!menu.contains(/** @type {Node} */ (event.target))) close(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  const menu = h("div", { class: "menu" }, button, list);
  return menu;
}
