// Keys that work in every view. Views add their own listeners with their signal.

import { go, link } from "./router.js";
import { state } from "./store.js";
import { h, t } from "./dom.js";
import { dialog } from "./dialog.js";

const VIEWS = /** @type {Record<string, string>} */ ({ l: "live", r: "review", m: "media", s: "settings", y: "system" });

const HELP = [
  ["g l, g r, g m, g s, g y", "Live, review, media, settings, system"],
  ["1 to 9, 0", "Camera, wall"],
  ["space or k", "Play, pause"],
  ["left, right", "10 seconds"],
  ["l", "Live edge"],
  ["j, Shift+j, p", "Next and viewed, next, previous"],
  ["f, m, b", "Full screen, sound, boxes"],
  ["Escape", "Close"],
];

/** True where a key belongs to a field. @param {KeyboardEvent} event */
export function inField(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  return event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}

export function shortcuts() {
  let prefix = 0;
  document.addEventListener("keydown", (event) => {
    if (inField(event) || localStorage.getItem("keys") === "off") return;
    if (event.key === "?") {
      const rows = HELP.map(([keys, meaning]) => h("tr", null, h("td", { class: "mono" }, keys), h("td", null, t(meaning))));
      dialog({ title: t("Keyboard"), body: h("table", null, ...rows), actions: [{ label: t("Close") }] });
    } else if (event.key === "g") {
      prefix = Date.now();
      return;
    } else if (Date.now() - prefix < 1500 && VIEWS[event.key]) {
      go(link(VIEWS[event.key]));
      event.stopImmediatePropagation();
    } else if (event.key === "0") {
      go(link("live"));
    } else if (/^[1-9]$/.test(event.key)) {
      const camera = state.status.cameras[Number(event.key) - 1];
      if (camera) go(link("camera", camera.name));
    }
    prefix = 0;
  });
}
