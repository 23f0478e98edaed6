// Is everything well? Anything wrong is repeated at the top, in one sentence with its action.

import { h, icon, t, fill } from "../js/dom.js";
import { on, state } from "../js/store.js";
import { ofCamera } from "../js/states.js";
import { link } from "../js/router.js";
import { bytes, length } from "../js/time.js";

/** @param {import("../js/router.js").Route} _ @param {AbortSignal} signal */
export function system(_, signal) {
  const box = h("div", null);
  const show = () => {
    const status = state.status;
    const wrong = status.cameras.filter((/** @type {any} */ camera) => camera.enabled && ["alert", "detection"].includes(ofCamera(camera.state).role));
    const problems = wrong.map((/** @type {any} */ camera) => {
      const words = ofCamera(camera.state);
      return h("div", { class: "problem" }, h("span", null, `${camera.friendly_name ?? camera.name}: ${camera.reason ?? t(words.sentence)}`), words.action ? h("a", { class: "button", href: link("camera", camera.name, words.action[1]) }, t(words.action[0])) : "");
    });
    if (status.config_error) problems.unshift(h("div", { class: "problem" }, h("span", null, t("The changed file was not taken over: {error}", { error: status.config_error })), h("a", { class: "button", href: link("settings") }, t("Settings"))));
    const failed = status.cameras.filter((/** @type {any} */ camera) => camera.analysis?.state === "failed");
    problems.push(...failed.map((/** @type {any} */ camera) => h("div", { class: "problem" }, h("span", null, `${camera.name}: ${camera.analysis.reason}`))));
    fill(box, ...problems, cameras(status), detection(status), processes(status));
  };
  on("status", show, signal);
  show();
  return box;
}

/** @param {any} status */
function cameras(status) {
  const rows = status.cameras.map((/** @type {any} */ camera) => {
    const words = ofCamera(camera.state);
    return h("tr", null, h("td", null, h("a", { href: link("camera", camera.name) }, camera.friendly_name ?? camera.name)), h("td", null, h("span", { class: "state", "data-role": words.role }, icon(words.icon), t(words.word))), h("td", { class: "figure" }, camera.camera_fps ? `${camera.camera_fps.toFixed(1)} fps` : ""), h("td", { class: "figure" }, camera.reconnects_last_hour ? t("{count} reconnects in the last hour", { count: camera.reconnects_last_hour }) : ""));
  });
  const live = status.cameras.filter((/** @type {any} */ camera) => camera.state === "streaming").length;
  return h("section", { class: "section" }, h("h2", null, t("Cameras"), h("span", { class: "figure" }, t("{live} of {all}", { live, all: status.cameras.length }))), h("table", null, ...rows));
}

/** @param {any} status */
function detection(status) {
  const analysed = status.cameras.reduce((/** @type {number} */ sum, /** @type {any} */ camera) => sum + (camera.process_fps ?? 0), 0);
  const inferences = status.cameras.reduce((/** @type {number} */ sum, /** @type {any} */ camera) => sum + (camera.detection_fps ?? 0), 0);
  const times = status.cameras.map((/** @type {any} */ camera) => camera.inference_ms).filter(Boolean);
  const mean = times.length ? times.reduce((/** @type {number} */ sum, /** @type {number} */ value) => sum + value, 0) / times.length : null;
  return h("section", { class: "section" }, h("h2", null, t("Detection"), h("span", { class: "figure" }, mean === null ? "" : `${mean.toFixed(0)} ms`)), h("p", null, t("{analysed} pictures and {inferences} inferences a second.", { analysed: analysed.toFixed(1), inferences: inferences.toFixed(1) })));
}

/** @param {any} status */
function processes(status) {
  const list = status.processes ?? [];
  const memory = list.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + (one.unshared_bytes ?? 0), 0);
  const rows = list.map((/** @type {any} */ one) => h("tr", null, h("td", null, one.name), h("td", { class: "figure" }, one.pid ?? ""), h("td", { class: "figure" }, one.cpu_seconds !== undefined ? length(one.cpu_seconds) : ""), h("td", { class: "figure" }, bytes(one.unshared_bytes ?? 0))));
  return h("section", { class: "section" }, h("h2", null, t("Processes"), h("span", { class: "figure" }, bytes(memory))), h("p", null, t("Version {version}.", { version: status.version ?? "" })), h("table", null, h("tr", null, h("th", null, t("Process")), h("th", null, t("Id")), h("th", null, t("Processor time")), h("th", null, t("Memory"))), ...rows));
}
