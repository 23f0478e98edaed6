// Review items, newest first, or object events where the server keeps no review items.

import { h, icon, t, fill } from "../js/dom.js";
import { get, post, query, url } from "../js/api.js";
import { on, state } from "../js/store.js";
import { link, go } from "../js/router.js";
import { toast } from "../js/dialog.js";
import { inField } from "../js/keyboard.js";
import { clock, length, when } from "../js/time.js";

const PAGE = 40;

/** @param {import("../js/router.js").Route} route @param {AbortSignal} signal */
export function review(route, signal) {
  if (route.parts[0]) return one(route.parts[0], signal);
  const chosen = { camera: "", severity: "", viewed: "0" };
  const list = h("div", { class: "grid" });
  const count = h("span", { class: "muted small" });
  const more = h("button", { type: "button", hidden: true }, t("Show older"));
  const filters = h("div", { class: "filters" });
  /** @type {any[]} */
  let items = [];
  let events = false;

  const load = async (/** @type {number | undefined} */ before) => {
    const filter = { camera: chosen.camera, before, limit: PAGE };
    try {
      const answer = events ? await get(`api/events${query(filter)}`, signal) : await get(`api/review${query({ ...filter, severity: chosen.severity, viewed: chosen.viewed })}`, signal);
      items = before === undefined ? answer : [...items, ...answer];
      more.hidden = answer.length < PAGE;
      show();
    } catch (error) {
      if (signal.aborted) return;
      if (/** @type {any} */ (error).status === 404 && !events) {
        events = true;
        return load(before);
      }
      fill(list, h("p", { class: "error", role: "alert" }, /** @type {Error} */ (error).message));
    }
  };
  const show = () => {
    count.textContent = t("{count} shown", { count: items.length });
    if (items.length === 0) {
      const text = chosen.viewed === "0" && !events ? t("Nothing new.") : t("Nothing happened yet.");
      const all = h("button", { type: "button", onclick: () => { chosen.viewed = ""; showFilters(); load(undefined); } }, t("Show viewed"));
      return fill(list, h("div", { class: "empty" }, h("p", null, text), chosen.viewed === "0" && !events ? all : ""));
    }
    fill(list, ...items.map((item) => events ? eventCard(item) : itemCard(item)));
  };
  const showFilters = () => {
    const cameras = /** @type {HTMLSelectElement} */ (h("select", { class: "chip", "aria-label": t("Camera") }, h("option", { value: "" }, t("All cameras")), ...state.status.cameras.map((/** @type {any} */ camera) => h("option", { value: camera.name }, camera.friendly_name ?? camera.name))));
    cameras.value = chosen.camera;
    cameras.addEventListener("change", () => { chosen.camera = cameras.value; load(undefined); });
    const chip = (/** @type {string} */ label, /** @type {boolean} */ pressed, /** @type {() => void} */ run) =>
      h("button", { type: "button", class: "chip", "aria-pressed": String(pressed), onclick: () => { run(); showFilters(); load(undefined); } }, label);
    fill(
      filters, cameras,
      events ? "" : chip(t("Alerts"), chosen.severity === "alert", () => { chosen.severity = chosen.severity === "alert" ? "" : "alert"; }),
      events ? "" : chip(t("Unviewed"), chosen.viewed === "0", () => { chosen.viewed = chosen.viewed === "0" ? "" : "0"; }),
      events || items.length === 0 ? "" : h("button", { type: "button", class: "chip", onclick: () => viewAll() }, t("All viewed")),
      count,
    );
  };
  const viewAll = async () => {
    const ids = items.filter((item) => !item.viewed).map((item) => item.id);
    await post("api/review/viewed", { ids, viewed: true });
    toast(t("{count} marked as viewed", { count: ids.length }), () => post("api/review/viewed", { ids, viewed: false }).then(() => load(undefined)));
    load(undefined);
  };
  more.addEventListener("click", () => load(items.at(-1)?.start_time));
  on("review", () => load(undefined), signal);
  on("track", (event) => { if (events && (event.change === "started" || event.change === "ended")) load(undefined); }, signal);
  load(undefined).then(showFilters);
  return h("div", null, filters, list, h("div", { class: "row" }, more));
}

