//! Writing to the terminal: results, and talk.

use std::{
    io::{self, IsTerminal, Write as _},
    os::fd::AsFd,
};

use serde::Serialize;

use crate::report::Style;

/// Columns within which text is still good to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=120;

/// Writes a result to standard output.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a document to standard output, over several lines.
pub(super) fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(document)?))
}

/// Writes what is a result, but of a command that has standard output for itself, to standard error.
pub(super) fn print_beside(text: &str) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    err.flush()?;
    Ok(())
}

/// Writes a line of talk to standard error. That it cannot be written is no reason to stop.
pub(super) fn complain(line: &str) {
    let _: io::Result<()> = writeln!(io::stderr(), "ivrs-trace: {line}");
}

/// Whether the reader of standard output has gone, which ends a program quietly.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// How text looks on standard output: as wide as the terminal, with colours unless `NO_COLOR` is set
/// to something (no-color.org).
pub(super) fn style() -> Style {
    style_of(&io::stdout())
}

/// The same on standard error.
pub(super) fn style_of_talk() -> Style {
    style_of(&io::stderr())
}

fn style_of(out: &(impl IsTerminal + AsFd)) -> Style {
    if !out.is_terminal() {
        return Style::default();
    }
    let columns = rustix::termios::tcgetwinsize(out).map_or(0, |size| usize::from(size.ws_col));
    let width = match columns {
        // A terminal that does not know.
        0 => Style::default().width,
        columns => columns.clamp(*WIDTHS.start(), *WIDTHS.end()),
    };
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    Style { width, colour }
}
