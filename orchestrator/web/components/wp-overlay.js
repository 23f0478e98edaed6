// Boxes over a live picture, from `analysis.ws`: the newest ones whose time is not after the displayed frame.

import { socketUrl, camera as path } from "../js/api.js";
import { camera as current } from "../js/store.js";

const SVG = "http://www.w3.org/2000/svg";
/** Boxes older than the picture by more than this are removed, seconds. */
const OLDEST = 1;
/** Messages kept while the picture lags behind the analysis. */
const KEPT = 64;

export class Overlay {
  /** @param {HTMLElement} stage @param {string} camera @param {() => number | null | undefined} time Unix time of the shown picture */
  constructor(stage, camera, time) {
    this.camera = camera;
    this.time = time;
    this.stage = stage;
    /** @type {any[]} */
    this.messages = [];
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("class", "overlay");
    this.svg.setAttribute("aria-hidden", "true");
    this.shown = localStorage.getItem("boxes") === "on";
    stage.append(this.svg);
    if (this.shown) this.start();
  }

  toggle() {
    this.shown = !this.shown;
    localStorage.setItem("boxes", this.shown ? "on" : "off");
    if (this.shown) this.start();
    else this.stop();
    return this.shown;
  }

  start() {
    this.socket = new WebSocket(socketUrl(`${path(this.camera)}/analysis.ws`));
    this.socket.onmessage = (message) => {
      this.messages.push(JSON.parse(message.data));
      if (this.messages.length > KEPT) this.messages.shift();
    };
    const draw = () => {
      this.draw();
      this.frame = requestAnimationFrame(draw);
    };
    this.frame = requestAnimationFrame(draw);
  }

  stop() {
    this.socket?.close();
    if (this.frame) cancelAnimationFrame(this.frame);
    this.messages = [];
    this.svg.replaceChildren();
  }

  draw() {
    const time = this.time();
    if (time === null || time === undefined) return;
    while (this.messages.length > 1 && this.messages[1].time <= time) this.messages.shift();
    const newest = this.messages[0];
    const valid = newest && newest.time <= time + 0.05 && newest.time > time - OLDEST;
    const objects = valid ? newest.objects : [];
    if (objects === this.drawn) return;
    this.drawn = objects;
    const media = /** @type {HTMLVideoElement | HTMLImageElement | null} */ (this.stage.querySelector("video:not([hidden]), img:not([hidden])"));
    const ring = current(this.camera)?.ring;
    const width = /** @type {any} */ (media)?.videoWidth || /** @type {any} */ (media)?.naturalWidth || ring?.width || 16;
    const height = /** @type {any} */ (media)?.videoHeight || /** @type {any} */ (media)?.naturalHeight || ring?.height || 9;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...objects.flatMap((/** @type {any} */ object) => this.box(object, width, height)));
  }

  /** @param {any} object @param {number} width @param {number} height */
  box(object, width, height) {
    const [x1, y1, x2, y2] = object.box;
    const still = object.state === "stationary";
    const unit = width / 320;
    const rect = (/** @type {string} */ colour, /** @type {number} */ stroke) => {
      const element = document.createElementNS(SVG, "rect");
      element.setAttribute("x", String(x1 * width));
      element.setAttribute("y", String(y1 * height));
      element.setAttribute("width", String((x2 - x1) * width));
      element.setAttribute("height", String((y2 - y1) * height));
      element.setAttribute("fill", "none");
      element.setAttribute("stroke", colour);
      element.setAttribute("stroke-width", String(stroke * unit));
      if (still && colour !== "#0B0F14") element.setAttribute("stroke-dasharray", String(3 * unit));
      return element;
    };
    const label = document.createElementNS(SVG, "text");
    label.textContent = object.label;
    label.setAttribute("x", String(x1 * width));
    label.setAttribute("y", String(Math.max(8 * unit, y1 * height - 3 * unit)));
    label.setAttribute("fill", "#FFFFFF");
    label.setAttribute("stroke", "#0B0F14");
    label.setAttribute("stroke-width", String(1.6 * unit));
    label.setAttribute("paint-order", "stroke");
    label.setAttribute("font-size", String(8 * unit));
    label.setAttribute("font-weight", "600");
    return [rect("#0B0F14", still ? 2 : 2.4), rect("#FFFFFF", still ? 0.8 : 1.2), label];
  }
}