/** @param {any} item */
function itemCard(item) {
  const end = item.end_time ?? Date.now() / 1000;
  const objects = (item.data?.objects ?? []).join(", ") || t("Motion");
  const zones = (item.data?.zones ?? []).join(", ");
  const title = zones ? t("{camera} - {objects} in {zones}", { camera: item.camera, objects, zones }) : t("{camera} - {objects}", { camera: item.camera, objects });
  return h(
    "a", { class: `item ${item.viewed ? "" : "unviewed"}`, "data-severity": item.severity, href: link("review", item.id) },
    h("span", { class: "frame" }, h("img", { src: url(`api/review/${encodeURIComponent(item.id)}/thumbnail.jpg`), alt: "", loading: "lazy" })),
    h("span", { class: "words" }, h("span", { class: "state", "data-role": item.severity === "alert" ? "alert" : "detection" }, icon(item.severity === "alert" ? "triangle" : "square"), h("span", { class: "title" }, title)), h("br", null), h("span", { class: "muted figure" }, `${when(item.start_time)}, ${length(end - item.start_time)}`)),
  );
}

/** @param {any} event */
function eventCard(event) {
  const end = event.end_time ?? event.last_time ?? event.start_time;
  const zones = (event.zones ?? []).join(", ");
  return h(
    "div", { class: "item" },
    h("span", { class: "frame" }, event.has_snapshot ? h("img", { src: url(`api/events/${event.id}/thumbnail.jpg`), alt: "", loading: "lazy" }) : ""),
    h("span", { class: "words" }, h("span", { class: "title" }, zones ? t("{camera} - {objects} in {zones}", { camera: event.camera, objects: event.label, zones }) : t("{camera} - {objects}", { camera: event.camera, objects: event.label })), h("br", null), h("span", { class: "muted figure" }, `${when(event.start_time)}, ${length(end - event.start_time)}`)),
  );
}

/** One item with its clip. @param {string} id @param {AbortSignal} signal */
function one(id, signal) {
  const box = h("div", { class: "section" });
  const next = async (/** @type {boolean} */ viewed) => {
    const item = await get(`api/review/${encodeURIComponent(id)}`);
    const list = await get(`api/review${query({ viewed: 0, limit: 2, before: item.start_time })}`);
    if (viewed) {
      await post("api/review/viewed", { ids: [id], viewed: true });
      toast(t("Marked as viewed"), () => post("api/review/viewed", { ids: [id], viewed: false }));
    }
    const following = list.find((/** @type {any} */ other) => other.id !== id);
    go(following ? link("review", following.id) : link("review"));
  };
  document.addEventListener("keydown", (event) => {
    if (inField(event)) return;
    if (event.key === "j" || event.key === "J") next(event.key === "j");
    if (event.key === "Escape") go(link("review"));
  }, { signal });
  get(`api/review/${encodeURIComponent(id)}`, signal).then((item) => {
    const before = item.end_time ?? Date.now() / 1000;
    const clip = url(`api/cameras/${encodeURIComponent(item.camera)}/recordings/clip.mp4${query({ after: item.start_time - 5, before: before + 5 })}`);
    const video = h("video", { controls: true, autoplay: true, muted: true, playsinline: true, src: clip, class: "camera-stage" });
    fill(
      box, h("a", { class: "button quiet", href: link("review") }, icon("back"), t("Review")), video,
      h("h2", null, t("{camera} - {objects}", { camera: item.camera, objects: (item.data?.objects ?? []).join(", ") })),
      h("p", { class: "figure" }, `${when(item.start_time)} - ${item.end_time ? clock(item.end_time) : t("now")}`),
      h("div", { class: "row" }, h("button", { type: "button", class: "primary", onclick: () => next(true) }, t("Next")), h("a", { class: "button", href: clip, download: `${item.camera}-${item.id}.mp4` }, t("Download"))),
    );
  }).catch((error) => {
    if (!signal.aborted) fill(box, h("div", { class: "empty" }, h("p", null, error.message), h("a", { class: "button", href: link("review") }, t("Review"))));
  });
  return box;
}
