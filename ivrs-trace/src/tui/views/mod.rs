//! The views, one file each: what their rows are, and what is said of the chosen one.

mod attempts;
mod devices;
mod events;
mod firmware;
mod health;
mod regions;

pub(super) use attempts::Attempts;
pub(super) use devices::Devices;
pub(super) use events::Events;
pub(super) use firmware::Firmware;
pub(super) use health::Health;
pub(super) use regions::Regions;

use super::Role;
use crate::model::{Outcome, Verdict};

/// A verdict in a word, and how it looks.
fn verdict(verdict: Verdict) -> (Role, &'static str) {
    match verdict {
        Verdict::Blocked => (Role::Bad, "blocked"),
        Verdict::Clear => (Role::Good, "clear"),
        Verdict::Unknown => (Role::Doubtful, "unknown"),
    }
}

/// What came of an attempt in a word, and how it looks.
fn outcome(outcome: Outcome) -> (Role, &'static str) {
    match outcome {
        Outcome::Rejected => (Role::Bad, "refused"),
        Outcome::Failed => (Role::Doubtful, "failed"),
        Outcome::Claimed => (Role::Good, "given"),
        Outcome::Attached => (Role::Good, "taken"),
        Outcome::Unknown => (Role::Dim, "open"),
    }
}
