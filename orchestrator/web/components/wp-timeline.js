// A span of time of one camera, zoomed from 7 days to 1 minute: footage, gaps, motion, detections, alerts.

import { h, define, fill, t } from "../js/dom.js";
import { camera as path, get, query } from "../js/api.js";
import { when } from "../js/time.js";

const MINUTE = 60;
const WEEK = 7 * 86400;
const STEPS = [10, 60, 300, 900, 3600, 10800, 21600, 86400];

export class Timeline extends HTMLElement {
  connectedCallback() {
    this.name = this.getAttribute("camera") ?? "";
    this.width_ = 6 * 3600;
    this.center = Number(this.getAttribute("at") ?? Date.now() / 1000 - 60);
    this.canvas = /** @type {HTMLCanvasElement} */ (h("canvas", null));
    fill(this, this.canvas);
    this.tabIndex = 0;
    this.setAttribute("role", "slider");
    this.setAttribute("aria-label", t("Time"));
    this.addEventListener("pointerdown", (event) => this.grab(event));
    this.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8);
    }, { passive: false });
    this.addEventListener("keydown", (event) => this.key(event));
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(this);
    this.load();
  }

  disconnectedCallback() {
    this.resize?.disconnect();
    this.abort?.abort();
  }

  get start() {
    return (this.center ?? 0) - (this.width_ ?? 0) / 2;
  }

  async load() {
    this.abort?.abort();
    this.abort = new AbortController();
    const [width, start] = [this.width_ ?? 0, this.start];
    const range = { after: start - width / 2, before: start + 1.5 * width, bucket: Math.max(1, width / 300) };
    this.loaded = range;
    try {
      this.footage = await get(`${path(this.name ?? "")}/recordings${query(range)}`, this.abort.signal);
      this.items = await get(`api/review${query({ camera: this.name, after: range.after, before: range.before, limit: 500 })}`, this.abort.signal).catch(() => []);
    } catch {
      return;
    }
    this.draw();
  }

  /** Shows a time that plays. @param {number} time */
  show(time) {
    if (this.isHeld) return;
    this.center = time;
    const loaded = this.loaded;
    if (loaded && (this.start < loaded.after || this.start + (this.width_ ?? 0) > loaded.before)) this.load();
    this.draw();
  }

  draw() {
    const canvas = /** @type {HTMLCanvasElement} */ (this.canvas);
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.clientWidth, this.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(ratio, ratio);
    const style = getComputedStyle(this);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    const x = (/** @type {number} */ time) => (time - this.start) / (this.width_ ?? 1) * width;
    context.fillStyle = colour("raised");
    for (const span of this.footage?.spans ?? []) context.fillRect(x(span.start), 20, Math.max(1, x(span.end) - x(span.start)), height - 40);
    this.hatch(context, x, height, colour("line"));
    context.fillStyle = colour("info");
    for (const active of this.footage?.activity ?? []) {
      const tall = active.objects > 0 ? 12 : 6;
      context.fillRect(x(active.start), height - 20 - tall, Math.max(1, x(active.end) - x(active.start)), tall);
    }
    for (const item of this.items ?? []) {
      const alert = item.severity === "alert";
      context.fillStyle = colour(alert ? "alert" : "detection");
      const at = x(item.start_time);
      context.beginPath();
      if (alert) {
        context.moveTo(at, 22);
        context.lineTo(at + 6, 34);
        context.lineTo(at - 6, 34);
      } else {
        context.rect(at - 4, 36, 8, 8);
      }
      context.fill();
    }
    this.ticks(context, x, width, height, colour("muted"));
    context.fillStyle = colour("accent");
    context.fillRect(width / 2 - 1, 0, 2, height);
    this.setAttribute("aria-valuetext", when(this.center ?? 0));
    this.setAttribute("aria-valuenow", String(Math.round(this.center ?? 0)));
  }

  /** @param {CanvasRenderingContext2D} context @param {(time: number) => number} x @param {number} height @param {string} colour */
  hatch(context, x, height, colour) {
    context.strokeStyle = colour;
    context.lineWidth = 1;
    for (const gap of this.footage?.gaps ?? []) {
      const [from, to] = [x(gap.start), x(gap.end)];
      context.save();
      context.beginPath();
      context.rect(from, 20, Math.max(1, to - from), height - 40);
      context.clip();
      context.beginPath();
      for (let at = from - height; at < to; at += 6) {
        context.moveTo(at, height);
        context.lineTo(at + height, 0);
      }
      context.stroke();
      context.restore();
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {(time: number) => number} x @param {number} width @param {number} height @param {string} colour */
  ticks(context, x, width, height, colour) {
    const step = STEPS.find((seconds) => seconds / (this.width_ ?? 1) * width >= 70) ?? 86400;
    const zone = new Date().getTimezoneOffset() * 60;
    context.fillStyle = colour;
    context.font = "12px system-ui, sans-serif";
    for (let time = Math.ceil((this.start - zone) / step) * step + zone; time < this.start + (this.width_ ?? 0); time += step) {
      const date = new Date(time * 1000);
      const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
      context.fillRect(x(time), midnight ? 0 : height - 8, 1, midnight ? height : 8);
      const text = midnight ? date.toLocaleDateString(undefined, { day: "numeric", month: "short" }) : date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
      context.fillText(text, x(time) + 3, 12);
    }
  }

  /** @param {PointerEvent} event */
  grab(event) {
    this.setPointerCapture(event.pointerId);
    this.isHeld = true;
    const from = event.clientX;
    const center = this.center ?? 0;
    const perPixel = (this.width_ ?? 0) / this.clientWidth;
    const move = (/** @type {PointerEvent} */ now) => {
      this.center = Math.min(Date.now() / 1000, center - (now.clientX - from) * perPixel);
      this.draw();
      this.dispatchEvent(new CustomEvent("seek", { detail: this.center }));
    };
    const drop = () => {
      this.isHeld = false;
      this.removeEventListener("pointermove", move);
      if (this.center === center) {
        this.center = Math.min(Date.now() / 1000, this.start + (from - this.getBoundingClientRect().left) * perPixel);
        this.draw();
      }
      this.load();
      this.dispatchEvent(new CustomEvent("play", { detail: this.center }));
    };
    this.addEventListener("pointermove", move);
    this.addEventListener("pointerup", drop, { once: true });
    this.addEventListener("pointercancel", drop, { once: true });
  }

  /** @param {number} factor */
  zoom(factor) {
    this.width_ = Math.min(WEEK, Math.max(MINUTE, (this.width_ ?? 0) * factor));
    this.draw();
    clearTimeout(this.later);
    this.later = window.setTimeout(() => this.load(), 200);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = event.shiftKey ? 1 : 10;
    if (event.key === "+") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.center = (this.center ?? 0) + (event.key === "ArrowLeft" ? -step : step);
      this.draw();
      this.dispatchEvent(new CustomEvent("play", { detail: this.center }));
    }
  }
}

define("wp-timeline", Timeline);
