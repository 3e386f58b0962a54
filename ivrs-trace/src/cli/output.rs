//! Writing to the terminal: results, and talk.

use std::io::{self, Write as _};

use serde::Serialize;

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
