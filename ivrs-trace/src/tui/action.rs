//! What can be done on the dashboard: one list, from which keys, palette, help and configuration are
//! made. It does nothing itself.

use super::View;

/// Something to do. Keys, mouse and palette all end in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Leave the program.
    Quit,
    /// Show the keys of this view.
    Help,
    /// Choose an action by its name.
    Palette,
    /// Show a view.
    Show(View),
    /// Show the view to the right of this one.
    NextView,
    /// Show the view to the left of this one.
    PreviousView,
    /// One row down.
    Down,
    /// One row up.
    Up,
    /// One screen of rows down.
    PageDown,
    /// One screen of rows up.
    PageUp,
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Scroll the text beside the rows down.
    ScrollDown,
    /// Scroll the text beside the rows up.
    ScrollUp,
    /// Show the text of the chosen row on the whole screen, and back.
    Zoom,
    /// Go to what the chosen row refers to.
    Open,
    /// Go back to where one came from.
    Back,
    /// Go to the firmware entry behind the chosen row.
    ToEntry,
    /// Go to the device of the chosen row.
    ToDevice,
    /// Go to the last attempt to take the device of the chosen row.
    ToAttempt,
    /// Go to the events of the chosen row.
    ToEvents,
    /// Go to the reserved regions of the chosen row.
    ToRegions,
    /// Look for text in the rows.
    Search,
    /// To the next row with the text.
    NextMatch,
    /// To the row before with the text.
    PreviousMatch,
    /// Show only some rows.
    Filter,
    /// Show all rows again.
    Unfilter,
    /// Order the rows by the next column.
    Sort,
    /// Gather the rows by group, or not.
    Gather,
    /// Show the rows of one verdict only, then of the next.
    Verdict,
    /// Go to the newest refusal.
    Refusal,
    /// Write a report.
    Report,
    /// Write a report for kernel developers.
    ReportKernel,
    /// Write a report for the board's vendor.
    ReportVendor,
    /// Write a report for a forum.
    ReportForum,
    /// Copy the text of the chosen row to the clipboard.
    Copy,
    /// Begin a recording, or end it.
    Record,
    /// Let the list stand still while events come, or follow them.
    Pause,
    /// Use the next theme.
    Theme,
    /// Draw the screen anew.
    Redraw,
    /// Replay: play, or stop.
    Play,
    /// Replay: one event on.
    StepOn,
    /// Replay: one event back.
    StepBack,
    /// Replay: on to the next attempt.
    AttemptOn,
    /// Replay: back to the attempt before.
    AttemptBack,
    /// Replay: on to the next refusal.
    RefusalOn,
    /// Replay: back to the refusal before.
    RefusalBack,
    /// Replay: to the beginning.
    Rewind,
    /// Replay: to the end.
    Forward,
    /// Replay: play twice as fast.
    Faster,
    /// Replay: play half as fast.
    Slower,
}

/// Where an action can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Always.
    Everywhere,
    /// In these views.
    In(&'static [View]),
    /// While a host is watched.
    Live,
    /// While a recording is replayed.
    Replay,
}

/// An action with its words and the keys that it has if nobody configures others.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The action.
    pub action: Action,
    /// Its name in the palette and in the configuration.
    pub name: &'static str,
    /// What it does, for the help.
    pub does: &'static str,
    /// Its keys, as the configuration writes them.
    pub keys: &'static [&'static str],
    /// Where it can be done.
    pub scope: Scope,
}

const fn known(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    scope: Scope,
    does: &'static str,
) -> Known {
    Known { action, name, does, keys, scope }
}

use Scope::{Everywhere, In, Live, Replay};
use View::{Attempts, Devices, Events, Firmware, Health, Regions};

