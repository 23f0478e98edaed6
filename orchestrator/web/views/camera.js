// One camera: player, task strip, what can be done with it, and tabs for its recordings and settings.

import { h, icon, t, fill } from "../js/dom.js";
import { camera as path, get, patch, post, query, url } from "../js/api.js";
import { camera, on } from "../js/store.js";
import { ofCamera } from "../js/states.js";
import { link } from "../js/router.js";
import { dialog } from "../js/dialog.js";
import { clock, length, when } from "../js/time.js";
import { cameraSettings } from "./settings.js";
import { recordings } from "./recordings.js";
import "../components/wp-player.js";
import "../components/wp-task-strip.js";

/** @param {import("../js/router.js").Route} route @param {AbortSignal} signal */
export function cameraView(route, signal) {
  const [name = "", tab = "live"] = route.parts;
  const player = h("wp-player", { camera: name, stream: "main", class: "camera-stage" });
  const tabs = [["live", t("Live")], ["recordings", t("Recordings")], ["settings", t("Settings")]].map(([id, label]) =>
    h("a", { role: "tab", href: link("camera", name, id), "aria-selected": String(id === tab) }, label));
  const below = h("div", null);
  const column = h("div", null, player, h("wp-task-strip", { camera: name }), h("div", { class: "tabs", role: "tablist" }, ...tabs), below);
  if (tab === "settings") {
    player.remove();
    fill(below, cameraSettings(name, signal));
  } else if (tab === "recordings") {
    player.remove();
    fill(below, recordings(name, signal));
  } else {
    fill(below, facts(name, signal));
  }
  return h("div", { class: "camera" }, column, panel(name, signal));
}

/** @param {string} name @param {AbortSignal} signal */
function panel(name, signal) {
  const state = h("div", { class: "card" });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const photos = h("div", { class: "grid" });
  const run = (/** @type {() => Promise<any>} */ action) => async () => {
    error.hidden = true;
    try {
      await action();
    } catch (failure) {
      error.hidden = false;
      error.textContent = /** @type {Error} */ (failure).message;
    }
  };
  const start = (/** @type {string} */ task, /** @type {unknown} */ parameters) => run(() => announce(name, task, parameters));
  const photo = h("button", { type: "button", class: "primary", onclick: start("photo", {}) }, icon("photo"), t("Photo"));
  const record = h("button", { type: "button", onclick: () => recordDialog(name, error) }, icon("record"), t("Record"));
  const series = h("button", { type: "button", onclick: () => seriesDialog(name) }, icon("series"), t("Series"));
  const switches = h("div", { class: "card" }, h("h2", null, t("Switches")));
  showSwitches(name, switches, error);
  const show = () => {
    const now = camera(name);
    if (!now) return fill(state, h("p", { class: "muted" }, t("This camera is not known.")));
    const words = ofCamera(now.state);
    fill(
      state,
      h("p", { class: "state", "data-role": words.role }, icon(words.icon), h("strong", null, t(words.word))),
      now.state === "streaming" ? "" : h("p", { class: "small" }, now.reason ?? t(words.sentence)),
      words.action && now.state !== "streaming" ? h("a", { class: "button", href: link("camera", name, words.action[1]) }, t(words.action[0])) : "",
    );
  };
  on("status", show, signal);
  on("media", (event) => {
    const item = event.media ?? event;
    if (item.camera !== name || event.change === "removed") return;
    photos.prepend(mediaCard(item));
    while (photos.children.length > 4) photos.lastElementChild?.remove();
  }, signal);
  show();
  get(`api/media${query({ camera: name, limit: 4 })}`, signal).then((list) => fill(photos, ...list.map(mediaCard))).catch(() => {});
  return h(
    "aside", { class: "camera-panel" }, state,
    h("div", { class: "row" }, photo, record, series), error, switches,
    h("div", { class: "card" }, h("h2", null, t("Latest files")), photos),
  );
}

