//! The terminal of the dashboard: taken over, and given back as it was, whatever ends the program.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    mem::ManuallyDrop,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use crossterm::{
    cursor::Show,
    event::{
        DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event,
    },
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::sync::mpsc;

/// Bytes of text that are handed to a terminal for its clipboard; many take no more.
const MAX_COPIED: usize = 70_000;
/// That a panic gives the terminal back is set up once.
static HOOK: Once = Once::new();
/// Whether the terminal is taken over: it is given back once, or what was written after the first time
/// would be written over.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The size of a terminal that does not know its own, as serial lines do not.
const UNKNOWN_SIZE: Rect = Rect::new(0, 0, 80, 24);

/// The whole screen, in raw mode. It is given back when this is dropped, and before a panic is told.
pub(crate) struct Screen {
    /// Dropped, ratatui 0.30 says on standard error that a terminal which is gone has no cursor, and panics
    /// where that is gone too. The guard does all that is to be done.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
    _guard: Guard,
}

impl Screen {
    pub(crate) fn take() -> anyhow::Result<Self> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            bail!(
                "the dashboard needs a terminal for standard input and output; `ivrs-trace check` \
                 and `ivrs-trace events` write plain text, `ivrs-trace --help` names the rest"
            );
        }
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        enable_raw_mode().context("cannot use the terminal")?;
        TAKEN.store(true, Ordering::SeqCst);
        // From here on it is given back even if the rest fails.
        let guard = Guard;
        let mut out = io::stdout();
        execute!(out, EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)
            .context("cannot use the terminal")?;
        let backend = CrosstermBackend::new(BufWriter::new(out));
        let known = crossterm::terminal::size().is_ok_and(|(columns, lines)| columns * lines > 0);
        let viewport = if known { Viewport::Fullscreen } else { Viewport::Fixed(UNKNOWN_SIZE) };
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })
            .context("cannot use the terminal")?;
        Ok(Self { terminal: ManuallyDrop::new(terminal), _guard: guard })
    }

    /// Draws; only what differs from the last time is sent.
    pub(crate) fn draw(
        &mut self,
        draw: impl FnOnce(&mut ratatui::Frame<'_>),
    ) -> anyhow::Result<()> {
        self.terminal.draw(draw).context("cannot draw on the terminal")?;
        Ok(())
    }

    /// Forgets what is on the screen, so that all of it is drawn the next time.
    pub(crate) fn forget(&mut self) -> anyhow::Result<()> {
        self.terminal.clear().context("cannot draw on the terminal")
    }
}

/// Keys that are typed ahead of what is done with them.
const AHEAD: usize = 64;

/// What is typed, read by a thread of its own; it ends when the terminal goes away.
///
/// Where end-of-file or EIO is all that can be read, crossterm 0.29 reads for ever (`try_read` in
/// src/event/source/unix/mio.rs): whoever waits for keys there cannot be told that the terminal is gone.
pub(crate) fn inputs() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (send, inputs) = mpsc::channel(AHEAD);
    let keys = send.downgrade();
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        loop {
            let input = crossterm::event::read();
            let ends = input.is_err();
            let Some(send) = keys.upgrade() else { break };
            if send.blocking_send(input).is_err() || ends {
                break;
            }
        }
    })?;
    thread::Builder::new().name("hang-up".to_owned()).spawn(move || {
        // POLLHUP and POLLERR are told without being asked for.
        let stdin = io::stdin();
        let mut terminal = [PollFd::new(&stdin, PollFlags::empty())];
        while poll(&mut terminal, None) == Err(Errno::INTR) {}
        drop(send);
    })?;
    Ok(inputs)
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the terminal as it was. There is nobody to tell where that fails.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _: io::Result<()> = execute!(
        io::stdout(),
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        Show
    );
    let _: io::Result<()> = disable_raw_mode();
}

/// Hands text to the terminal for its clipboard (OSC 52), which works over ssh as well. Whether the
/// terminal takes it, it does not say.
pub(crate) fn copy(text: &str) -> anyhow::Result<String> {
    if text.is_empty() {
        bail!("there is nothing to copy here");
    }
    if text.len() > MAX_COPIED {
        bail!("the text is too long for a terminal's clipboard ({} bytes)", text.len());
    }
    let packed = base64::engine::general_purpose::STANDARD.encode(text);
    let mut out = io::stdout();
    write!(out, "\u{1b}]52;c;{packed}\u{7}")
        .and_then(|()| out.flush())
        .context("cannot write to the terminal")?;
    Ok(format!("copied {} lines to the terminal's clipboard (OSC 52)", text.lines().count()))
}
