// Plays a camera: live as fragmented MP4 (the wanted stream, the other stream, then MJPEG) or a recorded span.

import { h, icon, t, define, fill } from "../js/dom.js";
import { camera as path, query, url } from "../js/api.js";
import { Stream } from "../js/stream.js";
import { camera } from "../js/store.js";
import { ofCamera } from "../js/states.js";
import { clock } from "../js/time.js";
import { inField } from "../js/keyboard.js";
import { Overlay } from "./wp-overlay.js";

/** Ages of a live picture, seconds: shown from SHOW on, dimmed from DIM on. */
const SHOW = 2;
const DIM = 10;

export class Player extends HTMLElement {
  connectedCallback() {
    this.name = this.getAttribute("camera") ?? "";
    this.wanted = this.getAttribute("stream") ?? "main";
    this.from = this.getAttribute("from");
    this.video = /** @type {HTMLVideoElement} */ (h("video", { muted: true, playsinline: true, "aria-label": this.name }));
    this.video.muted = localStorage.getItem(`sound:${this.name}`) !== "on";
    this.image = /** @type {HTMLImageElement} */ (h("img", { alt: "", hidden: true }));
    this.stage = h("div", { class: "player-stage" }, this.video, this.image);
    this.age = h("span", { class: "on-video" });
    this.note = h("span", { class: "on-video" });
    this.controls = h("div", { class: "player-controls idle" });
    fill(this, this.stage, h("div", { class: "player-top" }, this.age), h("div", { class: "player-note" }, this.note), this.controls);
    this.overlay = this.hasAttribute("bare") ? undefined : new Overlay(this.stage, this.name, () => this.time);
    this.note.hidden = true;
    this.arrived = performance.now();
    this.makeControls();
    this.timer = window.setInterval(() => this.tick(), 500);
    this.hidden_ = () => document.hidden ? this.stop() : this.play(this.wanted);
    document.addEventListener("visibilitychange", this.hidden_);
    this.keys = (/** @type {KeyboardEvent} */ event) => this.key(event);
    document.addEventListener("keydown", this.keys);
    this.play(this.wanted);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
    clearTimeout(this.idle);
    document.removeEventListener("visibilitychange", this.hidden_ ?? (() => {}));
    document.removeEventListener("keydown", this.keys ?? (() => {}));
    this.stop();
    this.overlay?.stop();
  }

  get live() {
    return this.from === null;
  }

  /** Unix time of the shown picture. */
  get time() {
    return this.stream?.time ?? (this.image?.hidden === false ? Date.now() / 1000 : null);
  }

  /** @param {string} which `main`, `sub` or `live` */
  play(which) {
    this.stop();
    const video = /** @type {HTMLVideoElement} */ (this.video);
    video.hidden = false;
    /** @type {HTMLImageElement} */ (this.image).hidden = true;
    const address = this.live
      ? `${path(this.name ?? "")}/live.ws${query({ stream: which, audio: 1 })}`
      : `${path(this.name ?? "")}/recordings/play.ws${query({ from: this.from })}`;
    this.stream = new Stream(video, address, this.live, {
      init: (init) => {
        this.say("");
        this.style.setProperty("--shape", `${init.width} / ${init.height}`);
        this.dispatchEvent(new CustomEvent("shape", { detail: init }));
      },
      state: (_, reason) => this.say(reason ?? ""),
      failed: (reason, mime) => this.fallBack(which, reason, mime),
    });
    if (which !== this.wanted) this.chosen = which;
  }

  /** @param {string} which @param {string} reason @param {string | null} mime */
  fallBack(which, reason, mime) {
    this.stream = undefined;
    if (!this.live) return this.say(reason);
    const codec = mime === null ? null : /hvc1|hev1/.test(mime) ? "H.265" : /av01/.test(mime) ? "AV1" : mime;
    if (which === this.wanted && which !== "sub") {
      this.why = codec ? t("{stream} stream is {codec}, which this browser cannot play.", { stream: which === "main" ? "Main" : "Live", codec }) : t(reason);
      return this.play("sub");
    }
    // MJPEG works everywhere and needs the most bandwidth.
    const image = /** @type {HTMLImageElement} */ (this.image);
    /** @type {HTMLVideoElement} */ (this.video).hidden = true;
    image.hidden = false;
    image.onload = () => {
      this.arrived = performance.now();
      this.style.setProperty("--shape", `${image.naturalWidth} / ${image.naturalHeight}`);
      this.dispatchEvent(new CustomEvent("shape", { detail: { width: image.naturalWidth, height: image.naturalHeight } }));
    };
    image.onerror = () => this.say(this.reason());
    image.src = url(`${path(this.name ?? "")}/live.mjpg`);
    this.say(codec ? `${this.why ?? ""} ${t("Showing JPEG pictures.")}` : "");
  }

