//! Writing to the terminal: results, and talk.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::report::Style;

/// Columns within which text is still good to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=120;

/// Writes a result to standard output.
pub(crate) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    write(&mut io::stdout().lock(), text.as_ref()).context("cannot write to standard output")
}

pub(crate) fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    // As it is made: a document may be larger than what it is made of.
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, document)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// Writes what is a result, but of a command that has standard output for itself, to standard error.
pub(crate) fn print_beside(text: &str) -> anyhow::Result<()> {
    write(&mut io::stderr().lock(), text.as_bytes()).context("cannot write to standard error")
}

fn write(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

/// An output that names itself in its errors, whatever hands them on.
pub(crate) struct Named<W> {
    pub(crate) inner: W,
    pub(crate) name: String,
}

impl<W> Named<W> {
    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", self.name))
        })
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.named(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.named(flushed)
    }
}

/// Whether the last line of the terminal is one of [`progress`].
static PROGRESS: AtomicBool = AtomicBool::new(false);

/// To the beginning of the line, and away with what is there.
const CLEAR: &str = "\r\x1b[K";

/// Writes a line of talk to standard error, in place of a line of progress. That it cannot be written
/// is no reason to stop.
pub(crate) fn complain(line: &str) {
    let mut err = io::stderr().lock();
    let clear = if PROGRESS.swap(false, Ordering::Relaxed) { CLEAR } else { "" };
    let _: io::Result<()> = writeln!(err, "{clear}ivrs-trace: {line}");
}

/// Whether details are wanted (`--verbose`).
static VERBOSE: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_verbose(wanted: bool) {
    VERBOSE.store(wanted, Ordering::Relaxed);
}

/// Writes a line of talk that only `--verbose` asks for.
pub(crate) fn detail(line: &str) {
    if VERBOSE.load(Ordering::Relaxed) {
        complain(line);
    }
}

/// The same without the name of the program before it.
pub(crate) fn complain_plainly(line: &str) {
    let _: io::Result<()> = writeln!(io::stderr().lock(), "{line}");
}

/// Writes a line of progress to standard error, over the one before; an empty one ends them.
pub(crate) fn progress(line: &str) {
    let mut err = io::stderr().lock();
    PROGRESS.store(!line.is_empty(), Ordering::Relaxed);
    // That it cannot be written is no reason to stop.
    let _: io::Result<()> = write!(err, "{CLEAR}{line}").and_then(|()| err.flush());
}

/// The columns that a line of progress may have; none where standard error is not a terminal that
/// can show one. It leaves the last column free, at which some terminals begin another line.
pub(crate) fn progress_columns() -> Option<usize> {
    let err = io::stderr();
    let shows = err.is_terminal() && !is_dumb();
    shows
        .then(|| match columns(&err) {
            // A terminal that does not know.
            0 => Style::default().width,
            columns => columns,
        })
        .map(|columns| columns.saturating_sub(1))
}

/// The columns of a terminal, 0 if it does not know.
fn columns(terminal: &impl AsFd) -> usize {
    rustix::termios::tcgetwinsize(terminal).map_or(0, |size| usize::from(size.ws_col))
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether the reader of standard output has gone, which ends a program quietly.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        // Its source is not the error that it hands on.
        let of_csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
            csv::ErrorKind::Io(error) => Some(error),
            _ => None,
        });
        let error = cause.downcast_ref::<io::Error>().or(of_csv);
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// How text looks on standard output: as wide as the terminal, with colours unless `NO_COLOR` is set
/// to something (no-color.org).
pub(crate) fn style() -> Style {
    style_of(&io::stdout())
}

/// The same on standard error.
pub(crate) fn style_of_talk() -> Style {
    style_of(&io::stderr())
}

fn style_of(out: &(impl IsTerminal + AsFd)) -> Style {
    if !out.is_terminal() {
        return Style::default();
    }
    let width = match columns(out) {
        // A terminal that does not know.
        0 => Style::default().width,
        columns => columns.clamp(*WIDTHS.start(), *WIDTHS.end()),
    };
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb();
    Style { width, colour }
}
