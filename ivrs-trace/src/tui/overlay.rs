//! What lies over a view for a moment: a line to type in, the palette, the help, the question for
//! whom a report is.

use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input as Field, backend::crossterm::EventHandler as _};

use super::{Action, Keys, View, list::List};

/// Bytes that can be typed.
const MAX_TYPED: usize = 256;

/// What is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Text to look for.
    Search,
    /// Which rows to show.
    Filter,
}

/// What an overlay wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Stay,
    Close,
    Act(Action),
    Entered(Prompt, String),
}

/// An action in the palette.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) action: Action,
    pub(super) name: &'static str,
    pub(super) does: &'static str,
    pub(super) keys: String,
}

/// The palette.
#[derive(Clone, Debug)]
pub(super) struct Palette {
    pub(super) field: Field,
    all: Vec<Offer>,
    pub(super) list: List,
}

impl Palette {
    /// The actions whose name or words have all that was typed, those by name first.
    pub(super) fn offers(&self) -> Vec<&Offer> {
        let typed = self.field.value().to_lowercase();
        let words: Vec<&str> = typed.split_whitespace().collect();
        let has = |text: &str| words.iter().all(|word| text.contains(word));
        let by_name = self.all.iter().filter(|offer| has(offer.name));
        let by_words = self.all.iter().filter(|offer| {
            !has(offer.name) && has(&format!("{} {}", offer.name, offer.does).to_lowercase())
        });
        by_name.chain(by_words).collect()
    }

    fn chosen(&self) -> Wish {
        let offers = self.offers();
        match self.list.chosen().and_then(|row| offers.get(row)) {
            Some(offer) => Wish::Act(offer.action),
            None => Wish::Stay,
        }
    }
}

/// Something over the view.
#[derive(Clone, Debug)]
pub(super) enum Overlay {
    Prompt { prompt: Prompt, field: Field },
    Palette(Box<Palette>),
    Help { first: usize },
    Readers,
}

impl Overlay {
    pub(super) fn prompt(prompt: Prompt, text: &str) -> Self {
        Self::Prompt { prompt, field: Field::new(text.to_owned()) }
    }

    pub(super) fn help() -> Self {
        Self::Help { first: 0 }
    }

    pub(super) fn palette(keys: &Keys, view: View, replay: bool) -> Self {
        let offer = |(known, chords): (&'static super::Known, &[super::keys::Chord])| Offer {
            action: known.action,
            name: known.name,
            does: known.does,
            keys: chords.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let all: Vec<Offer> = keys
            .in_place(view, replay)
            .map(offer)
            .filter(|offer| offer.action != Action::Palette)
            .collect();
        let mut list = List::default();
        list.set_rows(all.len());
        Self::Palette(Box::new(Palette { field: Field::default(), all, list }))
    }

    pub(super) fn paste(&mut self, text: &str) {
        for one in text.chars().filter(|one| !crate::escape::is_hidden(*one)) {
            self.typed(KeyEvent::new(KeyCode::Char(one), KeyModifiers::NONE));
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Esc || control && key.code == KeyCode::Char('c') {
            return Wish::Close;
        }
        match self {
            Self::Prompt { prompt, field } if key.code == KeyCode::Enter => {
                Wish::Entered(*prompt, field.value().to_owned())
            }
            Self::Prompt { .. } => self.typed(key),
            Self::Palette(palette) => {
                match key.code {
                    KeyCode::Enter => return palette.chosen(),
                    KeyCode::Down => palette.list.step(1),
                    KeyCode::Up => palette.list.step(-1),
                    KeyCode::Char('n') if control => palette.list.step(1),
                    KeyCode::Char('p') if control => palette.list.step(-1),
                    KeyCode::PageDown => palette.list.page(1),
                    KeyCode::PageUp => palette.list.page(-1),
                    _ => return self.typed(key),
                }
                Wish::Stay
            }
            Self::Help { first } => {
                match key.code {
                    KeyCode::Down | KeyCode::Char('j') => *first = first.saturating_add(1),
                    KeyCode::Up | KeyCode::Char('k') => *first = first.saturating_sub(1),
                    KeyCode::PageDown | KeyCode::Char(' ') => *first = first.saturating_add(10),
                    KeyCode::PageUp => *first = first.saturating_sub(10),
                    KeyCode::Home | KeyCode::Char('g') => *first = 0,
                    _ => return Wish::Close,
                }
                Wish::Stay
            }
            Self::Readers => match key.code {
                KeyCode::Char('k') => Wish::Act(Action::ReportKernel),
                KeyCode::Char('v') => Wish::Act(Action::ReportVendor),
                KeyCode::Char('f') => Wish::Act(Action::ReportForum),
                _ => Wish::Close,
            },
        }
    }

    /// A click on a line of the palette.
    pub(super) fn click(&mut self, line: usize) -> Wish {
        let Self::Palette(palette) = self else { return Wish::Close };
        match palette.list.at(line) {
            Some(row) => {
                palette.list.choose(row);
                palette.chosen()
            }
            None => Wish::Stay,
        }
    }

    pub(super) fn wheel(&mut self, by: isize) {
        match self {
            Self::Palette(palette) => palette.list.step(by),
            Self::Help { first } => *first = first.saturating_add_signed(by),
            Self::Prompt { .. } | Self::Readers => {}
        }
    }

    fn typed(&mut self, key: KeyEvent) -> Wish {
        let field = match self {
            Self::Prompt { field, .. } => field,
            Self::Palette(palette) => &mut palette.field,
            Self::Help { .. } | Self::Readers => return Wish::Stay,
        };
        if field.value().len() < MAX_TYPED || !matches!(key.code, KeyCode::Char(_)) {
            field.handle_event(&Input::Key(key));
        }
        if let Self::Palette(palette) = self {
            let rows = palette.offers().len();
            palette.list.set_rows(rows);
            palette.list.choose(0);
        }
        Wish::Stay
    }
}
