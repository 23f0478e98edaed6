// Navigation, top bar with the health of all cameras, and the view.

import { h, icon, t, define, fill } from "../js/dom.js";
import { onSignedOut } from "../js/api.js";
import { on, state } from "../js/store.js";
import { ofCamera } from "../js/states.js";
import { route, link } from "../js/router.js";
import { clock } from "../js/time.js";
import { shortcuts } from "../js/keyboard.js";
import { signIn, userMenu } from "../js/account.js";
import { live } from "../views/live.js";
import { cameraView } from "../views/camera.js";
import { review } from "../views/review.js";
import { media } from "../views/media.js";
import { settings } from "../views/settings.js";
import { system } from "../views/system.js";
import { setup } from "../views/setup.js";

/** @type {Record<string, { title: () => string, make: (route: import("../js/router.js").Route, signal: AbortSignal) => Node }>} */
const VIEWS = {
  live: { title: () => t("Live"), make: live },
  camera: { title: () => "", make: cameraView },
  review: { title: () => t("Review"), make: review },
  media: { title: () => t("Media"), make: media },
  settings: { title: () => t("Settings"), make: settings },
  system: { title: () => t("System"), make: system },
  setup: { title: () => t("Set up"), make: setup },
};

const RAIL = /** @type {const} */ ([["live", "Live"], ["review", "Review"], ["media", "Media"], ["settings", "Settings"], ["system", "System"]]);

class Shell extends HTMLElement {
  connectedCallback() {
    const links = () => RAIL.map(([view, name]) => h("a", { href: link(view), "data-view": view }, icon(view), t(name)));
    this.title_ = h("h1", null);
    this.health = h("a", { class: "health", href: link("system") });
    this.clock = h("span", { class: "clock figure" });
    this.lost = h("div", { class: "shell-lost", role: "status", hidden: true });
    this.main = h("main", { class: "shell-main", tabindex: "-1" });
    this.announcer = h("div", { class: "visually-hidden", "aria-live": "polite" });
    fill(
      this,
      h("nav", { class: "shell-rail", "aria-label": t("Views") }, ...links()),
      h("header", { class: "shell-bar" }, this.title_, this.health, this.clock, userMenu()),
      this.lost,
      this.main,
      h("nav", { class: "shell-bottom", "aria-label": t("Views") }, ...links().filter((_, index) => index !== 3)),
      this.announcer,
    );
    const always = new AbortController().signal;
    on("status", () => this.showHealth(), always);
    on("connection", () => this.showConnection(), always);
    on("review", (event) => this.announce(event), always);
    window.addEventListener("hashchange", () => this.show());
    window.setInterval(() => this.tick(), 1000);
    onSignedOut(() => signIn(this));
    shortcuts();
    this.tick();
    this.show();
  }

  show() {
    this.leave?.abort();
    this.leave = new AbortController();
    const now = route();
    const view = VIEWS[now.view] ?? VIEWS.live;
    fill(/** @type {HTMLElement} */ (this.main), view.make(now, this.leave.signal));
    const title = view.title() || now.parts[0] || t("Camera");
    /** @type {HTMLElement} */ (this.title_).textContent = title;
    document.title = `${title} - Watchpost`;
    const current = now.view === "camera" ? "live" : now.view;
    for (const anchor of this.querySelectorAll("nav a")) {
      const here = /** @type {HTMLElement} */ (anchor).dataset.view === current;
      if (here) anchor.setAttribute("aria-current", "page");
      else anchor.removeAttribute("aria-current");
    }
    window.scrollTo(0, 0);
  }

  showHealth() {
    const cameras = state.status.cameras.filter((/** @type {any} */ camera) => camera.enabled);
    const good = cameras.filter((/** @type {any} */ camera) => ["ok", "muted"].includes(ofCamera(camera.state).role));
    const well = good.length === cameras.length && !state.status.config_error;
    const health = /** @type {HTMLElement} */ (this.health);
    health.className = `health ${well ? "ok" : "bad"}`;
    fill(health, icon(well ? "tick" : "triangle"), t("{good} of {all} live", { good: good.length, all: cameras.length }));
  }

  showConnection() {
    const lost = /** @type {HTMLElement} */ (this.lost);
    lost.hidden = state.lostSince === null;
    if (state.lostSince !== null) lost.textContent = t("Not connected since {time}; pictures are old", { time: clock(state.lostSince / 1000) });
  }

  /** @param {any} event */
  announce(event) {
    const now = Date.now();
    if (event.item?.severity !== "alert" || event.change !== "new" || now - (this.announced ?? 0) < 10_000) return;
    this.announced = now;
    /** @type {HTMLElement} */ (this.announcer).textContent = t("{camera}: {objects}", { camera: event.item.camera, objects: (event.item.data?.objects ?? []).join(", ") });
  }

  tick() {
    /** @type {HTMLElement} */ (this.clock).textContent = clock(Date.now() / 1000);
  }
}

define("wp-shell", Shell);
