//! Whatever somebody pastes: a table in any form, or a kernel's log of one.
#![no_main]

use ivrs_trace::{
    firmware::{
        Dmar, Ivrs, TableError,
        amd::ivrs::SIGNATURE,
        dump::{self, Dump, TABLE_LIMIT},
        intel::dmar,
    },
    report::{Style, decode},
};
use ivrs_trace_fuzz::{assert_printable, bounded};
use libfuzzer_sys::fuzz_target;

// Lines of a log become lines of text.
fuzz_target!(|data: &[u8]| bounded(data, 512, || {
    match dump::read(data) {
        Ok(found) => {
            for note in found.notes() {
                assert_printable(note);
            }
            match found {
                Dump::Table(found) => {
                    assert!(found.table.starts_with(&SIGNATURE));
                    assert!(found.table.len() <= TABLE_LIMIT);
                    // As many bytes as the header says are there, but it may say too few.
                    match Ivrs::parse(&found.table) {
                        Ok(_) | Err(TableError::LengthTooSmall { .. }) => {}
                        Err(error) => assert_eq!(Some(error), None, "from {}", found.form),
                    }
                    // What was found is found again unchanged.
                    if let Ok(Dump::Table(again)) = dump::read(&found.table) {
                        assert_eq!(again.table, found.table);
                    }
                }
                Dump::Log(log) => {
                    assert_printable(&decode::log_text(&log, Style::default()));
                    let json = serde_json::to_string(&decode::decode_log(&log));
                    assert!(json.is_ok(), "{json:?}");
                }
            }
        }
        Err(error) => {
            of_dmar(data);
            let text = error.to_string();
            assert_printable(&text);
            assert!(!text.contains('\n'), "an error is one line: {text:?}");
        }
    }
}));

/// The same input as one that may hold a DMAR.
fn of_dmar(data: &[u8]) {
    match dump::read_dmar(data) {
        Ok(Some(found)) => {
            assert!(found.table.starts_with(&dmar::SIGNATURE));
            assert!(found.table.len() <= TABLE_LIMIT);
            match Dmar::parse(&found.table) {
                Ok(_) | Err(TableError::LengthTooSmall { .. }) => {}
                Err(error) => assert_eq!(Some(error), None, "from {}", found.form),
            }
        }
        Ok(None) => {}
        Err(error) => assert_printable(&error.to_string()),
    }
}
