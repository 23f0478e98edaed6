//! Shared-memory frame ring: layout, writer, reader, handshake and wake-up; no GStreamer.
