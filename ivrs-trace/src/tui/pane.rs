//! What all views share. A view says what its rows are ([`Rows`]); selection, filter, search, order,
//! scrolling and the text beside are the same for all ([`Listing`]).

use std::collections::VecDeque;

pub(super) use super::theme::Look;
use super::{
    Action, Role, Scene, View, detail::Scroll, detail::Text, filter_words::Words, list::List,
};
use crate::{event::Filter, firmware::EntryId, model::Attempt, pci::Bdf};

/// Something that a row can refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Device(Bdf),
    /// The PCI functions that an entry covers.
    Covered(EntryId),
    /// An attempt, counted from 0 over all that were seen.
    Attempt(u64),
    Entry(EntryId),
    /// The reserved regions of a group.
    Group(u32),
    /// The reserved region that an entry leads to.
    RegionOf(EntryId),
    /// An event, by its number.
    Event(u64),
    /// Some events: a filter as the events view takes it.
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
    pub(super) title: &'static str,
    /// Its columns on the screen; 0 takes what is left.
    pub(super) width: u16,
    /// From how many columns of the whole list on it is shown.
    pub(super) from: u16,
}

/// A piece of text and what it is.
pub(super) type Piece = (Role, String);
/// What the rows were made of: they are made again when it is another.
pub(super) type Stamp = (u64, usize, u64);

/// What the command line asked to follow: everything else is hidden.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    pub(super) events: Vec<Filter>,
    /// Alternatives each, of which every attempt must have one: the name of a machine, the id of a
    /// process, the address of a device.
    pub(super) attempts: Vec<Vec<String>>,
}

impl Followed {
    pub(super) fn lets(&self, attempt: &Attempt) -> bool {
        if self.attempts.is_empty() {
            return true;
        }
        let mut has = vec![attempt.process.pid.to_string()];
        has.extend(attempt.process.vm.clone());
        has.extend(attempt.requested.map(|bdf| bdf.to_string()));
        has.extend(attempt.rejections.iter().map(|one| one.device.name.clone()));
        self.attempts.iter().all(|any| any.iter().any(|one| has.contains(one)))
    }
}

