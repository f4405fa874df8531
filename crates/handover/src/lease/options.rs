//! What the lock of a data directory may be.

/// How a data directory may be locked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) name: String,
    pub(super) trust_filesystem: bool,
    pub(super) handoff: bool,
}

impl Options {
    /// What the owner calls itself, for whoever finds the directory in use: `kv #3`. At most 152
    /// bytes are kept.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether a FUSE or unknown filesystem may be locked too. Say so only if nothing but this host
    /// opens the directory, or its filesystem forwards `flock`: otherwise two owners are possible
    /// (I1). Network filesystems stay refused.
    #[must_use]
    pub fn trust_filesystem(mut self, trust: bool) -> Self {
        self.trust_filesystem = trust;
        self
    }

    /// Whether the lock file of beyond-handoff is made if it is not there. By default it is locked
    /// as well only where it is: where a program of theirs has been.
    #[must_use]
    pub fn with_handoff_lock(mut self, always: bool) -> Self {
        self.handoff = always;
        self
    }
}
