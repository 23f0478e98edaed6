// Dialogs (only for what deletes, signs in or explains) and the one toast for undo.

import { h, t } from "./dom.js";

/**
 * @typedef {{ label: string, kind?: string, run?: () => void | Promise<void> }} DialogAction
 * @param {{ title: string, body: Node | string, actions: DialogAction[] }} content
 * @returns {HTMLDialogElement}
 */
export function dialog({ title, body, actions }) {
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const buttons = actions.map((action) =>
    h("button", {
      type: "button",
      class: action.kind ?? "",
      onclick: async () => {
        try {
          await action.run?.();
          element.close();
        } catch (failure) {
          error.hidden = false;
          error.textContent = /** @type {Error} */ (failure).message;
        }
      },
    }, action.label));
  const element = /** @type {HTMLDialogElement} */ (
    h("dialog", { "aria-label": title, onclose: () => element.remove() }, h("h2", null, title), body, error, h("div", { class: "dialog-actions" }, ...buttons))
  );
  document.body.append(element);
  element.showModal();
  return element;
}

/** @type {HTMLElement | null} */
let shown = null;

/** Offers to undo something for ten seconds. @param {string} text @param {() => void} undo */
export function toast(text, undo) {
  shown?.remove();
  let left = 10_000;
  let since = Date.now();
  let timer = 0;
  const close = () => element.remove();
  const go = () => {
    since = Date.now();
    timer = window.setTimeout(close, left);
  };
  const hold = () => {
    clearTimeout(timer);
    left -= Date.now() - since;
  };
  const element = h("div", { class: "toast", role: "status", onmouseenter: hold, onmouseleave: go, onfocusin: hold, onfocusout: go }, text, h("button", { type: "button", class: "quiet", onclick: () => { undo(); close(); } }, t("Undo")));
  shown = element;
  document.body.append(element);
  go();
}
