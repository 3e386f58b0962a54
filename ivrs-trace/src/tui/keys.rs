//! Which key does what: the keys of [`ACTIONS`], or those that the configuration gives them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use thiserror::Error;

use super::{
    View,
    action::{Action, Known},
    actions::ACTIONS,
};

/// A key with what is held down beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chord {
    code: KeyCode,
    control: bool,
    alt: bool,
}

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a key; keys are written like x, X, ctrl-x, alt-x, enter, esc, space, tab, \
     backtab, backspace, delete, up, down, left, right, home, end, pageup, pagedown, f1"
)]
pub struct ParseChordError {
    text: String,
}

/// Keys that have names.
const NAMED: [(&str, KeyCode); 16] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("space", KeyCode::Char(' ')),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

impl FromStr for Chord {
    type Err = ParseChordError;

    fn from_str(text: &str) -> Result<Self, ParseChordError> {
        let mut rest = text;
        let (mut control, mut alt) = (false, false);
        loop {
            if let Some(after) = rest.strip_prefix("ctrl-") {
                (rest, control) = (after, true);
            } else if let Some(after) = rest.strip_prefix("alt-") {
                (rest, alt) = (after, true);
            } else {
                break;
            }
        }
        let error = || ParseChordError { text: text.to_owned() };
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(one), None) if !one.is_control() && one != ' ' => KeyCode::Char(one),
            _ => match rest.strip_prefix('f').and_then(|number| number.parse().ok()) {
                Some(number @ 1..=24) => KeyCode::F(number),
                _ => NAMED.iter().find(|(name, _)| *name == rest).ok_or_else(error)?.1,
            },
        };
        Ok(Self { code, control, alt })
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.control {
            f.write_str("ctrl-")?;
        }
        if self.alt {
            f.write_str("alt-")?;
        }
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((name, _)), _) => f.write_str(name),
            (None, KeyCode::Char(one)) => write!(f, "{one}"),
            (None, KeyCode::F(number)) => write!(f, "f{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

impl From<KeyEvent> for Chord {
    /// Shift is part of the character.
    fn from(key: KeyEvent) -> Self {
        Self {
            code: key.code,
            control: key.modifiers.contains(KeyModifiers::CONTROL),
            alt: key.modifiers.contains(KeyModifiers::ALT),
        }
    }
}

/// Why keys cannot be as they are configured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeysError {
    /// There is no such action.
    #[error("there is no action {0:?}; the help of the dashboard (?) and its palette (:) name all")]
    Action(String),
    /// What is given as a key is none.
    #[error("action {action:?}: {error}")]
    Chord {
        /// The action.
        action: String,
        /// What is wrong.
        error: ParseChordError,
    },
    /// Two actions that can be done in the same place have the same key.
    #[error("the key {chord} is given to both {first:?} and {second:?}")]
    Twice {
        /// The key.
        chord: String,
        /// An action with it.
        first: &'static str,
        /// Another one.
        second: &'static str,
    },
    /// Nothing would leave the program.
    #[error("no key is left for \"quit\"")]
    NoQuit,
}

