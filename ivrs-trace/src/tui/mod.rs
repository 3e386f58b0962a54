//! The dashboard: what firmware holds over every device, and every try to take one, as it happens.
//!
//! It is state and drawing. It has no terminal, no kernel, no file and no clock of its own: whoever
//! runs it ([`crate::cli`]) hands it keys and the [`Scene`], and does the [`Effect`]s that it asks
//! for. Facts are judged by [`crate::model`], as everywhere; here is only what is on the screen, and
//! a [`History`] of events, of bounded length.

mod action;
mod actions;
mod app;
mod config;
mod detail;
mod draw;
mod effect;
mod filter_words;
mod history;
mod keys;
mod list;
mod overlay;
mod pane;
mod replay;
mod state;
mod theme;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use action::{Action, Known, Scope, View};
pub use actions::ACTIONS;
pub use app::App;
pub(crate) use config::Config;
pub use effect::{Effect, Message, Reader, Seek};
pub use history::HISTORY;
pub(crate) use history::History;
pub use keys::{Keys, KeysError, ParseChordError};
pub(crate) use replay::Replay;
pub use state::{Scene, Stage, Watch};
pub(crate) use theme::Role;
pub use theme::ThemeName;
