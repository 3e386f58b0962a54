//! The dashboard on a pseudo-terminal of its own, which goes away as that of ssh or tmux does.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is the failed assertion")]

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// How long a busy machine may take until a program has ended.
const SOON: Duration = Duration::from_secs(30);

/// The dashboard over the example of the documentation, and the terminal's other side.
fn dashboard() -> (Child, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    // Not the controlling terminal: no SIGHUP tells of its end, as behind nohup.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave: OwnedFd = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    let side = || Stdio::from(slave.try_clone().unwrap());
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/refused.ivt");
    let child = Command::new(env!("CARGO_BIN_EXE_ivrs-trace"))
        .args(["tui", "--from", recording])
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    (child, File::from(master))
}

/// How a program ends by itself; none if it does not.
fn end(child: &mut Child) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// Reads the screen until it shows a text.
fn shown(terminal: &mut File, text: &str) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(text) {
        let length = terminal.read(&mut buffer).unwrap();
        seen.extend(buffer.iter().take(length));
    }
}

#[test]
fn it_ends_when_its_terminal_goes_away_at_any_moment() {
    for moment in [0, 3, 10, 20, 40, 80, 160, 320, 640, 1280_u64] {
        let (mut child, mut terminal) = dashboard();
        if moment > 10 {
            shown(&mut terminal, "Devices");
            // A key that may not be read yet.
            terminal.write_all(b"j").unwrap();
        }
        std::thread::sleep(Duration::from_millis(moment));
        drop(terminal);
        let status = end(&mut child).expect("it ends by itself");
        // In the middle of a drawing, or of taking the terminal over, that fails.
        assert!(matches!(status.code(), Some(0 | 2)), "{status}, {moment} ms after its start");
    }
}

#[test]
fn keys_still_reach_it() {
    let (mut child, mut terminal) = dashboard();
    shown(&mut terminal, "Devices");
    terminal.write_all(b"q").unwrap();
    // Somebody must read the last drawing, or the program waits for the terminal.
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        // The end of the other side is an error here.
        let _ = terminal.read_to_end(&mut rest);
    });
    assert_eq!(end(&mut child).and_then(|status| status.code()), Some(0));
    reader.join().unwrap();
}
