// One indicator per task of a camera: icon, word, time since. A tap opens the reason and what can be done.

import { h, icon, t, define, fill } from "../js/dom.js";
import { camera as path, del, get, patch } from "../js/api.js";
import { on } from "../js/store.js";
import { ofTask, TASK_NAME } from "../js/states.js";
import { dialog } from "../js/dialog.js";
import { length, when } from "../js/time.js";

class TaskStrip extends HTMLElement {
  connectedCallback() {
    this.name = this.getAttribute("camera") ?? "";
    this.leave = new AbortController();
    this.setAttribute("role", "list");
    const refresh = () => this.refresh();
    on("task", (event) => { if (!event?.camera || event.camera === this.name) refresh(); }, this.leave.signal);
    on("status", refresh, this.leave.signal);
    refresh();
  }

  disconnectedCallback() {
    this.leave?.abort();
  }

  async refresh() {
    let tasks;
    try {
      tasks = await get(`${path(this.name ?? "")}/tasks`, this.leave?.signal);
    } catch {
      return;
    }
    fill(this, ...tasks.map((/** @type {any} */ task) => this.chip(task)));
  }

  /** @param {any} task */
  chip(task) {
    const words = ofTask(task.state);
    const name = this.label(task);
    const since = task.since && task.state !== "idle" ? length(Date.now() / 1000 - task.since) : "";
    return h(
      "button",
      { type: "button", class: "task", role: "listitem", "data-state": task.state, "data-task": task.id ?? task.task, onclick: () => this.open(task) },
      icon(words.icon), h("span", null, name), h("span", { class: "word" }, t(words.word)), h("span", { class: "muted figure" }, since),
    );
  }

  /** Its name, with the number of a further recording (`video-2`).
   * @param {any} task */
  label(task) {
    const number = /-(\d+)$/.exec(task.id ?? "")?.[1];
    return [t(TASK_NAME[task.task] ?? task.task), number].filter(Boolean).join(" ");
  }

  /** @param {any} task */
  open(task) {
    const words = ofTask(task.state);
    const address = `${path(this.name ?? "")}/tasks/${encodeURIComponent(task.id ?? task.task)}`;
    const running = ["active", "waiting", "exclusive", "paused"].includes(task.state);
    const rows = [
      [t("State"), t(words.word)],
      [t("Since"), task.since ? when(task.since) : ""],
      [t("Reason"), task.detail ?? ""],
      [t("Files"), String(task.files ?? 0)],
    ].filter(([, value]) => value !== "");
    const actions = [];
    if (running && task.task !== "live") {
      if (task.state === "paused") actions.push({ label: t("Resume"), run: () => patch(address, { state: "active" }) });
      else if (task.state === "active") actions.push({ label: t("Pause"), run: () => patch(address, { state: "paused" }) });
      actions.push({ label: t("Stop"), run: () => del(address) });
    }
    actions.push({ label: t("Close"), kind: "primary" });
    dialog({
      title: this.label(task),
      body: h("table", null, ...rows.map(([name, value]) => h("tr", null, h("th", null, name), h("td", null, value)))),
      actions,
    });
  }
}

define("wp-task-strip", TaskStrip);
