//! The views, which are also the tabs at the top. A view is a file in `view/`, which says what its
//! rows are, and its entry in this one.

mod attempts;
mod devices;
mod events;
mod firmware;
mod health;
mod regions;

use super::{
    Action, Role, View,
    pane::{Listing, Pane},
};
use crate::{
    codes::Severity,
    model::{Outcome, Verdict},
};

/// All of a view but its rows.
pub(super) struct Spec {
    /// Name of the action that shows it.
    pub(super) name: &'static str,
    /// What that action does.
    pub(super) does: &'static str,
    pub(super) keys: &'static [&'static str],
    /// What the tab says, in full and where there is little room.
    title: (&'static str, &'static str),
    /// What a row is called.
    pub(super) noun: &'static str,
    /// The actions that are its own.
    pub(super) actions: &'static [Action],
    /// What the last line names beside what it names everywhere.
    pub(super) hints: &'static [(Action, &'static str)],
    /// The text beside explains the row already: opening the row shows that in full.
    pub(super) explains: bool,
    pub(super) open: fn() -> Box<dyn Pane>,
}

impl View {
    /// What the tab says, in full and where there is little room.
    #[must_use]
    pub fn title(self) -> (&'static str, &'static str) {
        self.spec().title
    }

    pub(super) const fn spec(self) -> &'static Spec {
        match self {
            Self::Devices => &Spec {
                name: "devices",
                does: "view: devices",
                keys: &["1"],
                title: ("Devices", "Dev"),
                noun: "device",
                actions: &[Action::Sort, Action::Gather, Action::Verdict],
                hints: &[
                    (Action::Open, "cause"),
                    (Action::Gather, "groups"),
                    (Action::Sort, "sort"),
                ],
                explains: false,
                open: || Box::new(Listing::new(devices::Devices::default())),
            },
            Self::Attempts => &Spec {
                name: "attempts",
                does: "view: attempts",
                keys: &["2"],
                title: ("Attempts", "Att"),
                noun: "attempt",
                actions: &[],
                hints: &[
                    (Action::Open, "explain"),
                    (Action::ToEntry, "firmware"),
                    (Action::ToEvents, "events"),
                ],
                explains: true,
                open: || Box::new(Listing::new(attempts::Attempts::default())),
            },
            Self::Firmware => &Spec {
                name: "firmware",
                does: "view: firmware",
                keys: &["3"],
                title: ("Firmware", "Fw"),
                noun: "part of the table",
                actions: &[],
                hints: &[(Action::Open, "devices")],
                explains: false,
                open: || Box::new(Listing::new(firmware::Firmware::default())),
            },
            Self::Regions => &Spec {
                name: "regions",
                does: "view: reserved regions",
                keys: &["4"],
                title: ("Regions", "Reg"),
                noun: "region",
                actions: &[Action::Sort],
                hints: &[(Action::Open, "firmware"), (Action::ToDevice, "devices")],
                explains: false,
                open: || Box::new(Listing::new(regions::Regions::default())),
            },
            Self::Events => &Spec {
                name: "events",
                does: "view: events",
                keys: &["5"],
                title: ("Events", "Ev"),
                noun: "event",
                actions: &[Action::Pause],
                hints: &[(Action::Pause, "pause"), (Action::ToAttempt, "attempt")],
                explains: false,
                open: || Box::new(Listing::new(events::Events::default())),
            },
            Self::Health => &Spec {
                name: "health",
                does: "view: health of the trace",
                keys: &["6"],
                title: ("Health", "Hea"),
                noun: "row",
                actions: &[],
                hints: &[],
                explains: false,
                open: || Box::new(Listing::new(health::Health)),
            },
        }
    }
}

/// A piece of text without a look of its own.
fn plain(text: impl Into<String>) -> (Role, String) {
    (Role::Text, text.into())
}

/// A verdict in a word, and how it looks.
fn verdict(verdict: Verdict) -> (Role, &'static str) {
    match verdict {
        Verdict::Blocked => (Role::Bad, "blocked"),
        Verdict::Clear => (Role::Good, "clear"),
        Verdict::Unknown => (Role::Doubtful, "unknown"),
        Verdict::NoIommu => (Role::Bad, "no IOMMU"),
        Verdict::Platform => (Role::Dim, "platform"),
    }
}

/// How much a finding matters in a word, and how it looks.
fn severity(severity: Severity) -> (Role, &'static str) {
    let role = match severity {
        Severity::Error => Role::Bad,
        Severity::Warning => Role::Doubtful,
        Severity::Note => Role::Dim,
    };
    (role, severity.as_str())
}

/// The outcome of an attempt in a word, and how it looks.
fn outcome(outcome: Outcome) -> (Role, &'static str) {
    match outcome {
        Outcome::Rejected => (Role::Bad, "blocked"),
        Outcome::Failed => (Role::Doubtful, "failed"),
        Outcome::Claimed => (Role::Good, "claimed"),
        Outcome::Attached => (Role::Good, "attached"),
        Outcome::Unknown => (Role::Dim, "unknown"),
    }
}
