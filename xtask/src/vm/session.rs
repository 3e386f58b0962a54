//! A script in a guest on a terminal that this program plays: it reads what is written there and
//! types keys.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Guest, NEVER, PERIOD, Running, escaped};

const CHUNK: usize = 64 * 1024;

/// A guest with a script on its terminal. Dropping it ends the guest.
pub struct Session {
    terminal: UnixStream,
    running: Running,
    limit: Duration,
}

impl Guest {
    /// Boots the guest and runs `script` in it on a terminal of that many lines and columns. The
    /// limit counts to the end of the session.
    ///
    /// # Errors
    /// When something that the lab needs cannot be fetched or built, and when QEMU does not start.
    pub fn session(&self, script: &str, lines: u16, columns: u16) -> Result<Session> {
        let settings = format!("rows {lines} cols {columns}");
        let prepared = self.prepare(script, Some(&settings), |folder| {
            format!("socket,path={}", escaped(&folder.join("terminal")))
        })?;
        // QEMU connects to it when it starts, so that no byte is lost.
        let listener = UnixListener::bind(prepared.0.path().join("terminal"))
            .context("cannot make the guest's terminal")?;
        listener.set_nonblocking(true).context("cannot make the guest's terminal")?;
        let mut running = Running::start(prepared)?;
        let terminal = loop {
            match listener.accept() {
                Ok((terminal, _)) => break terminal,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    running.check(Some(self.limit), &NEVER)?;
                    thread::sleep(PERIOD);
                }
                Err(error) => return Err(error).context("cannot reach the guest's terminal"),
            }
        };
        terminal.set_nonblocking(false).context("cannot use the guest's terminal")?;
        terminal.set_read_timeout(Some(PERIOD)).context("cannot use the guest's terminal")?;
        Ok(Session { terminal, running, limit: self.limit })
    }
}

impl Session {
    /// Types keys: the bytes that a terminal sends for them.
    ///
    /// # Errors
    /// When the guest has ended.
    pub fn send(&mut self, keys: &str) -> Result<()> {
        self.terminal.write_all(keys.as_bytes()).context("cannot type on the guest's terminal")
    }

    /// What has been written to the terminal since the last time; it is waited for a little.
    ///
    /// # Errors
    /// When the guest can no longer come to its end, as with [`Guest::run`].
    pub fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; CHUNK];
        match self.terminal.read(&mut bytes) {
            Ok(0) => {
                // The guest is gone; whether as it should, the check says.
                thread::sleep(PERIOD);
                bytes.clear();
            }
            Ok(length) => bytes.truncate(length),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bytes.clear();
            }
            Err(error) => bail!("cannot read the guest's terminal: {error}"),
        }
        if bytes.is_empty() {
            self.running.check(Some(self.limit), &NEVER)?;
        }
        Ok(bytes)
    }

    /// The exit status of the script, once it has ended. All that it wrote has been sent by then.
    ///
    /// # Errors
    /// When the guest did not get to run it.
    pub fn status(&mut self) -> Result<Option<u8>> {
        self.running.result()
    }
}
