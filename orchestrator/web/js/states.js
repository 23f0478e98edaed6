// One sentence, one colour role, one icon and one action for each state. A test compares the keys with the API's enum.

/** @typedef {{ role: "ok" | "alert" | "detection" | "info" | "muted", icon: string, word: string, sentence: string, action?: [string, string] }} Words */

/** States of a camera. The action is a label and a view below the camera. @type {Record<string, Words>} */
export const CAMERA = {
  connecting: { role: "info", icon: "ring", word: "Connecting", sentence: "Connecting to the camera." },
  streaming: { role: "ok", icon: "tick", word: "Streaming", sentence: "The camera streams." },
  idle: { role: "muted", icon: "hollow", word: "Idle", sentence: "Nothing uses this camera, so it is not connected." },
  stalled: { role: "detection", icon: "pause", word: "Stalled", sentence: "The camera sends no pictures.", action: ["Settings", "settings"] },
  "backing-off": { role: "alert", icon: "triangle", word: "Away", sentence: "The camera cannot be reached. Watchpost tries again by itself.", action: ["Settings", "settings"] },
  "auth-failed": { role: "alert", icon: "key", word: "Password refused", sentence: "The camera refused the password.", action: ["Change password", "settings"] },
  disabled: { role: "muted", icon: "hollow", word: "Off", sentence: "This camera is off.", action: ["Settings", "settings"] },
  failed: { role: "alert", icon: "triangle", word: "Failed", sentence: "The camera cannot run as configured.", action: ["Settings", "settings"] },
  stopping: { role: "info", icon: "ring", word: "Restarting", sentence: "The camera restarts." },
};

/** States of a task. @type {Record<string, Words>} */
export const TASK = {
  idle: { role: "muted", icon: "hollow", word: "idle", sentence: "Not running." },
  waiting: { role: "info", icon: "ring", word: "waiting", sentence: "Waits for its turn." },
  active: { role: "ok", icon: "record", word: "active", sentence: "Running." },
  paused: { role: "detection", icon: "pause", word: "paused", sentence: "Paused." },
  exclusive: { role: "info", icon: "key", word: "exclusive", sentence: "Has the camera to itself." },
  error: { role: "alert", icon: "triangle", word: "error", sentence: "Failed." },
};

/** @type {Words} */
const UNKNOWN = { role: "detection", icon: "triangle", word: "Unknown", sentence: "This state is newer than the page. Reload it." };

/** @param {string} state @returns {Words} */
export const ofCamera = (state) => CAMERA[state] ?? UNKNOWN;
/** @param {string} state @returns {Words} */
export const ofTask = (state) => TASK[state] ?? UNKNOWN;

/** Names of tasks for people. @type {Record<string, string>} */
export const TASK_NAME = { live: "Live", photo: "Photo", raw_photo: "Raw photo", series: "Series", video: "Record", record: "Record", detect: "Detection" };
