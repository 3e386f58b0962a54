//! The dashboard: what firmware holds over every device, and every try to take one, as it happens.
//!
//! It is state and drawing. It has no terminal, no kernel, no file and no clock of its own: whoever
//! runs it ([`crate::cli`]) hands it keys and the [`Scene`], and does the [`Effect`]s that it asks
//! for. Facts are judged by [`crate::model`], as everywhere; here is only what is on the screen, and
//! a [`History`] of events, of bounded length.

mod action;
mod app;
mod config;
mod detail;
mod draw;
mod filter_words;
mod history;
mod keys;
mod list;
mod overlay;
mod pane;
mod replay;
mod state;
mod theme;
mod views;

#[cfg(test)]
mod tests;

pub use action::{ACTIONS, Action, Known, Scope};
pub use app::{App, Effect, Message, Reader, Seek};
pub use config::{Config, ConfigError};
pub use history::{HISTORY, History};
pub use keys::{Chord, Keys, KeysError, ParseChordError};
pub use replay::Replay;
pub use state::{Scene, Stage, Watch};
pub use theme::{Role, ThemeName};

/// The views, which are also the tabs at the top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// A row a PCI function: would it be refused, and for what.
    #[default]
    Devices,
    /// A row a try to take a device, and the chosen one explained.
    Attempts,
    /// The IVRS table beside its bytes.
    Firmware,
    /// A row a reserved region.
    Regions,
    /// A row an event.
    Events,
    /// How well the kernel can be seen: probes, losses, findings.
    Health,
}

impl View {
    /// All of them, in the order of the tabs.
    pub const ALL: [Self; 6] =
        [Self::Devices, Self::Attempts, Self::Firmware, Self::Regions, Self::Events, Self::Health];

    /// What the tab says, in full and where there is little room.
    #[must_use]
    pub fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Devices => ("Devices", "Dev"),
            Self::Attempts => ("Attempts", "Att"),
            Self::Firmware => ("Firmware", "Fw"),
            Self::Regions => ("Regions", "Reg"),
            Self::Events => ("Events", "Ev"),
            Self::Health => ("Health", "Hea"),
        }
    }
}
