//! What the dashboard asks to have done: it does nothing itself.

/// For whom a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Kernel developers.
    Kernel,
    /// The board's vendor.
    Vendor,
    /// People in a forum.
    Forum,
}

/// Where a replay is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// So many events on, or back.
    Events(isize),
    /// To the next attempt, or the one before.
    Attempt {
        /// Whether on.
        on: bool,
    },
    /// To the next refusal, or the one before.
    Refusal {
        /// Whether on.
        on: bool,
    },
    /// To the beginning.
    Start,
    /// To the end.
    End,
    /// To a part of the whole: so many of so many.
    Part(u16, u16),
}

/// What the dashboard wants to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the program.
    Quit,
    /// Write a report to a file.
    Report(Reader),
    /// Put text on the clipboard.
    Copy(String),
    /// Start a recording, or stop it.
    Record,
    /// Move the replay.
    Seek(Seek),
    /// Play the replay, or pause it.
    Play,
    /// Change the speed of the replay: doubled, or halved.
    Speed {
        /// Whether doubled.
        faster: bool,
    },
    /// Draw the whole screen again.
    Redraw,
}

/// A message in the last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// What was done.
    Done(String),
    /// What went wrong.
    Trouble(String),
}
