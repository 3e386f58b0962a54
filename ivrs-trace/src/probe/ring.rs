//! Events out of the ring buffer, without blocking.

use std::{io, os::fd::AsRawFd as _};

use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::io::{Interest, unix::AsyncFd};

pub(crate) struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    /// Watches the ring buffer. To be called inside a tokio runtime with I/O enabled.
    pub(crate) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        debug_assert!(ring.as_raw_fd() >= 0);
        // SAFETY: `RingBuf` owns the map's file descriptor, never replaces it and closes it only
        // when it is dropped, which here is when the `AsyncFd` that owns it is.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { ring })
    }

    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// The events that are there now, oldest first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Bytes> {
        let ring = self.ring.get_mut();
        std::iter::from_fn(move || ring.next().map(|item| Bytes::copy_from_slice(&item)))
    }
}