  stop() {
    this.stream?.close();
    this.stream = undefined;
    if (this.image) this.image.removeAttribute("src");
  }

  reason() {
    const now = camera(this.name ?? "");
    return now ? now.reason ?? t(ofCamera(now.state).sentence) : "";
  }

  /** @param {string} text */
  say(text) {
    const note = /** @type {HTMLElement} */ (this.note);
    note.hidden = text === "";
    note.textContent = text;
  }

  tick() {
    const age = /** @type {HTMLElement} */ (this.age);
    const stage = /** @type {HTMLElement} */ (this.stage);
    if (!this.live) {
      age.textContent = this.time ? clock(this.time) : "";
      return;
    }
    const now = camera(this.name ?? "");
    const streaming = now?.state === "streaming" || now?.state === "idle";
    const mjpeg = /** @type {HTMLImageElement} */ (this.image).hidden === false;
    const last = this.stream ? this.stream.received : this.arrived ?? 0;
    const old = mjpeg ? (streaming ? 0 : this.ageOf(now)) : (performance.now() - last) / 1000;
    if (this.stream && last === 0) {
      age.textContent = t("Connecting");
      return;
    }
    const fresh = old < SHOW && (mjpeg || !(/** @type {HTMLVideoElement} */ (this.video).paused));
    fill(age, fresh ? t("Live") : t("{seconds} s old", { seconds: Math.round(old) }));
    stage.classList.toggle("dimmed", old >= DIM);
    if (old >= DIM) this.say(this.reason());
  }

  /** @param {any} now */
  ageOf(now) {
    return now?.since ? Math.max(0, Date.now() / 1000 - now.since) : DIM;
  }

  makeControls() {
    const controls = /** @type {HTMLElement} */ (this.controls);
    const video = /** @type {HTMLVideoElement} */ (this.video);
    const button = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => void} */ run) =>
      h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: run }, icon(name));
    this.sound = button("silent", t("Sound"), () => this.toggleSound());
    this.boxes = button("boxes", t("Boxes"), () => this.toggleBoxes());
    fill(
      controls,
      button("pause", t("Play or pause"), () => this.toggle()),
      this.sound,
      this.overlay ? this.boxes : "",
      h("span", { class: "space" }),
      this.live ? h("button", { type: "button", onclick: () => this.play(this.wanted ?? "main") }, t("Live")) : "",
      h("a", { class: "button icon quiet", href: url(`${path(this.name ?? "")}/snapshot.jpg`), download: `${this.name}.jpg`, "aria-label": t("Save picture") }, icon("download")),
      button("full", t("Full screen"), () => this.fullScreen()),
    );
    const wake = () => {
      controls.classList.remove("idle");
      clearTimeout(this.idle);
      this.idle = window.setTimeout(() => controls.classList.add("idle"), 3000);
    };
    for (const event of ["pointermove", "pointerdown", "focusin"]) this.addEventListener(event, wake);
    video.addEventListener("timeupdate", () => { this.arrived = performance.now(); });
    this.showSound();
  }

  toggle() {
    const video = /** @type {HTMLVideoElement} */ (this.video);
    if (this.stream) this.stream.held = !video.paused;
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  toggleSound() {
    const video = /** @type {HTMLVideoElement} */ (this.video);
    video.muted = !video.muted;
    localStorage.setItem(`sound:${this.name}`, video.muted ? "off" : "on");
    this.showSound();
  }

  showSound() {
    const muted = /** @type {HTMLVideoElement} */ (this.video).muted;
    const sound = /** @type {HTMLElement} */ (this.sound);
    fill(sound, icon(muted ? "silent" : "sound"));
    sound.setAttribute("aria-pressed", String(!muted));
  }

  toggleBoxes() {
    const shown = this.overlay?.toggle() ?? false;
    /** @type {HTMLElement} */ (this.boxes).setAttribute("aria-pressed", String(shown));
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.requestFullscreen?.();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (inField(event) || this.hasAttribute("bare")) return;
    const run = /** @type {Record<string, () => void>} */ ({
      " ": () => this.toggle(), k: () => this.toggle(), f: () => this.fullScreen(), m: () => this.toggleSound(), b: () => this.toggleBoxes(),
    })[event.key];
    if (run && !(event.key === " " && event.target instanceof HTMLButtonElement)) {
      event.preventDefault();
      run();
    }
  }
}

define("wp-player", Player);
