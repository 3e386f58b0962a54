//! Every report on a model, made and checked.

use ivrs_trace::{
    facts::Lost,
    firmware::EntryId,
    model::{
        Change, Model,
        diff::{Scope, compare},
    },
    report::{self, Style},
};
use serde_json::to_string;

use crate::assert_printable;

/// The reports of `check`, `diff` and `what-if` on a host.
///
/// # Panics
/// If one fails or has what a terminal would obey.
pub fn of_host(model: &Model) {
    let verdicts = model.verdicts();
    assert_printable(&report::check(model, &verdicts, Style::default()));
    assert!(to_string(&report::json::check(model, verdicts)).is_ok(), "check has no JSON");
    for scope in [Scope::Host, Scope::Table] {
        let same = compare(model, model, scope);
        assert_printable(&report::diff(&same, Style::default()));
        assert!(same.is_empty(), "a host differs from itself");
    }
    let mut changes = vec![
        Change::Without { entry: EntryId::Ivmd(0) },
        Change::Relax { entry: EntryId::Ivmd(1) },
    ];
    let functions = model.host().functions.value().map_or(&[][..], Vec::as_slice);
    if let [first, .., last] = functions {
        changes.push(Change::Narrow { ivmd: 2, first: first.bdf, last: first.bdf });
        changes.push(Change::Move { from: last.bdf, to: first.bdf });
    }
    // All at once is mostly too much.
    for changes in changes.chunks(1).chain([changes.as_slice()]) {
        match model.what_if(changes) {
            Ok(answer) => {
                assert_printable(&report::what_if(&answer, Style::default()));
                assert!(to_string(&report::json::what_if(&answer)).is_ok(), "no JSON");
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains('\n'), "an error is one line: {text:?}");
                assert_printable(&text);
            }
        }
    }
}

/// The reports of `run` on attempts.
///
/// # Panics
/// If one fails or has what a terminal would obey.
pub fn of_attempts(model: &Model) {
    assert_printable(&report::attempts(model, Lost::default(), Style::default()));
    for attempt in model.attempts() {
        assert_printable(&report::one_line(attempt));
    }
    let json = to_string(&report::json::run(model, Lost::default(), Some(0)));
    assert!(json.is_ok(), "run has no JSON");
}
