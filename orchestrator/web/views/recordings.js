// A camera's footage: a timeline of footage, gaps, motion and items; dragging shows the key frame before, releasing plays.

import { h, t, fill } from "../js/dom.js";
import { camera as path, get, query, url } from "../js/api.js";
import { when } from "../js/time.js";
import { Timeline } from "../components/wp-timeline.js";

const DAY = 86400;
/** Seconds that are fetched as one clip; the next one follows by itself. */
const CLIP = 600;
/** Seconds of the clip that shows one moment; the first picture of it is the key frame before. */
const MOMENT = 0.1;

/** @param {string} name @param {AbortSignal} signal */
export function recordings(name, signal) {
  const video = /** @type {HTMLVideoElement} */ (h("video", { class: "camera-stage", muted: true, playsinline: true, "aria-label": name }));
  video.muted = true;
  const label = h("p", { class: "figure", "aria-live": "polite" });
  const timeline = /** @type {Timeline} */ (h("wp-timeline", { camera: name }));
  const box = h("div", null, video, label, timeline, h("p", { class: "help" }, t("Drag to look for a moment; let go to play. Ctrl and wheel, + and - zoom.")));
  const clip = (/** @type {number} */ after, /** @type {number} */ before) =>
    url(`${path(name)}/recordings/clip.mp4${query({ after: after.toFixed(3), before: before.toFixed(3) })}`);
  const spans = (/** @type {number} */ after, /** @type {number} */ before) => get(`${path(name)}/recordings${query({ after, before })}`, signal);

  /** The clip that plays, and where the next one begins. @type {{ from: number, to: number } | undefined} */
  let playing;
  /** Counts what was asked for, so that a late answer does not replace a newer one. */
  let asked = 0;
  let isLoading = false;
  /** @type {number | undefined} */
  let wanted;

  const still = (/** @type {number} */ time) => {
    asked += 1;
    playing = undefined;
    label.textContent = when(time);
    if (isLoading) {
      wanted = time;
      return;
    }
    wanted = undefined;
    isLoading = true;
    video.controls = false;
    video.autoplay = false;
    video.src = clip(time, time + MOMENT);
  };
  const loaded = () => {
    isLoading = false;
    if (wanted !== undefined) still(wanted);
  };

  const play = async (/** @type {number} */ time, /** @type {boolean} */ goesOn = false) => {
    const mine = (asked += 1);
    wanted = undefined;
    let found;
    try {
      found = await spans(time, Math.max(Date.now() / 1000, time + 1));
    } catch (error) {
      if (!signal.aborted) label.textContent = /** @type {Error} */ (error).message;
      return;
    }
    if (mine !== asked) return;
    // A rest that is shorter than a group of pictures would show pictures again that were shown already.
    const span = (found.spans ?? []).find((/** @type {{ start: number, end: number }} */ one) => one.end > time + (goesOn ? 2 : 0));
    if (!span) {
      label.textContent = t("Nothing is recorded after {time}.", { time: when(time) });
      playing = undefined;
      return;
    }
    const from = Math.max(time, span.start);
    playing = { from, to: Math.min(span.end, from + CLIP) };
    isLoading = false;
    label.textContent = when(from);
    timeline.show(from);
    video.controls = true;
    video.autoplay = true;
    video.src = clip(playing.from, playing.to);
  };

  video.addEventListener("loadeddata", loaded);
  video.addEventListener("error", () => {
    loaded();
    if (!playing || signal.aborted) return;
    // The answer says why; the element does not.
    fetch(video.src, { headers: { Range: "bytes=0-0" }, signal }).then(async (answer) => {
      const refused = answer.ok ? undefined : await answer.json();
      label.textContent = refused?.error ?? t("This browser cannot play the recording.");
    }).catch(() => {});
  });
  video.addEventListener("timeupdate", () => {
    if (!playing) return;
    const time = Math.min(playing.to, playing.from + video.currentTime);
    label.textContent = when(time);
    timeline.show(time);
  });
  video.addEventListener("ended", () => { if (playing) play(playing.to, true); });
  timeline.addEventListener("seek", (event) => still(/** @type {CustomEvent} */ (event).detail));
  timeline.addEventListener("play", (event) => play(/** @type {CustomEvent} */ (event).detail));
  signal.addEventListener("abort", () => { video.removeAttribute("src"); video.load(); });

  const before = Date.now() / 1000;
  spans(before - 7 * DAY, before).then((answer) => {
    if ((answer.spans ?? []).length > 0) return;
    fill(box, h("div", { class: "empty" }, h("p", null, t("Nothing is recorded yet."))));
  }).catch((error) => {
    if (!signal.aborted) fill(box, h("div", { class: "empty" }, h("p", null, error.message)));
  });
  return box;
}
