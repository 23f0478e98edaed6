//! Counters of both sides.

/// What a writer has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Frames published.
    pub frames: u64,
    /// Frames not published because every slot was in somebody's hands.
    pub dropped_no_slot: u64,
    /// Frames not published because they did not fit.
    pub dropped_too_large: u64,
    /// Times upstream's pool was refused a slot (the frame is then copied).
    pub pool_refused: u64,
    /// Times a sleeping reader was woken, each a system call.
    pub wakes: u64,
    /// Handshakes that led to a reader or monitor.
    pub accepted: u64,
    /// Handshakes refused: no lease or place left, wrong version, nonsense.
    pub refused: u64,
    /// Connections closed because nothing came in time, or something that must not.
    pub misbehaved: u64,
    /// The readers.
    pub readers: Vec<ReaderReport>,
    pub(crate) wakes_before: u64,
}

/// One reader, as the writer sees it. `received` to `age_ns` are what the reader says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderReport {
    /// Number of the connection.
    pub id: u64,
    /// Process at the other end of the socket.
    pub pid: i32,
    /// Slots it may hold.
    pub granted: u32,
    /// Slots it holds.
    pub leased: u32,
    /// Events it is behind.
    pub lag: u64,
    /// Frames received.
    pub received: u64,
    /// Frames skipped.
    pub skipped: u64,
    /// Frames copied because it held all its leases but one.
    pub copies: u64,
    /// Age of the last frame when it was read, in ns.
    pub age_ns: u64,
}

/// What a reader has seen, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderStats {
    /// Frames received.
    pub received: u64,
    /// Frames skipped, because of the policy or because they were overwritten first.
    pub skipped: u64,
    /// Frames copied because all leases but one were held.
    pub copies: u64,
    /// Frames whose header or stream information made no sense; counted in `skipped` as well.
    pub invalid: u64,
    /// Age of the last frame when it was read, in ns.
    pub age_ns: u64,
    /// Largest age of a frame when it was read, in ns.
    pub max_age_ns: u64,
    /// Connections to a writer.
    pub connections: u64,
    /// Leases granted by the present writer.
    pub granted: u32,
    /// Leases in use.
    pub leased: u32,
    /// Events the reader is behind.
    pub lag: u64,
}
