// One stream of fragmented MP4 over a WebSocket into a MediaSource: live (`live.ws`) and recorded (`play.ws`) alike.

import { socketUrl } from "./api.js";

/** Further behind than this plays a little faster; further than JUMP skips to the newest key frame. Seconds. */
const CATCH_UP = 0.7;
const JUMP = 2;
/** Played media that is kept in the buffer, seconds. */
const KEPT = 10;

/** The MediaSource that this browser has. */
const Source = /** @type {typeof MediaSource | undefined} */ (/** @type {any} */ (globalThis).ManagedMediaSource ?? globalThis.MediaSource);

/** @param {string} mime */
export function canPlay(mime) {
  return Source !== undefined && Source.isTypeSupported(mime);
}

/**
 * @typedef {Object} Events
 * @property {(init: any) => void} [init] a stream version begins
 * @property {(state: string, reason: string | null) => void} [state] the camera is away
 * @property {(frames: number) => void} [dropped]
 * @property {(reason: string, mime: string | null) => void} failed the stream cannot be played
 */

export class Stream {
  /**
   * @param {HTMLVideoElement} video @param {string} path @param {boolean} live @param {Events} events
   */
  constructor(video, path, live, events) {
    this.video = video;
    this.path = path;
    this.live = live;
    this.events = events;
    /** Unix time of media time 0. @type {number | null} */
    this.epoch = null;
    /** When data last arrived, `performance.now()`. */
    this.received = 0;
    /** @type {BlobPart[]} */
    this.queue = [];
    this.closed = false;
    this.attempts = 0;
    this.open();
    this.chase = window.setInterval(() => this.follow(), 250);
  }

  open() {
    const socket = new WebSocket(socketUrl(this.path));
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => {
      if (typeof message.data === "string") this.text(JSON.parse(message.data));
      else this.data(message.data);
    };
    socket.onclose = (event) => {
      if (this.closed) return;
      if (event.code === 4404 || event.code === 4401) return this.fail("The stream is not available.", null);
      if (event.code === 4503) return this.fail("All viewer places of this camera are taken.", null);
      if (this.received === 0 && this.attempts >= 2) return this.fail("The stream does not open.", null);
      this.attempts += 1;
      this.retry = window.setTimeout(() => this.open(), Math.min(8000, 300 * 2 ** this.attempts));
    };
    this.socket = socket;
  }

  /** @param {any} message */
  text(message) {
    if (message.type === "init") {
      if (!canPlay(message.mime)) return this.fail("This browser cannot play it.", message.mime);
      this.epoch = message.epoch;
      this.restart(message.mime);
      this.events.init?.(message);
    } else if (message.type === "dropped") {
      this.events.dropped?.(message.frames);
    } else if (message.type === "state") {
      this.events.state?.(message.state, message.reason ?? null);
    }
  }

  /** A new MediaSource for a new stream version. @param {string} mime */
  restart(mime) {
    const source = new /** @type {typeof MediaSource} */ (Source)();
    this.queue = [];
    this.buffer = undefined;
    this.source = source;
    if ("disableRemotePlayback" in this.video) this.video.disableRemotePlayback = true;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(source);
    this.video.src = this.address;
    source.addEventListener("sourceopen", () => {
      if (this.source !== source || this.closed) return;
      this.buffer = source.addSourceBuffer(mime);
      this.buffer.addEventListener("updateend", () => this.append());
      this.append();
    }, { once: true });
  }

  /** @param {ArrayBuffer} data */
  data(data) {
    this.received = performance.now();
    this.attempts = 0;
    this.queue.push(data);
    this.append();
  }

  append() {
    const buffer = this.buffer;
    if (!buffer || buffer.updating || this.queue.length === 0 || this.source?.readyState !== "open") return;
    const video = this.video;
    try {
      const behind = video.currentTime - KEPT;
      if (buffer.buffered.length > 0 && buffer.buffered.start(0) < behind - KEPT) {
        buffer.remove(0, behind);
        return;
      }
      const blocks = /** @type {ArrayBuffer[]} */ (this.queue);
      this.queue = [];
      const whole = new Uint8Array(blocks.reduce((sum, block) => sum + block.byteLength, 0));
      let at = 0;
      for (const block of blocks) {
        whole.set(new Uint8Array(block), at);
        at += block.byteLength;
      }
      buffer.appendBuffer(whole);
    } catch (error) {
      this.fail(/** @type {Error} */ (error).message, null);
    }
  }

  /** Starts playing at the first picture, and keeps the delay of a live stream. */
  follow() {
    const { video, buffer } = this;
    if (!buffer || video.buffered.length === 0) return;
    const first = video.buffered.start(video.buffered.length - 1);
    const end = video.buffered.end(video.buffered.length - 1);
    if (video.currentTime < first) video.currentTime = first;
    if (!this.live) return;
    const behind = end - video.currentTime;
    if (behind > JUMP) video.currentTime = Math.max(first, end - 0.2);
    video.playbackRate = behind > CATCH_UP ? 1.05 : 1;
    if (video.paused && !this.held) video.play().catch(() => {});
  }

  /** Unix time of the picture that is shown. */
  get time() {
    return this.epoch === null ? null : this.epoch + this.video.currentTime;
  }

  /** @param {Record<string, unknown>} message */
  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** @param {string} reason @param {string | null} mime */
  fail(reason, mime) {
    if (this.closed) return;
    this.close();
    this.events.failed(reason, mime);
  }

  close() {
    this.closed = true;
    clearInterval(this.chase);
    clearTimeout(this.retry);
    this.socket?.close();
    if (this.address) URL.revokeObjectURL(this.address);
    this.video.removeAttribute("src");
    this.video.load();
  }
}
