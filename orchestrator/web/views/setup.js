// Adding a camera: address, picture, what is looked for, done. Each step shows its result before the next.

import { h, t, fill } from "../js/dom.js";
import { camera as path, post, put, url } from "../js/api.js";
import { camera, on, refresh, state } from "../js/store.js";
import { link } from "../js/router.js";
import { ofCamera } from "../js/states.js";

/** @param {import("../js/router.js").Route} _ @param {AbortSignal} signal */
export function setup(_, signal) {
  const answer = { name: "", source: /** @type {any} */ ({}), yaml: "" };
  const one = step(1, t("Where the pictures come from"));
  const two = step(2, t("Name and what to look for"));
  const three = step(3, t("Done"));
  const open = (/** @type {Step} */ current) => {
    const all = [one, two, three];
    const index = all.indexOf(current);
    all.forEach((other, at) => { other.element.dataset.state = at < index ? "done" : at === index ? "now" : "later"; });
  };

  const kind = /** @type {HTMLSelectElement} */ (h("select", null, h("option", { value: "rtsp" }, t("Network camera (RTSP address)")), h("option", { value: "v4l2" }, t("USB camera (V4L2 device)")), h("option", { value: "libcamera" }, t("Raspberry Pi camera (libcamera)")), h("option", { value: "test" }, t("Test scene"))));
  const address = /** @type {HTMLInputElement} */ (h("input", { type: "text", placeholder: "rtsp://user:password@192.0.2.10/stream", autocomplete: "off", spellcheck: "false" }));
  const hint = h("p", { class: "help" });
  const found = h("div", null);
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const placeholders = /** @type {Record<string, [string, string]>} */ ({
    rtsp: ["rtsp://user:password@192.0.2.10/stream", t("The manual of the camera names the address; user and password stand in front of @.")],
    v4l2: ["/dev/video0", t("The path of the device.")],
    libcamera: ["imx708", t("The model or id of the camera; `watchpost devices` lists them.")],
    test: ["walkers", t("A painted scene with walking figures, to try things out.")],
  });
  const choose = () => {
    const [placeholder, help] = placeholders[kind.value];
    address.placeholder = placeholder;
    if (kind.value === "test" && address.value === "") address.value = "walkers";
    hint.textContent = help;
  };
  kind.addEventListener("change", () => { address.value = ""; choose(); });
  const fail = (/** @type {unknown} */ failure) => {
    error.hidden = false;
    error.textContent = /** @type {Error} */ (failure).message;
  };
  const test = h("button", { type: "button", class: "primary", onclick: async () => {
    error.hidden = true;
    answer.source = { [kind.value]: address.value.trim() };
    if (kind.value === "rtsp") {
      fill(found, h("p", { class: "muted" }, t("Asking the camera...")));
      try {
        const probe = await post("api/probe", { url: address.value.trim() });
        const streams = (probe.streams ?? []).map((/** @type {any} */ stream) => h("li", null, [stream.codec, stream.width && `${stream.width} x ${stream.height}`, stream.fps && `${stream.fps} fps`].filter(Boolean).join(", ")));
        fill(found, probe.picture ? h("img", { src: `data:image/jpeg;base64,${probe.picture}`, alt: t("Picture of the camera") }) : "", h("ul", { class: "small" }, ...streams));
      } catch (failure) {
        fill(found);
        if (/** @type {any} */ (failure).status !== 404) return fail(failure);
      }
    }
    open(two);
    name.focus();
  } }, t("Next"));
  one.body.append(field(t("Kind"), kind), field(t("Address"), address, hint), found, error, h("div", null, test));

  const name = /** @type {HTMLInputElement} */ (h("input", { type: "text", value: freeName(), pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]*", maxlength: 64 }));
  const labels = /** @type {HTMLInputElement} */ (h("input", { type: "text", value: "person, car" }));
  const refused = h("p", { class: "error", role: "alert", hidden: true });
  const add = h("button", { type: "button", class: "primary", onclick: async () => {
    refused.hidden = true;
    const track = labels.value.split(",").map((label) => label.trim()).filter(Boolean);
    try {
      await put(path(name.value), { source: answer.source, objects: { track } });
      answer.name = name.value;
      await refresh();
      open(three);
      finish();
    } catch (failure) {
      refused.hidden = false;
      refused.textContent = /** @type {Error} */ (failure).message;
    }
  } }, t("Add the camera"));
  two.body.append(field(t("Name"), name, h("p", { class: "help" }, t("Letters, digits, - and _."))), field(t("Objects"), labels, h("p", { class: "help" }, t("Without a model only motion is found."))), refused, h("div", null, add));

  const finish = () => {
    const picture = h("img", { alt: t("Live picture") });
    const words = h("p", null);
    const show = () => {
      const now = camera(answer.name);
      if (!now) return;
      words.textContent = now.reason ?? t(ofCamera(now.state).sentence);
      if (now.state === "streaming" && !picture.getAttribute("src")) picture.setAttribute("src", url(`${path(answer.name)}/live.mjpg`));
    };
    on("status", show, signal);
    show();
    signal.addEventListener("abort", () => picture.removeAttribute("src"));
    fill(three.body, picture, words, h("div", { class: "row" }, h("a", { class: "button", href: link("camera", answer.name) }, t("Open the camera")), h("a", { class: "button quiet", href: link("live") }, t("All cameras"))));
  };
  choose();
  open(one);
  return h("div", { class: "wizard" }, h("p", { class: "muted" }, t("Nothing is asked that has a good default. Everything can be changed later in Settings.")), one.element, two.element, three.element);
}

function freeName() {
  const taken = new Set(state.status.cameras.map((/** @type {any} */ camera) => camera.name));
  let number = 1;
  while (taken.has(`camera${number}`)) number += 1;
  return `camera${number}`;
}

/** @param {string} label @param {...Node} content */
function field(label, ...content) {
  return h("label", { class: "field" }, h("span", null, label), ...content);
}

/** @typedef {{ element: HTMLElement, body: HTMLElement }} Step @param {number} number @param {string} title @returns {Step} */
function step(number, title) {
  const body = h("div", { class: "body" });
  return { element: h("section", { class: "step" }, h("h2", null, h("span", { class: "number" }, number), title), body), body };
}
