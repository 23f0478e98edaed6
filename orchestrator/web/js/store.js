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

/** The whole state is fetched now and then, at once after an event that changes it. */
const REFRESH = 2_000;
let timer = 0;
let asked = 0;

export async function refresh() {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    const status = await get("api/status");
    if (mine !== asked) return;
    state.status = status;
    state.ready = true;
    connection(true);
    publish("status");
  } catch (error) {
    if (/** @type {any} */ (error).status === 0) connection(false);
    if (/** @type {any} */ (error).status === 401) return;
  }
  if (mine === asked) timer = window.setTimeout(refresh, document.hidden ? 10 * REFRESH : REFRESH);
}

/** @type {WebSocket | null} */
let socket = null;
let attempts = 0;

/** Opens the connection for events, and again whenever it is lost. */
function listen() {
  socket = new WebSocket(socketUrl("api/events/ws"));
  socket.onopen = () => {
    attempts = 0;
    refresh();
  };
  socket.onmessage = (message) => {
    /** @type {any} */
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      return;
    }
    const type = event.type ?? event.event;
    if (type) publish(type, event);
    if (type !== "track" && type !== "motion") refresh();
  };
  socket.onclose = (event) => {
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
