// Photos, series and recordings that tasks made: look, choose, download, delete.

import { h, icon, t, fill } from "../js/dom.js";
import { del, get, query, url } from "../js/api.js";
import { on, state } from "../js/store.js";
import { link, go } from "../js/router.js";
import { dialog } from "../js/dialog.js";
import { TASK_NAME } from "../js/states.js";
import { bytes, full, length } from "../js/time.js";
import { mediaCard } from "./camera.js";

const PAGE = 60;

/** @param {string} address of the API, which begins with a slash */
const file = (address) => url(address.replace(/^\//, ""));

/** @param {import("../js/router.js").Route} route @param {AbortSignal} signal */
export function media(route, signal) {
  if (route.parts[0]) return one(route.parts[0], signal);
  const chosen = { camera: "", task: "" };
  /** @type {Map<number, any>} */
  const selected = new Map();
  /** @type {any[]} */
  let items = [];
  const list = h("div", { class: "grid" });
  const bar = h("div", { class: "apply-bar", hidden: true });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(items.at(-1)?.id) }, t("Show older"));

  const load = async (/** @type {number | undefined} */ before) => {
    const answer = await get(`api/media${query({ ...chosen, before_id: before, limit: PAGE })}`, signal).catch((error) => {
      if (!signal.aborted) fill(list, h("p", { class: "error", role: "alert" }, error.message));
      return null;
    });
    if (!answer) return;
    items = before === undefined ? answer : [...items, ...answer];
    more.hidden = answer.length < PAGE;
    show();
  };
  const show = () => {
    if (items.length === 0) return fill(list, h("div", { class: "empty" }, h("p", null, t("No photos or recordings yet."))));
    fill(list, ...items.map((item) => {
      const card = mediaCard(item);
      const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", class: "select", "aria-label": t("Choose {name}", { name: item.name }) }));
      box.checked = selected.has(item.id);
      box.addEventListener("click", (event) => event.stopPropagation());
      box.addEventListener("change", () => {
        if (box.checked) selected.set(item.id, item);
        else selected.delete(item.id);
        showBar();
      });
      return h("div", { class: "item" }, card, box);
    }));
  };
  const showBar = () => {
    bar.hidden = selected.size === 0;
    const total = [...selected.values()].reduce((sum, item) => sum + item.size, 0);
    fill(bar, h("span", null, t("{count} chosen, {bytes}", { count: selected.size, bytes: bytes(total) })), h("span", { class: "row" }, h("button", { type: "button", class: "danger", onclick: () => remove([...selected.values()], () => { selected.clear(); showBar(); load(undefined); }) }, icon("bin"), t("Delete"))));
  };
  const cameras = /** @type {HTMLSelectElement} */ (h("select", { class: "chip", "aria-label": t("Camera") }, h("option", { value: "" }, t("All cameras")), ...state.status.cameras.map((/** @type {any} */ camera) => h("option", { value: camera.name }, camera.name))));
  cameras.addEventListener("change", () => { chosen.camera = cameras.value; load(undefined); });
  const tasks = [["", t("Everything")], ["photo", t("Photos")], ["series", t("Series")], ["video", t("Recordings")]].map(([id, label]) =>
    h("button", { type: "button", class: "chip", "aria-pressed": String(chosen.task === id), onclick: (/** @type {Event} */ event) => { chosen.task = id; filters.querySelectorAll("button").forEach((chip) => chip.setAttribute("aria-pressed", String(chip === event.currentTarget))); load(undefined); } }, label));
  const filters = h("div", { class: "filters" }, cameras, ...tasks);
  on("media", () => load(undefined), signal);
  load(undefined);
  return h("div", null, filters, list, h("div", { class: "row" }, more), bar);
}

/** @param {any[]} items @param {() => void} done */
function remove(items, done) {
  const total = items.reduce((sum, item) => sum + item.size, 0);
  dialog({
    title: items.length === 1 ? t("Delete this file?") : t("Delete {count} files?", { count: items.length }),
    body: h("p", null, t("{bytes} will be removed for good.", { bytes: bytes(total) })),
    actions: [
      { label: t("Keep") },
      { label: t("Delete"), kind: "danger", run: async () => { for (const item of items) await del(`api/media/${item.id}`); done(); } },
    ],
  });
}

/** @param {string} id @param {AbortSignal} signal */
function one(id, signal) {
  const box = h("div", { class: "section" });
  get(`api/media/${encodeURIComponent(id)}`, signal).then((item) => {
    const source = file(item.url);
    const picture = item.media_type?.startsWith("video/")
      ? h("video", { controls: true, autoplay: true, playsinline: true, src: source, class: "camera-stage" })
      : item.media_type === "image/jpeg" ? h("img", { src: source, alt: item.name }) : item.thumbnail_url ? h("img", { src: file(item.thumbnail_url), alt: item.name }) : "";
    const rows = [
      [t("Camera"), item.camera], [t("Made by"), t(TASK_NAME[item.task] ?? item.task)], [t("Time"), full(item.time)],
      [t("Length"), item.duration ? length(item.duration) : ""], [t("Size"), [item.width && `${item.width} x ${item.height}`, bytes(item.size)].filter(Boolean).join(", ")],
      [t("Series"), item.series ? `${item.series} ${item.series_number ?? ""}` : ""], [t("File"), `${item.folder}/${item.name}`],
    ].filter(([, value]) => value);
    fill(
      box, h("a", { class: "button quiet", href: link("media") }, icon("back"), t("Media")), picture,
      h("table", null, ...rows.map(([name, value]) => h("tr", null, h("th", null, name), h("td", null, value)))),
      h("div", { class: "row" }, h("a", { class: "button", href: source, download: item.name.split("/").pop() }, icon("download"), t("Download")), h("button", { type: "button", class: "danger", onclick: () => remove([item], () => go(link("media"))) }, icon("bin"), t("Delete"))),
    );
  }).catch((error) => {
    if (!signal.aborted) fill(box, h("div", { class: "empty" }, h("p", null, error.message), h("a", { class: "button", href: link("media") }, t("Media"))));
  });
  return box;
}
