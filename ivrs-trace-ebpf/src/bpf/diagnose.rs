//! The programs' own diagnostics, for whoever works on them: why a read failed, a walk stopped or a
//! return was passed over. They are no events and go another way, aya-log's, and only into an object
//! that was built for it (`cargo xtask build-ebpf --log`): in any other there is nothing left of them.

/// Logs a line, with arguments as `format!` takes them.
macro_rules! diagnose {
    ($($argument:tt)*) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!((), $($argument)*)
    };
}
pub(super) use diagnose;
