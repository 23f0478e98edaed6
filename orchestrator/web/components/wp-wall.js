// All cameras in justified rows that keep the shape of each; two columns on a phone.

import { h, define, fill, t } from "../js/dom.js";
import { on, state } from "../js/store.js";
import { link } from "../js/router.js";
import "./wp-tile.js";

class Wall extends HTMLElement {
  connectedCallback() {
    this.leave = new AbortController();
    on("status", () => this.show(), this.leave.signal);
    this.addEventListener("shape", (event) => {
      const tile = /** @type {HTMLElement} */ (event.target);
      this.size(tile, /** @type {CustomEvent} */ (event).detail.ratio);
    });
    this.show();
  }

  disconnectedCallback() {
    this.leave?.abort();
  }

  show() {
    const cameras = state.status.cameras;
    const names = cameras.map((/** @type {any} */ camera) => camera.name);
    const shown = [...this.querySelectorAll("wp-tile")].map((tile) => tile.getAttribute("camera"));
    if (state.ready && names.length === 0) {
      fill(this, h("div", { class: "empty" }, h("p", null, t("No cameras yet.")), h("a", { class: "button", href: link("setup") }, t("Add a camera"))));
      return;
    }
    if (names.join("\n") === shown.join("\n")) return;
    this.classList.toggle("single", names.length === 1);
    fill(this, ...cameras.map((/** @type {any} */ camera) => {
      const tile = h("wp-tile", { camera: camera.name });
      this.size(tile, camera.ring?.width ? camera.ring.width / camera.ring.height : 16 / 9);
      return tile;
    }));
  }

  /** @param {HTMLElement} tile @param {number} ratio */
  size(tile, ratio) {
    if (tile.dataset.ratio === ratio.toFixed(3)) return;
    tile.dataset.ratio = ratio.toFixed(3);
    const many = state.status.cameras.length;
    const height = many <= 2 ? 420 : many <= 6 ? 320 : 240;
    tile.style.flex = `${ratio} 1 ${ratio * height}px`;
    tile.style.aspectRatio = String(ratio);
    tile.style.maxWidth = many <= 2 ? "" : `${ratio * height * 1.9}px`;
  }
}

define("wp-wall", Wall);
