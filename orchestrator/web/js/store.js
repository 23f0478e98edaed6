// The state that all views share, fed by one connection to the server. Views read it at once and are told of changes.

import { get, socketUrl } from "./api.js";

/**
 * @typedef {Object} State
 * @property {any} status answer of api/status, kept up to date
 * @property {boolean} ready the first state has arrived
 * @property {number | null} lostSince Unix time in ms since when there is no connection
 * @property {number} offset server clock less browser clock, in ms
 */

/** @type {State} */
export const state = { status: { cameras: [], processes: [] }, ready: false, lostSince: null, offset: 0 };

const target = new EventTarget();

/**
 * Calls a listener for each change of a topic: `status`, `connection`, `track`, `media`, `task`, `motion`, `review`.
 * @param {string} topic @param {(detail: any) => void} listener @param {AbortSignal} signal
 */
export function on(topic, listener, signal) {
  target.addEventListener(topic, (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
}

/** @param {string} topic @param {unknown} [detail] */
export function publish(topic, detail) {
  target.dispatchEvent(new CustomEvent(topic, { detail }));
}

/** @param {string} name */
export function camera(name) {
  return state.status.cameras.find((/** @type {any} */ camera) => camera.name === name);
}

/** @param {boolean} connected */
function connection(connected) {
  if (connected === (state.lostSince === null)) return;
  state.lostSince = connected ? null : Date.now();
  publish("connection");
}

/**
 * The whole state is fetched now and then, at once after an event that says too little of it. While events arrive, only figures
 * such as frame rates change between them; without events everything does. Milliseconds.
 */
const REFRESH = 2_000;
const REFRESH_WITH_EVENTS = 10_000;
let timer = 0;
let asked = 0;
/** The last state has arrived by the connection for events, and what changes it is arriving. */
let following = false;
/** Events that arrived since the state was asked for; the answer may be older. @type {any[] | null} */
let meanwhile = null;

export async function refresh() {
  clearTimeout(timer);
  const mine = ++asked;
  meanwhile = [];
  try {
    const status = await get("api/status");
    if (mine !== asked) return;
    state.status = status;
    meanwhile?.forEach(apply);
    state.ready = true;
    connection(true);
    publish("status");
  } catch (error) {
    if (/** @type {any} */ (error).status === 0) connection(false);
    if (/** @type {any} */ (error).status === 401) return;
  } finally {
    if (mine === asked) meanwhile = null;
  }
  if (mine !== asked) return;
  const interval = following ? REFRESH_WITH_EVENTS : REFRESH;
  timer = window.setTimeout(refresh, document.hidden ? 10 * REFRESH : interval);
}

/**
 * Brings the state up to date with an event.
 * @param {any} event
 * @returns {"changed" | "same" | "unknown"} `unknown`: the event does not say how the state is now
 */
function apply(event) {
  const known = camera(event.camera);
  switch (event.type) {
    case "camera":
      if (!known) return "unknown";
      Object.assign(known, { state: event.state, reason: event.reason, since: event.since });
      return "changed";
    case "motion":
      if (!known) return "unknown";
      known.motion = event.active;
      return "changed";
    case "track":
      if (known) known.objects = objects(known.objects ?? [], event);
      return event.change === "updated" ? "same" : "changed";
    case "zone":
    case "media":
      return "same";
    default:
      return "unknown";
  }
}

/** The objects of a camera after a change of one of them. @param {any[]} before @param {any} track */
function objects(before, track) {
  const id = track.event.object_id;
  const others = before.filter((object) => object.id !== id);
  if (track.change === "ended") return others;
  const { label, score, zones, time, state: life } = track;
  const known = before.find((object) => object.id === id) ?? { id, first_seen: track.event.start_time };
  return [...others, { ...known, label, score, zones, state: life, last_seen: time }];
}

let attempts = 0;

/** Opens the connection for events, and again whenever it is lost. Without it the state is fetched more often. */
function listen() {
  const socket = new WebSocket(socketUrl("api/events/ws"));
  socket.onopen = () => {
    attempts = 0;
  };
  socket.onmessage = (message) => {
    /** @type {any} */
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      return;
    }
    if (event.type === "state") {
      following = true;
      refresh();
      return;
    }
    // Events were left out; the state follows.
    if (event.type === "lost") return;
    meanwhile?.push(event);
    const effect = apply(event);
    publish(event.type, event);
    if (effect === "changed") publish("status");
    else if (effect === "unknown") refresh();
  };
  socket.onclose = (event) => {
    if (following) {
      following = false;
      refresh();
    }
    if (event.code === 4401) return;
    attempts += 1;
    window.setTimeout(listen, Math.min(10_000, 250 * 2 ** attempts));
  };
}

export function start() {
  refresh();
  listen();
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}