/** @param {any} item */
export function mediaCard(item) {
  const picture = item.thumbnail_url ? h("img", { src: url(item.thumbnail_url.replace(/^\//, "")), alt: "", loading: "lazy" }) : "";
  const seconds = item.duration ? `, ${length(item.duration)}` : "";
  return h(
    "a", { class: "item", href: link("media", String(item.id)) },
    h("span", { class: "frame" }, picture), h("span", { class: "words" }, `${when(item.time)}${seconds}`),
  );
}

/** Asks the plan first: what needs the camera alone is announced before it happens. @param {string} name @param {string} task @param {unknown} parameters */
async function announce(name, task, parameters) {
  const plan = await get(`${path(name)}/plan${query({ tasks: `live,${task}` })}`).catch(() => null);
  const go = () => post(`${path(name)}/tasks/${task}`, parameters);
  if (!plan || plan.together !== false && !(plan.conflicts?.length > 0)) return go();
  const causes = (plan.conflicts ?? []).map((/** @type {any} */ conflict) => h("li", null, typeof conflict === "string" ? conflict : JSON.stringify(conflict)));
  dialog({
    title: t("{task} needs the camera alone", { task }),
    body: h("div", null, h("p", null, t("Meanwhile live shows the last picture, detection stops and series miss their shots.")), h("ul", { class: "small" }, ...causes)),
    actions: [{ label: t("Cancel") }, { label: t("Start"), kind: "primary", run: go }],
  });
}

/** @param {string} name @param {HTMLElement} error */
function recordDialog(name, error) {
  error.hidden = true;
  const seconds = /** @type {HTMLInputElement} */ (h("input", { type: "number", min: 1, value: 30 }));
  dialog({
    title: t("Record"),
    body: h("label", { class: "field" }, h("span", null, t("Seconds")), seconds, h("p", { class: "help" }, t("Empty: until you stop it."))),
    actions: [
      { label: t("Cancel") },
      { label: t("Start"), kind: "primary", run: () => announce(name, "video", seconds.value === "" ? {} : { duration: Number(seconds.value) }) },
    ],
  });
}

/** Of interval, number and end two are entered and the third follows. @param {string} name */
function seriesDialog(name) {
  const id = /** @type {HTMLInputElement} */ (h("input", { type: "text", value: "series", required: true }));
  const interval = /** @type {HTMLInputElement} */ (h("input", { type: "number", min: 0.1, step: "any", value: 60 }));
  const count = /** @type {HTMLInputElement} */ (h("input", { type: "number", min: 1, value: 60 }));
  const ends = h("p", { class: "help" });
  const show = () => {
    const span = Number(interval.value) * (Number(count.value) - 1);
    ends.textContent = count.value === "" ? t("Runs until you stop it.") : t("Takes {span}, ends {end}.", { span: length(span), end: when(Date.now() / 1000 + span) });
  };
  interval.addEventListener("input", show);
  count.addEventListener("input", show);
  show();
  const field = (/** @type {string} */ label, /** @type {Node} */ input) => h("label", { class: "field" }, h("span", null, label), input);
  dialog({
    title: t("Series of photos"),
    body: h("div", null, field(t("Name"), id), field(t("Interval in seconds"), interval), field(t("Number of photos (empty: no end)"), count), ends),
    actions: [
      { label: t("Cancel") },
      {
        label: t("Start"), kind: "primary",
        run: () => announce(name, "series", { series: id.value, interval: Number(interval.value), ...(count.value === "" ? {} : { count: Number(count.value) }) }),
      },
    ],
  });
}

const SWITCH_NAMES = /** @type {Record<string, string>} */ ({ enabled: "Camera", detect: "Detection", record: "Recording", snapshots: "Snapshots", motion: "Motion" });

/** @param {string} name @param {HTMLElement} card @param {HTMLElement} error */
async function showSwitches(name, card, error) {
  let switches;
  try {
    switches = await get(`${path(name)}/switches`);
  } catch {
    card.hidden = true;
    return;
  }
  const rows = Object.entries(SWITCH_NAMES).filter(([key]) => switches[key] !== undefined).map(([key, label]) => {
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", role: "switch" }));
    box.checked = switches[key].value;
    box.addEventListener("change", async () => {
      try {
        await patch(`${path(name)}/switches`, { [key]: box.checked });
      } catch (failure) {
        box.checked = !box.checked;
        error.hidden = false;
        error.textContent = /** @type {Error} */ (failure).message;
      }
    });
    return h("label", { class: "switch" }, t(label), box);
  });
  card.append(...rows);
}

/** @param {string} name @param {AbortSignal} signal */
function facts(name, signal) {
  const table = h("table", null);
  const show = () => {
    const now = camera(name);
    if (!now) return;
    const number = (/** @type {number | undefined} */ value, /** @type {string} */ unit) => value === undefined || value === null ? "" : `${value.toFixed(1)} ${unit}`;
    const rows = [
      [t("Pictures received"), number(now.camera_fps, t("a second"))],
      [t("Pictures analysed"), number(now.process_fps, t("a second"))],
      [t("Inferences"), number(now.detection_fps, t("a second"))],
      [t("Time of an inference"), now.inference_ms ? `${now.inference_ms.toFixed(0)} ms` : ""],
      [t("Analysed size"), now.ring?.width ? `${now.ring.width} x ${now.ring.height}` : ""],
      [t("Analysis"), now.analysis?.reason ?? now.analysis?.state ?? ""],
      [t("In the picture"), (now.objects ?? []).map((/** @type {any} */ object) => object.label).join(", ")],
      [t("Since"), now.since ? clock(now.since) : ""],
    ].filter(([, value]) => value !== "");
    fill(table, ...rows.map(([label, value]) => h("tr", null, h("th", null, label), h("td", { class: "figure" }, value))));
  };
  on("status", show, signal);
  show();
  return table;
}
