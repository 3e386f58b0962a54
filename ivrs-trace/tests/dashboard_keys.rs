//! The documentation of the dashboard names every action, with its keys, as the key table has them.
#![cfg(feature = "tui")]

use std::{fs, path::Path};

use ivrs_trace::tui::{ACTIONS, Known, Scope, View};

fn row(known: &Known) -> String {
    let keys: Vec<String> = known.keys.iter().map(|key| format!("`{key}`")).collect();
    let place = match known.scope {
        Scope::Everywhere => String::new(),
        Scope::Own => {
            let views = View::ALL.into_iter().filter(|view| known.holds(*view, false));
            views.map(|view| view.title().0).collect::<Vec<_>>().join(", ")
        }
        Scope::Live => "live".to_owned(),
        Scope::Replay => "replay".to_owned(),
    };
    format!("| `{}` | {} | {} | {place} |", known.name, keys.join(" "), known.does)
}

#[test]
fn the_documentation_has_the_key_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboard.md");
    let text = fs::read_to_string(path).unwrap();
    let documented: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let wanted: Vec<String> = ACTIONS.iter().map(row).collect();
    assert_eq!(documented, wanted, "docs/dashboard.md should have:\n{}", wanted.join("\n"));
}
