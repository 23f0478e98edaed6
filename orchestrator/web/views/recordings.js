// A camera's footage: a timeline of footage, gaps, motion and items; dragging shows the nearest key frame, releasing plays.

import { h, t, fill } from "../js/dom.js";
import { camera as path, get, query, url } from "../js/api.js";
import { when } from "../js/time.js";
import { Timeline } from "../components/wp-timeline.js";
import "../components/wp-player.js";

/** @param {string} name @param {AbortSignal} signal */
export function recordings(name, signal) {
  const stage = h("div", { class: "camera-stage" });
  const label = h("p", { class: "figure", "aria-live": "polite" });
  const timeline = /** @type {Timeline} */ (h("wp-timeline", { camera: name }));
  const box = h("div", null, stage, label, timeline, h("p", { class: "help" }, t("Drag to look for a moment; let go to play. Ctrl and wheel, + and - zoom.")));
  const still = (/** @type {number} */ time) => {
    label.textContent = when(time);
    const image = /** @type {HTMLImageElement | null} */ (stage.querySelector("img")) ?? /** @type {HTMLImageElement} */ (h("img", { alt: "" }));
    if (!image.isConnected) fill(stage, image);
    if (!image.dataset.loading) {
      image.dataset.loading = "yes";
      image.onload = image.onerror = () => { delete image.dataset.loading; };
      image.src = url(`${path(name)}/recordings/snapshot.jpg${query({ at: time.toFixed(3), height: 720 })}`);
    }
  };
  timeline.addEventListener("seek", (event) => still(/** @type {CustomEvent} */ (event).detail));
  timeline.addEventListener("play", (event) => {
    const time = /** @type {CustomEvent} */ (event).detail;
    label.textContent = when(time);
    fill(stage, h("wp-player", { camera: name, from: time.toFixed(3), class: "camera-stage" }));
  });
  const before = Date.now() / 1000;
  get(`${path(name)}/recordings${query({ after: before - 7 * 86400, before })}`, signal).then((answer) => {
    if ((answer.spans ?? []).length > 0) return;
    fill(box, h("div", { class: "empty" }, h("p", null, t("Nothing is recorded yet."))));
  }).catch((error) => {
    const text = error.status === 404 ? t("Recording is not available in this version.") : error.message;
    if (!signal.aborted) fill(box, h("div", { class: "empty" }, h("p", null, text)));
  });
  return box;
}