/// All actions, in the order of the help.
pub const ACTIONS: &[Known] = &[
    known(Action::Help, "help", &["?", "f1"], Everywhere, "show the keys of this view"),
    known(Action::Quit, "quit", &["q", "ctrl-c"], Everywhere, "leave"),
    known(Action::Palette, "palette", &[":"], Everywhere, "choose an action by its name"),
    known(Action::Show(Devices), "devices", &["1"], Everywhere, "view: devices"),
    known(Action::Show(Attempts), "attempts", &["2"], Everywhere, "view: attempts"),
    known(Action::Show(Firmware), "firmware", &["3"], Everywhere, "view: firmware"),
    known(Action::Show(Regions), "regions", &["4"], Everywhere, "view: reserved regions"),
    known(Action::Show(Events), "events", &["5"], Everywhere, "view: events"),
    known(Action::Show(Health), "health", &["6"], Everywhere, "view: health of the trace"),
    known(Action::NextView, "next-view", &["tab", "right"], Everywhere, "next view"),
    known(Action::PreviousView, "previous-view", &["backtab", "left"], Everywhere, "view before"),
    known(Action::Down, "down", &["j", "down"], Everywhere, "down"),
    known(Action::Up, "up", &["k", "up"], Everywhere, "up"),
    known(
        Action::PageDown,
        "page-down",
        &["ctrl-d", "ctrl-f", "pagedown"],
        Everywhere,
        "page down",
    ),
    known(Action::PageUp, "page-up", &["ctrl-u", "ctrl-b", "pageup"], Everywhere, "page up"),
    known(Action::First, "first", &["g", "home"], Everywhere, "first row"),
    known(Action::Last, "last", &["G", "end"], Everywhere, "last row"),
    known(Action::ScrollDown, "scroll-down", &["J", "ctrl-e"], Everywhere, "scroll the text down"),
    known(Action::ScrollUp, "scroll-up", &["K", "ctrl-y"], Everywhere, "scroll the text up"),
    known(Action::Zoom, "zoom", &["z"], Everywhere, "the text on the whole screen, and back"),
    known(Action::Open, "open", &["enter", "l"], Everywhere, "go to what this refers to"),
    known(Action::Back, "back", &["esc", "backspace", "h"], Everywhere, "go back"),
    known(Action::ToEntry, "to-entry", &["c"], Everywhere, "go to the firmware entry behind this"),
    known(Action::ToDevice, "to-device", &["d"], Everywhere, "go to the device"),
    known(Action::ToAttempt, "to-attempt", &["a"], Everywhere, "go to the last attempt on it"),
    known(Action::ToEvents, "to-events", &["e"], Everywhere, "go to its events"),
    known(Action::ToRegions, "to-regions", &["m"], Everywhere, "go to its reserved regions"),
    known(Action::Search, "search", &["/"], Everywhere, "look for text in the rows"),
    known(Action::NextMatch, "next-match", &["n"], Everywhere, "next row with that text"),
    known(Action::PreviousMatch, "previous-match", &["N"], Everywhere, "row before with that text"),
    known(Action::Filter, "filter", &["f"], Everywhere, "show some rows only"),
    known(Action::Unfilter, "unfilter", &["F"], Everywhere, "show all rows again"),
    known(Action::Sort, "sort", &["o"], In(&[Devices, Regions]), "order by another column"),
    known(Action::Gather, "gather", &["t"], In(&[Devices]), "gather by group, or not"),
    known(
        Action::Verdict,
        "verdict",
        &["v"],
        In(&[Devices]),
        "only blocked, clear or unknown ones",
    ),
    known(Action::Pause, "pause", &["p"], In(&[Events]), "stand still, or follow the events"),
    known(Action::Refusal, "refusal", &["!"], Everywhere, "go to the newest refusal"),
    known(Action::Report, "report", &["r"], Everywhere, "write a report, for whom is asked"),
    known(Action::ReportKernel, "report-kernel", &[], Everywhere, "report for kernel developers"),
    known(Action::ReportVendor, "report-vendor", &[], Everywhere, "report for the board's vendor"),
    known(Action::ReportForum, "report-forum", &[], Everywhere, "report for a forum"),
    known(Action::Copy, "copy", &["y"], Everywhere, "copy the text to the clipboard"),
    known(Action::Record, "record", &["R"], Live, "begin a recording, or end it"),
    known(Action::Play, "play", &["space"], Replay, "play, or stop"),
    known(Action::StepOn, "step", &["."], Replay, "one event on"),
    known(Action::StepBack, "step-back", &[","], Replay, "one event back"),
    known(Action::AttemptOn, "next-attempt", &["]"], Replay, "on to the next attempt"),
    known(Action::AttemptBack, "previous-attempt", &["["], Replay, "back to the attempt before"),
    known(Action::RefusalOn, "next-refusal", &["}"], Replay, "on to the next refusal"),
    known(Action::RefusalBack, "previous-refusal", &["{"], Replay, "back to the refusal before"),
    known(Action::Rewind, "rewind", &["0"], Replay, "to the beginning"),
    known(Action::Forward, "forward", &["$"], Replay, "to the end"),
    known(Action::Faster, "faster", &["+"], Replay, "play faster"),
    known(Action::Slower, "slower", &["-"], Replay, "play slower"),
    known(Action::Theme, "theme", &["T"], Everywhere, "another theme"),
    known(Action::Redraw, "redraw", &["ctrl-l"], Everywhere, "draw the screen anew"),
];

impl Scope {
    /// Whether such an action can be done in `view`, watching a host or replaying.
    #[must_use]
    pub fn holds(self, view: View, replay: bool) -> bool {
        match self {
            Self::Everywhere => true,
            Self::In(views) => views.contains(&view),
            Self::Live => !replay,
            Self::Replay => replay,
        }
    }
}
