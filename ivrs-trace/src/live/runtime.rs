//! The thread on which everything that waits runs.

/// The runtime of the commands that trace: one thread, which also reads the ring.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}