/// The key table.
#[derive(Clone, Debug)]
pub struct Keys {
    table: Vec<(&'static Known, Vec<Chord>)>,
}

impl Keys {
    /// The default keys, but for those actions that `configured` gives others, by name.
    ///
    /// # Errors
    /// Where a name or a key is none, or a key would do two things in one place.
    pub fn new(configured: &BTreeMap<String, Vec<String>>) -> Result<Self, KeysError> {
        if let Some(name) =
            configured.keys().find(|name| ACTIONS.iter().all(|known| known.name != **name))
        {
            return Err(KeysError::Action(name.clone()));
        }
        let mut table = Vec::new();
        for known in ACTIONS.iter() {
            let own = configured.get(known.name);
            let texts: Vec<&str> = match own {
                Some(texts) => texts.iter().map(String::as_str).collect(),
                None => known.keys.to_vec(),
            };
            let chords = texts.into_iter().map(str::parse).collect::<Result<Vec<Chord>, _>>();
            let chords = chords
                .map_err(|error| KeysError::Chord { action: known.name.to_owned(), error })?;
            table.push((known, chords, own.is_some()));
        }
        // A configured key is taken from whatever has it by default.
        let taken: Vec<(Chord, &'static Known)> = table
            .iter()
            .filter(|(_, _, own)| *own)
            .flat_map(|(known, chords, _)| chords.iter().map(move |chord| (*chord, *known)))
            .collect();
        for (known, chords, own) in &mut table {
            if !*own {
                chords.retain(|chord| {
                    !taken.iter().any(|(other, by)| other == chord && meet(known, by))
                });
            }
        }
        for (index, (first, chords, _)) in table.iter().enumerate() {
            for (second, others, _) in table.iter().skip(index + 1) {
                let same = chords.iter().find(|chord| others.contains(chord));
                if let Some(chord) = same.filter(|_| meet(first, second)) {
                    return Err(KeysError::Twice {
                        chord: chord.to_string(),
                        first: first.name,
                        second: second.name,
                    });
                }
            }
        }
        // Other keys do not take away what ends every program, unless it is given to something else.
        let end = Chord::from_str("ctrl-c")
            .map_err(|error| KeysError::Chord { action: "quit".to_owned(), error })?;
        let free = table.iter().all(|(_, chords, _)| !chords.contains(&end));
        if let Some((_, chords, _)) = table
            .iter_mut()
            .find(|(known, chords, _)| known.action == Action::Quit && !chords.is_empty() && free)
        {
            chords.push(end);
        }
        if table.iter().any(|(known, chords, _)| known.action == Action::Quit && chords.is_empty())
        {
            return Err(KeysError::NoQuit);
        }
        Ok(Self { table: table.into_iter().map(|(known, chords, _)| (known, chords)).collect() })
    }

    /// What a key does in a view.
    pub(super) fn action(&self, chord: Chord, view: View, replay: bool) -> Option<Action> {
        self.in_place(view, replay)
            .find(|(_, chords)| chords.contains(&chord))
            .map(|(known, _)| known.action)
    }

    /// The actions that can be done in a view, each with its keys.
    pub(super) fn in_place(
        &self,
        view: View,
        replay: bool,
    ) -> impl Iterator<Item = (&'static Known, &[Chord])> {
        self.table
            .iter()
            .filter(move |(known, _)| known.holds(view, replay))
            .map(|(known, chords)| (*known, chords.as_slice()))
    }

    /// The first key of an action, for a hint; empty if it has none.
    pub(super) fn hint(&self, action: Action) -> String {
        let found = self.table.iter().find(|(known, _)| known.action == action);
        found.and_then(|(_, chords)| chords.first()).map(Chord::to_string).unwrap_or_default()
    }
}

/// Whether two actions can be done in the same place.
fn meet(one: &Known, other: &Known) -> bool {
    View::ALL.iter().any(|view| {
        [false, true].iter().any(|replay| one.holds(*view, *replay) && other.holds(*view, *replay))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn configured(rows: &[(&str, &[&str])]) -> Result<Keys, KeysError> {
        Keys::new(
            &rows
                .iter()
                .map(|(name, keys)| {
                    ((*name).to_owned(), keys.iter().map(|key| (*key).to_owned()).collect())
                })
                .collect(),
        )
    }

    fn chord(text: &str) -> Chord {
        text.parse().unwrap()
    }

    #[test]
    fn every_key_of_the_table_is_one_and_does_one_thing() {
        let keys = configured(&[]).unwrap();
        assert_eq!(keys.action(chord("j"), View::Devices, false), Some(Action::Down));
        assert_eq!(keys.action(chord("space"), View::Devices, false), None);
        assert_eq!(keys.action(chord("space"), View::Devices, true), Some(Action::Play));
        assert_eq!(keys.action(chord("R"), View::Devices, true), None);
        assert_eq!(keys.action(chord("t"), View::Devices, false), Some(Action::Gather));
        assert_eq!(keys.action(chord("t"), View::Events, false), None);
        assert_eq!(keys.hint(Action::Help), "?");
    }

    #[test]
    fn a_configured_key_replaces_the_default_ones() {
        let keys = configured(&[("quit", &["ctrl-q"]), ("zoom", &["q"])]).unwrap();
        assert_eq!(keys.action(chord("ctrl-q"), View::Health, false), Some(Action::Quit));
        assert_eq!(keys.action(chord("q"), View::Health, false), Some(Action::Zoom));
        assert_eq!(keys.action(chord("ctrl-c"), View::Health, false), Some(Action::Quit));
        let keys = configured(&[("quit", &["Q"]), ("zoom", &["ctrl-c"])]).unwrap();
        assert_eq!(keys.action(chord("ctrl-c"), View::Health, false), Some(Action::Zoom));
        // A default key gives way to a configured one.
        let keys = configured(&[("zoom", &["j"])]).unwrap();
        assert_eq!(keys.action(chord("j"), View::Events, false), Some(Action::Zoom));
        assert_eq!(keys.action(chord("down"), View::Events, false), Some(Action::Down));
    }

    #[test]
    fn what_cannot_be_is_told() {
        type Row<'a> = (&'a str, &'a [&'a str]);
        let cases: [(&[Row<'_>], &str); 5] = [
            (&[("fly", &["x"])], "no action \"fly\""),
            (&[("quit", &["ctrl-"])], "\"ctrl-\" is not a key"),
            (&[("quit", &["hyper-x"])], "is not a key"),
            (&[("quit", &[])], "no key is left"),
            (&[("quit", &["x"]), ("zoom", &["x"])], "given to both \"quit\" and \"zoom\""),
        ];
        for (rows, expected) in cases {
            let error = configured(rows).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(ctrl-)?(alt-)?([a-zA-Z?!/]|f[1-9]|tab|esc)") {
            prop_assert_eq!(chord(&text).to_string(), text);
        }

        #[test]
        fn any_text_is_an_answer(text in ".*") {
            let _ = text.parse::<Chord>();
        }
    }
}
