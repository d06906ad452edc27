//! Where a read goes on.

/// The longest cookie taken from a server.
pub(super) const MAX_SERVER_COOKIE: usize = 64 << 10;

/// Where a read goes on. What it is read with is not in here: whoever keeps cookies binds them to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The server's own.
    ContentSync(Vec<u8>),
    DirSync(DirSyncCookie),
    Time(TimeCookie),
    Usn(UsnCookie),
}

/// By DirSync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirSyncCookie {
    /// The server's own.
    pub(super) server: Vec<u8>,
    /// When it was asked for, in seconds since 1970.
    pub(super) given: u64,
}

/// By the time of the last modification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeCookie {
    /// The latest that was seen and is not later than the host's clock, as the server wrote it.
    pub(super) seen: String,
    /// Where the next read begins.
    pub(super) from: String,
    /// When the first of the reads since that saw nothing later began, in seconds since 1970.
    pub(super) quiet: Option<u64>,
    /// When everything was read, in seconds since 1970.
    pub(super) full: u64,
}

/// By the change numbers of one domain controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsnCookie {
    /// The controller, and its database since it was last restored.
    pub(super) controller: String,
    pub(super) invocation: Vec<u8>,
    /// The latest that counts as seen.
    pub(super) seen: u64,
    /// When everything was read, in seconds since 1970.
    pub(super) full: u64,
}