/// What a view says of its rows.
pub(super) trait Rows {
    /// What a row is, whatever its number.
    type Row: Clone + PartialEq;
    const COLUMNS: &'static [Column];
    /// By what the rows can be sorted; the first is how they come.
    const ORDERS: &'static [&'static str] = &[];
    /// Whether the text beside changes with the revision alone.
    const STEADY: bool = true;

    /// Takes over what the command line asked for; the filter by which one sees it.
    fn follow(&mut self, _: &Followed) -> String {
        String::new()
    }

    /// Whether the selection stays on the last row as rows come.
    fn keeps_up(&self) -> bool {
        false
    }

    fn stamp(&self, scene: &Scene<'_>) -> Stamp {
        (scene.stage.revision, 0, 0)
    }

    /// All rows, sorted; the words of the filter are no concern of it.
    fn rows(&mut self, order: usize, scene: &Scene<'_>) -> Vec<Self::Row>;

    /// How many rows at the front are gone, and those that came at the end. `None` where all rows
    /// have to be made again.
    fn newer(&mut self, _: &VecDeque<Self::Row>, _: &Scene<'_>) -> Option<(usize, Vec<Self::Row>)> {
        None
    }

    /// What filter and search look at.
    fn text(&self, row: &Self::Row, scene: &Scene<'_>) -> String;

    /// A cell a column. `above` is the row above it.
    fn cells(&self, row: &Self::Row, above: Option<&Self::Row>, scene: &Scene<'_>) -> Vec<Piece>;

    /// What stands above the rows, in parts.
    fn title(&self, rows: &VecDeque<Self::Row>, scene: &Scene<'_>) -> Vec<String>;

    /// Why there is no row, where it is not for the filter.
    fn none(&self, scene: &Scene<'_>) -> Option<String>;

    /// The text beside.
    fn detail(&self, row: &Self::Row, text: &mut Text, scene: &Scene<'_>);

    /// What leads back to the row.
    fn target(&self, _: &Self::Row) -> Option<Target> {
        None
    }

    /// Whether the row is that of `target`.
    fn shows(&self, row: &Self::Row, target: &Target) -> bool {
        self.target(row).as_ref() == Some(target)
    }

    /// Narrows the rows to those of `target`, where it has several; the filter that does the rest.
    fn narrow(&mut self, _: &Target) -> Option<String> {
        None
    }

    /// Undoes what narrows the rows beside the filter.
    fn widen(&mut self) {}

    /// Takes in a filter; the words that a row must have.
    ///
    /// # Errors
    /// Where the text is no filter: why.
    fn filter(&mut self, text: &str) -> Result<Words, String> {
        if text.is_empty() {
            self.widen();
        }
        Ok(Words::of(text))
    }

    /// Where an action leads from a row.
    fn link(&self, _: &Self::Row, _: Action, _: &Scene<'_>) -> Option<Target> {
        None
    }

    /// Does an action of this view; what is said of it, if it is one.
    fn act(&mut self, _: Action, _: Option<&Self::Row>, _: &Scene<'_>) -> Option<String> {
        None
    }
}

/// What of a view does not depend on what its rows are.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) list: List,
    /// The filter as it was typed.
    pub(super) filter: String,
    /// The text beside, and how far it is scrolled.
    pub(super) text: Text,
    pub(super) scroll: Scroll,
}

/// A view with its rows.
pub(super) struct Listing<V: Rows> {
    pub(super) view: V,
    pub(super) rows: VecDeque<V::Row>,
    pub(super) state: State,
    words: Words,
    order: usize,
    made: Option<Stamp>,
    /// The row that the text is about, its width and the revision.
    shown: Option<(V::Row, usize, u64)>,
}

impl<V: Rows> Listing<V> {
    pub(super) fn new(view: V) -> Self {
        Self {
            view,
            rows: VecDeque::new(),
            state: State::default(),
            words: Words::default(),
            order: 0,
            made: None,
            shown: None,
        }
    }

    fn here(&self) -> Option<&V::Row> {
        self.rows.get(self.state.list.chosen()?)
    }

    /// Makes the rows again; the selected one stays selected.
    fn remake(&mut self, scene: &Scene<'_>) {
        let chosen = self.here().cloned();
        let at_end = self.state.list.is_at_end();
        let mut rows = self.view.rows(self.order, scene);
        rows.retain(|row| self.words.are_in(|| self.view.text(row, scene)));
        self.rows = rows.into();
        self.state.list.set_rows(self.rows.len());
        let same = chosen.and_then(|chosen| self.rows.iter().position(|row| *row == chosen));
        match same {
            _ if self.view.keeps_up() && (at_end || same.is_none()) => {
                self.state.list.choose(usize::MAX);
            }
            Some(row) => self.state.list.choose(row),
            None => {}
        }
    }

    /// Adds what came to the rows; whether that is all there is to do.
    fn extend(&mut self, scene: &Scene<'_>) -> bool {
        let Some((gone, mut newer)) = self.view.newer(&self.rows, scene) else { return false };
        newer.retain(|row| self.words.are_in(|| self.view.text(row, scene)));
        self.rows.drain(..gone.min(self.rows.len()));
        self.state.list.drop_front(gone);
        // Who has gone back in the list stays there.
        let keep_up = self.view.keeps_up() && self.state.list.is_at_end();
        self.rows.extend(newer);
        self.state.list.set_rows(self.rows.len());
        if keep_up {
            self.state.list.choose(usize::MAX);
        }
        true
    }
}

/// A view, whatever its rows are.
pub(super) trait Pane {
    /// Follows what is known by now. Called before every key and every drawing, so it must do
    /// nothing where nothing has changed.
    fn sync(&mut self, scene: &Scene<'_>);
    fn follow(&mut self, followed: &Followed);
    fn state(&self) -> &State;
    fn state_mut(&mut self) -> &mut State;
    fn columns(&self) -> &'static [Column];
    fn cells(&self, row: usize, scene: &Scene<'_>) -> Vec<Piece>;
    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String;
    fn title(&self, scene: &Scene<'_>) -> String;
    fn none(&self, scene: &Scene<'_>) -> Option<String>;
    /// The text about the selected row, for so many columns.
    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text;
    /// Makes the text of the state again, if it would be another one.
    fn show(&mut self, width: usize, scene: &Scene<'_>);
    /// What leads back to the selected row.
    fn target(&self) -> Option<Target>;
    /// Selects the row of something; whether there is one.
    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool;
    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target>;
    fn act(&mut self, action: Action, scene: &Scene<'_>) -> Option<String>;
    /// Shows the rows that a text lets through, all for an empty one.
    ///
    /// # Errors
    /// Where the text is no filter: why.
    fn set_filter(&mut self, text: &str, scene: &Scene<'_>) -> Result<(), String>;
}

impl<V: Rows> Pane for Listing<V> {
    fn sync(&mut self, scene: &Scene<'_>) {
        let stamp = self.view.stamp(scene);
        let made = self.made.replace(stamp);
        if made == Some(stamp) || made.is_some() && self.extend(scene) {
            return;
        }
        self.remake(scene);
    }

    fn follow(&mut self, followed: &Followed) {
        self.state.filter = self.view.follow(followed);
        self.made = None;
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn columns(&self) -> &'static [Column] {
        V::COLUMNS
    }

    fn cells(&self, row: usize, scene: &Scene<'_>) -> Vec<Piece> {
        let above = row.checked_sub(1).and_then(|above| self.rows.get(above));
        self.rows.get(row).map_or_else(Vec::new, |row| self.view.cells(row, above, scene))
    }

    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String {
        self.rows.get(row).map_or_else(String::new, |row| self.view.text(row, scene))
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        let mut parts = self.view.title(&self.rows, scene);
        if !self.state.filter.is_empty() {
            parts.push(format!("only {:?}", self.state.filter));
        }
        if let Some(order) = V::ORDERS.get(self.order).filter(|_| self.order > 0) {
            parts.push(format!("by {order}"));
        }
        parts.join(", ")
    }

    fn none(&self, scene: &Scene<'_>) -> Option<String> {
        self.view.none(scene)
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        if let Some(row) = self.here() {
            self.view.detail(row, &mut text, scene);
        }
        text
    }

    fn show(&mut self, width: usize, scene: &Scene<'_>) {
        let shown = self.here().map(|row| (row.clone(), width, scene.stage.revision));
        if V::STEADY && self.shown.is_some() && self.shown == shown {
            return;
        }
        let row =
            |shown: &Option<(V::Row, usize, u64)>| shown.as_ref().map(|(row, ..)| row.clone());
        if row(&self.shown) != row(&shown) {
            self.state.scroll.to(0);
        }
        self.state.text = self.detail(width, scene);
        self.shown = shown;
    }

    fn target(&self) -> Option<Target> {
        self.view.target(self.here()?)
    }

    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool {
        if let Some(filter) = self.view.narrow(target) {
            let set = if filter.is_empty() {
                // It would undo the narrowing.
                (self.words, self.state.filter) = (Words::default(), filter);
                self.remake(scene);
                true
            } else {
                self.set_filter(&filter, scene).is_ok()
            };
            self.state.list.choose(if self.view.keeps_up() { usize::MAX } else { 0 });
            return set;
        }
        let find = |this: &Self| this.rows.iter().position(|row| this.view.shows(row, target));
        let mut found = find(self);
        if found.is_none() {
            // It may be there, but not among those that are shown.
            found = self.set_filter("", scene).ok().and_then(|()| find(self));
        }
        found.inspect(|row| self.state.list.choose(*row)).is_some()
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        self.view.link(self.here()?, action, scene)
    }

    fn act(&mut self, action: Action, scene: &Scene<'_>) -> Option<String> {
        let kept_up = self.view.keeps_up();
        let said = if action == Action::Sort && !V::ORDERS.is_empty() {
            self.order = (self.order + 1) % V::ORDERS.len();
            V::ORDERS.get(self.order).map(|order| format!("sorted by {order}"))
        } else {
            let here = self.here().cloned();
            self.view.act(action, here.as_ref(), scene)
        };
        if said.is_some() {
            self.remake(scene);
        }
        if self.view.keeps_up() && !kept_up {
            self.state.list.choose(usize::MAX);
        }
        said
    }

    fn set_filter(&mut self, text: &str, scene: &Scene<'_>) -> Result<(), String> {
        self.words = self.view.filter(text.trim())?;
        text.trim().clone_into(&mut self.state.filter);
        self.remake(scene);
        Ok(())
    }
}
