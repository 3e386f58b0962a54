//! This program's terminal while a guest's shell uses it.

use std::io;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal's state, put back when this is dropped.
///
/// QEMU makes the terminal raw and does not undo it when it is killed.
pub(super) struct Saved {
    mode: Option<Termios>,
    flags: Option<OFlags>,
}

impl Saved {
    /// Remembers the state of standard input. Where that is no terminal there is less to remember.
    pub(super) fn now() -> Self {
        let input = io::stdin();
        Self { mode: tcgetattr(&input).ok(), flags: fcntl_getfl(&input).ok() }
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        let input = io::stdin();
        // There is no better state to fall back to where one of these fails.
        if let Some(mode) = &self.mode {
            let _ = tcsetattr(&input, OptionalActions::Drain, mode);
        }
        if let Some(flags) = self.flags {
            let _ = fcntl_setfl(&input, flags);
        }
    }
}

/// The terminal's size as settings for the guest's `stty`: a serial line does not carry it.
pub(super) fn size_settings() -> String {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            format!("rows {} cols {}", size.ws_row, size.ws_col)
        }
        _ => "rows 24 cols 80".to_owned(),
    }
}
