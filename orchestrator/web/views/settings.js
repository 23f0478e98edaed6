// The configuration: a short form per camera and the whole file as text. Apply is offered for exactly what was previewed.

import { h, icon, t, fill } from "../js/dom.js";
import { camera as path, del, get, patch, request } from "../js/api.js";
import { refresh, state } from "../js/store.js";
import { link, go } from "../js/router.js";
import { dialog } from "../js/dialog.js";

/** @param {import("../js/router.js").Route} route @param {AbortSignal} signal */
export function settings(route, signal) {
  const [name] = route.parts;
  const links = [
    ...state.status.cameras.map((/** @type {any} */ camera) => [camera.name, camera.friendly_name ?? camera.name]),
  ].map(([id, label]) => h("a", { href: link("settings", id), "aria-current": id === name ? "page" : null }, label));
  const list = h("nav", { class: "settings-list", "aria-label": t("Cameras") }, h("a", { href: link("settings"), "aria-current": name ? null : "page" }, t("Whole configuration")), ...links, h("a", { class: "button", href: link("setup") }, icon("plus"), t("Add a camera")));
  return h("div", { class: "settings" }, list, name ? cameraSettings(name, signal) : whole(signal));
}

/** Words for an action of a change. @param {any} action */
function actionWords(action) {
  const words = /** @type {Record<string, string>} */ ({ start: "starts", stop: "stops", restart: "restarts (about 2 s)", update: "changes without a restart", rename: "is renamed", "restart-analysis": "Detection restarts", http: "The web interface changes", "needs-new-start": "Takes effect after the next start of Watchpost" });
  const kind = action.action ?? action.kind ?? Object.keys(action)[0];
  const camera = action.camera ?? "";
  const keys = (action.keys ?? []).join(", ");
  return `${camera ? `${camera} ` : ""}${t(words[kind] ?? kind)}${keys ? ` (${keys})` : ""}`;
}

/**
 * A bar that previews a change and applies exactly that.
 * @param {() => { method: string, path: string, body: unknown } | null} change null: nothing changed
 * @param {() => void} done @param {() => void} discard
 */
function applyBar(change, done, discard) {
  const words = h("span", { class: "small" });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const apply = h("button", { type: "button", class: "primary", disabled: true }, t("Apply"));
  const bar = h("div", { class: "apply-bar", hidden: true }, words, h("span", { class: "row" }, h("button", { type: "button", onclick: discard }, t("Discard")), apply), error);
  let timer = 0;
  let previewed = "";
  const send = (/** @type {any} */ wanted, /** @type {string} */ search) => request(wanted.method, wanted.path + search, wanted.body);
  const preview = async () => {
    const wanted = change();
    if (!wanted) return;
    const text = JSON.stringify(wanted);
    try {
      const answer = await send(wanted, "?dry_run=1");
      if (JSON.stringify(change()) !== text) return;
      error.hidden = true;
      words.textContent = answer.actions.length === 0 ? t("Nothing restarts.") : answer.actions.map(actionWords).join("; ");
      previewed = text;
      apply.removeAttribute("disabled");
    } catch (failure) {
      error.hidden = false;
      error.textContent = /** @type {Error} */ (failure).message;
      words.textContent = "";
    }
  };
  apply.addEventListener("click", async () => {
    const wanted = change();
    if (!wanted || JSON.stringify(wanted) !== previewed) return;
    try {
      await send(wanted, "");
      bar.hidden = true;
      await refresh();
      done();
    } catch (failure) {
      error.hidden = false;
      error.textContent = /** @type {Error} */ (failure).message;
    }
  });
  return {
    bar,
    changed() {
      apply.setAttribute("disabled", "");
      bar.hidden = change() === null;
      clearTimeout(timer);
      timer = window.setTimeout(preview, 400);
    },
  };
}

/** Keys that the short form offers: path, label, kind, help. @type {[string, string, string, string][]} */
const FIELDS = [
  ["friendly_name", "Name", "text", "Shown to people."],
  ["enabled", "Camera is on", "boolean", ""],
  ["detect.enabled", "Detection is on", "boolean", ""],
  ["detect.fps", "Analysed pictures a second", "number", "5 is right for almost all cameras."],
  ["detect.width", "Analysed width", "number", "Pixels; empty: the size of the stream."],
  ["detect.height", "Analysed height", "number", "Pixels; together with the width."],
  ["motion.threshold", "Motion threshold", "number", "Higher: less sensitive."],
  ["objects.track", "Objects", "list", "Labels, separated by commas."],
];

