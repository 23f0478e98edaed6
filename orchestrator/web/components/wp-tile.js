// One camera on the wall: live while it moves, else a still of at most a minute ago, with its state in words.

import { h, icon, t, define, fill } from "../js/dom.js";
import { camera as path, url } from "../js/api.js";
import { camera, on } from "../js/store.js";
import { ofCamera, TASK_NAME, ofTask } from "../js/states.js";
import { link } from "../js/router.js";
import "./wp-player.js";

/** A still is taken so often while nothing moves, and the tile stays live so long after the last motion. Milliseconds. */
const STILL = 60_000;
const LINGER = 10_000;

/** Decoders that play at once; a phone has few. */
const DECODERS = matchMedia("(max-width: 599px)").matches ? 4 : 32;
/** @type {Set<Tile>} */
const playing = new Set();

class Tile extends HTMLElement {
  connectedCallback() {
    this.name = this.getAttribute("camera") ?? "";
    this.leave = new AbortController();
    this.picture = h("div", { class: "tile-picture" });
    this.top = h("div", { class: "tile-top" });
    this.bottom = h("div", { class: "tile-bottom" });
    this.message = h("div", { class: "tile-message", hidden: true });
    this.anchor = h("a", { href: link("camera", this.name) });
    fill(this, this.picture, this.top, this.bottom, this.message, this.anchor);
    on("status", () => this.show(), this.leave.signal);
    this.observer = new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.show();
    });
    this.observer.observe(this);
    document.addEventListener("visibilitychange", () => this.show(), { signal: this.leave.signal });
    this.show();
  }

  disconnectedCallback() {
    this.leave?.abort();
    this.observer?.disconnect();
    this.rest();
  }

  show() {
    const now = camera(this.name ?? "");
    if (!now) return;
    const words = ofCamera(now.state);
    const streaming = now.state === "streaming" || now.state === "idle";
    if (now.motion || (now.objects ?? []).some((/** @type {any} */ object) => object.state === "active")) this.moved = Date.now();
    const wanted = streaming && this.visible && !document.hidden && Date.now() - (this.moved ?? 0) < LINGER;
    if (streaming && this.visible && this.taken === undefined) this.still();
    if (wanted && !playing.has(this) && playing.size < DECODERS) this.goLive();
    else if (!wanted && playing.has(this)) this.rest();
    if (!playing.has(this) && streaming && this.visible && !document.hidden && Date.now() - (this.taken ?? 0) > STILL) this.still();
    this.showWords(now, words, streaming);
  }

  /** @param {any} now @param {import("../js/states.js").Words} words @param {boolean} streaming */
  showWords(now, words, streaming) {
    const name = now.friendly_name ?? now.name;
    const age = this.taken ? Math.round((Date.now() - this.taken) / 1000) : null;
    const live = playing.has(this);
    const tasks = (now.tasks ?? []).filter((/** @type {any} */ task) => !["idle", "live"].includes(task.task) && task.state !== "idle");
    const recording = tasks.some((/** @type {any} */ task) => ["record", "video"].includes(task.task) && task.state === "active");
    const chips = tasks.filter((/** @type {any} */ task) => !["record", "video", "detect"].includes(task.task)).slice(0, 1);
    fill(
      /** @type {HTMLElement} */ (this.top),
      recording ? h("span", { class: "on-video" }, icon("record"), t("REC")) : "",
      now.motion ? h("span", { class: "on-video" }, icon("bars"), t("Motion")) : "",
      h("span", { class: "tile-space" }),
      streaming && !live && age !== null ? h("span", { class: "on-video figure" }, t("{age} s", { age })) : "",
    );
    fill(
      /** @type {HTMLElement} */ (this.bottom),
      h("span", { class: "on-video" }, name),
      ...chips.map((/** @type {any} */ task) => h("span", { class: "on-video" }, icon(ofTask(task.state).icon), t(TASK_NAME[task.task] ?? task.task))),
    );
    const message = /** @type {HTMLElement} */ (this.message);
    message.hidden = streaming;
    if (!streaming) fill(message, h("span", null, t(words.sentence)));
    /** @type {HTMLElement} */ (this.picture).classList.toggle("dimmed", !streaming);
    const parts = [name, live ? t("live") : t(words.word), ...(recording ? [t("recording")] : []), ...new Set((now.objects ?? []).map((/** @type {any} */ object) => object.label))];
    /** @type {HTMLElement} */ (this.anchor).setAttribute("aria-label", parts.join(", "));
  }

  goLive() {
    playing.add(this);
    const player = h("wp-player", { camera: this.name, stream: "sub", bare: true });
    player.addEventListener("shape", (event) => this.shape(/** @type {CustomEvent} */ (event).detail));
    this.player = player;
    /** @type {HTMLElement} */ (this.picture).append(player);
  }

  rest() {
    playing.delete(this);
    if (!this.player) return;
    this.still();
    this.player.remove();
    this.player = undefined;
  }

  still() {
    this.taken = Date.now();
    const image = /** @type {HTMLImageElement} */ (h("img", { alt: "" }));
    image.onload = () => {
      const old = /** @type {HTMLElement} */ (this.picture).querySelectorAll(":scope > img");
      /** @type {HTMLElement} */ (this.picture).prepend(image);
      old.forEach((element) => element.remove());
      this.shape({ width: image.naturalWidth, height: image.naturalHeight });
    };
    image.onerror = () => { this.taken = Date.now() - STILL + 5000; };
    image.src = url(`${path(this.name ?? "")}/snapshot.jpg?${this.taken}`);
  }

  /** @param {{ width: number, height: number }} size */
  shape({ width, height }) {
    if (!width || !height) return;
    this.dispatchEvent(new CustomEvent("shape", { bubbles: true, detail: { ratio: width / height } }));
  }
}

define("wp-tile", Tile);
