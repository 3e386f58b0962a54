//! The dashboard on a terminal, while an attach is refused: what is drawn, what keys do, and how the
//! terminal is left.
//!
//! The screens are kept in `docs/screens`; `cargo xtask docs --screens` writes them anew.

use std::env;
use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use vt100::{MouseProtocolMode, Parser, Screen};
use xtask::vm::{Guest, Session};

/// The terminal's size: what fits into a page of the documentation.
const LINES: u16 = 30;
const COLUMNS: u16 = 100;
/// Set where the screens are to be written.
const WRITE: &str = "IVRS_TRACE_WRITE_SCREENS";
/// Screens and what each must show: the fresh one and the one that is kept.
const SCREENS: [(&str, &[&str]); 3] = [
    ("refusal", &["Devices", "0000:00:03.0", "00:03.0 blocked by IVMD 0, 1, 2: press Enter"]),
    ("explanation", &["BLOCKED by firmware: 0000:00:03.0", "EINVAL", "IVMD 0 of the IVRS"]),
    ("firmware", &["Firmware: IVRS, 3 IVMD blocks", "22 08 20 00 00 00 ff 0f", "0x7a2d9000"]),
];

/// What runs on the terminal. The attach waits for the recording, which the dashboard begins; the
/// signal waits until the dashboard has made the terminal raw.
const SCRIPT: &str = r#"
mkdir /tmp/out && cd /tmp/out || exit
state() { echo "$1 $2," $(stty -a | tr ' ' '\n' | grep -e 'icanon$' -e '^-*echo$'); }
(until ls *.ivt; do sleep 1; done; sleep 1; vfio-attach 00:03.0) > /dev/null 2>&1 &
ivrs-trace
state left $?
grep -c 'IVMD 0' ivrs-trace-kernel-*.txt | sed 's/^/report: /'
ivrs-trace run --from *.ivt | head -1
(until stty -F /dev/ttyS1 -a | grep -q -e '-icanon'; do sleep 1; done; sleep 1
kill -TERM $(pidof ivrs-trace)) &
ivrs-trace --from *.ivt
state ended $?
"#;

struct Terminal {
    session: Session,
    parser: Parser,
    /// Whether what is drawn has ever been the dashboard.
    taken_over: bool,
}

impl Terminal {
    fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    fn text(&self) -> String {
        let rows = self.screen().rows(0, COLUMNS);
        rows.map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    /// Takes in what comes; false if nothing did.
    fn take_in(&mut self) -> bool {
        let bytes =
            self.session.read().unwrap_or_else(|error| panic!("{error:#}\n{}", self.text()));
        self.parser.process(&bytes);
        self.taken_over |= self.screen().alternate_screen();
        !bytes.is_empty()
    }

    /// Waits for a text; the guest's limit ends the wait.
    fn wait(&mut self, text: &str) {
        while !self.text().contains(text) {
            self.take_in();
            if let Some(status) = self.session.status().unwrap() {
                while self.take_in() {}
                let text_now = self.text();
                assert!(text_now.contains(text), "ended with {status}, not {text:?}:\n{text_now}");
            }
        }
        // A frame is shown as a whole.
        while self.take_in() {}
    }

    fn press(&mut self, keys: &str) {
        self.session.send(keys).unwrap();
    }

    /// Holds that a screen shows what it must, as the one does that is kept.
    fn keep(&self, name: &str) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/screens/{name}.txt"));
        if env::var_os(WRITE).is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, self.text()).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap();
        let (_, expected) = SCREENS.iter().find(|(one, _)| *one == name).unwrap();
        for text in *expected {
            assert!(self.text().contains(text), "{text:?} is not on the screen:\n{}", self.text());
            assert!(kept.contains(text), "{text:?} is not in {}", path.display());
        }
    }

    /// Holds that the dashboard has the terminal, or that it has given it back.
    fn assert_taken(&self, taken: bool) {
        let screen = self.screen();
        let modes = (screen.alternate_screen(), screen.hide_cursor(), screen.bracketed_paste());
        assert_eq!(modes, (taken, taken, taken), "{}", self.text());
        let mouse = screen.mouse_protocol_mode() != MouseProtocolMode::None;
        assert_eq!(mouse, taken, "the mouse");
    }
}

#[test]
#[ignore = "boots a virtual machine; run by cargo xtask test"]
fn a_refusal_is_seen_explained_and_left_with_a_clean_terminal() {
    let limit = Duration::from_mins(10);
    let guest = Guest { firmware: "am5-desktop".parse().unwrap(), limit, ..Guest::default() };
    let size = |number| NonZeroU16::new(number).unwrap();
    let mut terminal = Terminal {
        session: guest.session(SCRIPT, LINES, COLUMNS).unwrap(),
        parser: Parser::new(size(LINES), size(COLUMNS), 0),
        taken_over: false,
    };

    terminal.wait("0000:00:03.0");
    terminal.assert_taken(true);
    terminal.press("R");
    terminal.wait("recording to ivrs-trace-");
    terminal.wait("00:03.0 blocked by IVMD 0, 1, 2: press Enter");
    terminal.keep("refusal");
    terminal.press("\r");
    terminal.wait("BLOCKED by firmware: 0000:00:03.0");
    terminal.keep("explanation");
    terminal.press("c");
    terminal.wait("Firmware: IVRS, 3 IVMD blocks");
    terminal.keep("firmware");
    terminal.press("rk");
    terminal.wait("report written to ivrs-trace-kernel-");
    terminal.press("R");
    terminal.wait(".ivt: ");
    terminal.press("q");

    // What is written after it has gone, on the screen that was there before.
    terminal.wait("left 0, icanon echo");
    terminal.wait("report: ");
    assert!(!terminal.text().contains("report: 0"), "{}", terminal.text());
    terminal.wait("BLOCKED by firmware: 0000:00:03.0");
    assert!(terminal.taken_over);

    terminal.taken_over = false;
    terminal.wait("ended 0, icanon echo");
    assert!(terminal.taken_over, "the second dashboard was not there when the signal came");
    terminal.assert_taken(false);
}