/** @param {any} object @param {string} key */
const at = (object, key) => key.split(".").reduce((value, part) => value?.[part], object);

/** @param {string} name @param {AbortSignal} signal */
export function cameraSettings(name, signal) {
  const box = h("div", null);
  get("api/config", signal).then((config) => {
    const current = config.cameras?.[name] ?? {};
    /** @type {Record<string, any>} */
    const changes = {};
    const bar = applyBar(
      () => Object.keys(changes).length === 0 ? null : { method: "PATCH", path: path(name), body: nested(changes) },
      () => fill(box, cameraSettings(name, signal)),
      () => fill(box, cameraSettings(name, signal)),
    );
    const fields = FIELDS.map(([key, label, kind, help]) => {
      const value = at(current, key);
      const set = (/** @type {any} */ wanted) => {
        if (JSON.stringify(wanted) === JSON.stringify(value ?? null)) delete changes[key];
        else changes[key] = wanted;
        bar.changed();
      };
      if (kind === "boolean") {
        const input = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", role: "switch" }));
        input.checked = value ?? true;
        input.addEventListener("change", () => set(input.checked));
        return h("label", { class: "switch field" }, t(label), input);
      }
      const input = /** @type {HTMLInputElement} */ (h("input", { type: kind === "number" ? "number" : "text", step: "any", value: Array.isArray(value) ? value.join(", ") : value ?? "" }));
      input.addEventListener("input", () => {
        const text = input.value.trim();
        if (text === "") set(null);
        else if (kind === "number") set(Number(text));
        else if (kind === "list") set(text.split(",").map((part) => part.trim()).filter(Boolean));
        else set(text);
      });
      return h("label", { class: "field" }, h("span", null, t(label)), input, help ? h("p", { class: "help" }, t(help)) : "");
    });
    const remove = h("button", { type: "button", class: "danger", onclick: () => removeCamera(name) }, icon("bin"), t("Remove this camera"));
    fill(box, ...fields, bar.bar, h("details", null, h("summary", null, t("All keys of this camera")), h("pre", { class: "small" }, JSON.stringify(current, null, 2))), h("p", null, remove));
  }).catch((error) => { if (!signal.aborted) fill(box, h("p", { class: "error", role: "alert" }, error.message)); });
  return box;
}

/** `{"a.b": 1}` as `{a: {b: 1}}`. @param {Record<string, any>} flat */
function nested(flat) {
  /** @type {any} */
  const out = {};
  for (const [key, value] of Object.entries(flat)) {
    const parts = key.split(".");
    const last = /** @type {string} */ (parts.pop());
    const place = parts.reduce((object, part) => (object[part] ??= {}), out);
    place[last] = value;
  }
  return out;
}

/** @param {string} name */
function removeCamera(name) {
  dialog({
    title: t("Remove {name}?", { name }),
    body: h("p", null, t("The camera leaves the configuration. Its events and files stay until their days are over.")),
    actions: [{ label: t("Keep") }, { label: t("Remove"), kind: "danger", run: async () => { await del(path(name)); await refresh(); go(link("settings")); } }],
  });
}

/** The whole configuration as text. @param {AbortSignal} signal */
function whole(signal) {
  const box = h("div", null);
  get("api/config", signal).then((config) => {
    const before = JSON.stringify(config, null, 2);
    const text = /** @type {HTMLTextAreaElement} */ (h("textarea", { class: "yaml", spellcheck: "false", "aria-label": t("Configuration") }));
    text.value = before;
    const syntax = h("p", { class: "error", role: "alert", hidden: true });
    const read = () => {
      try {
        syntax.hidden = true;
        return JSON.parse(text.value);
      } catch (error) {
        syntax.hidden = false;
        syntax.textContent = /** @type {Error} */ (error).message;
        return null;
      }
    };
    const again = () => fill(box, whole(signal));
    const bar = applyBar(() => {
      if (text.value === before) return null;
      const body = read();
      return body === null ? null : { method: "POST", path: "api/config", body };
    }, again, again);
    text.addEventListener("input", () => bar.changed());
    fill(box, h("p", { class: "help" }, t("Comments and the order of the file stay when you change values here. Secrets are shown as *** and stay as they are.")), text, syntax, bar.bar);
  }).catch((error) => { if (!signal.aborted) fill(box, h("p", { class: "error", role: "alert" }, error.message)); });
  return box;
}
