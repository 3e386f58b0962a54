//! What every view is: rows, and a text about the chosen one. A view says what is in them; the frame,
//! the scrolling, the search and the mouse are the same for all.

use ratatui::text::Line;

use super::{Action, Role, Scene, View, detail::Text, list::List, theme::ThemeName};
use crate::pci::Bdf;

/// Something that a row can refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A PCI function.
    Device(Bdf),
    /// The PCI functions that an IVMD block covers, by the block's index.
    Covered(usize),
    /// An attempt, counted from 0 over all that were seen.
    Attempt(u64),
    /// An IVMD block, by its index.
    Entry(usize),
    /// The reserved regions of a group.
    Group(u32),
    /// The reserved region that an IVMD block leads to, by the block's index.
    RegionOf(usize),
    /// An event, by its number.
    Event(u64),
    /// The events that tell of something: a filter as the events view takes it.
    Events(String),
}

impl Target {
    /// The view that shows it.
    pub(super) fn view(&self) -> View {
        match self {
            Self::Device(_) | Self::Covered(_) => View::Devices,
            Self::Attempt(_) => View::Attempts,
            Self::Entry(_) => View::Firmware,
            Self::Group(_) | Self::RegionOf(_) => View::Regions,
            Self::Event(_) | Self::Events(_) => View::Events,
        }
    }
}

/// A column of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its head.
    pub(super) title: &'static str,
    /// Its columns on the screen; 0 takes what is left.
    pub(super) width: u16,
    /// From how many columns of the whole list on it is shown.
    pub(super) from: u16,
}

/// How things look now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) theme: ThemeName,
}

impl Look {
    pub(super) fn style(self, role: Role) -> ratatui::style::Style {
        self.theme.style(role)
    }
}

/// A view.
pub(super) trait Pane {
    /// Follows what is known by now. Called before every key and every drawing, so it must do
    /// nothing where nothing has changed.
    fn sync(&mut self, scene: &Scene<'_>);

    /// The rows.
    fn list(&self) -> &List;

    /// The rows, to move in them.
    fn list_mut(&mut self) -> &mut List;

    /// What is said where there are no rows.
    fn empty(&self, scene: &Scene<'_>) -> String;

    /// What stands above the rows: what they are, how they are ordered and filtered.
    fn title(&self, scene: &Scene<'_>) -> String;

    /// The columns of the rows.
    fn columns(&self) -> &'static [Column];

    /// The cells of a row, one a column.
    fn cells(&self, row: usize, scene: &Scene<'_>, look: Look) -> Vec<Line<'static>>;

    /// What a search looks at: the row as text.
    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String;

    /// The text about the chosen row, for so many columns.
    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text;

    /// What the chosen row is, so that one can come back to it.
    fn chosen(&self, scene: &Scene<'_>) -> Option<Target>;

    /// Chooses the row of something; whether there is one.
    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool;

    /// Where an action leads from the chosen row.
    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target>;

    /// Does one of its own actions; what is to be said of it, if it was one.
    fn act(&mut self, action: Action, scene: &Scene<'_>) -> Option<String>;

    /// The filter as it was typed.
    fn filter(&self) -> &str;

    /// Shows the rows that a text lets through, all for an empty one.
    ///
    /// # Errors
    /// Where the text is no filter: why.
    fn set_filter(&mut self, text: &str, scene: &Scene<'_>) -> Result<(), String>;
}
