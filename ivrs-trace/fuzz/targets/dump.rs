//! Whatever somebody pastes: a table in any form, or a kernel's log of one.
#![no_main]

use ivrs_trace::{
    firmware::{
        Dmar, Ivrs, TableError,
        amd::ivrs::SIGNATURE,
        dump::{self, Dump, TABLE_LIMIT, TableDump},
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
            assert!(!found.is_empty());
            for one in found {
                for note in one.notes() {
                    assert_printable(note);
                }
                match one {
                    Dump::Table(found) => of_table(&found),
                    Dump::Log(log) => {
                        assert_printable(&decode::log_text(&log, Style::default()));
                        let json = serde_json::to_string(&decode::decode_log(&log));
                        assert!(json.is_ok(), "{json:?}");
                    }
                }
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert_printable(&text);
            assert!(!text.contains('\n'), "an error is one line: {text:?}");
        }
    }
}));

fn of_table(found: &TableDump) {
    assert!(found.table.len() <= TABLE_LIMIT);
    // As many bytes as the header says are there, but it may say too few.
    let error = if found.table.starts_with(&SIGNATURE) {
        Ivrs::parse(&found.table).err()
    } else {
        assert!(found.table.starts_with(&dmar::SIGNATURE));
        Dmar::parse(&found.table).err()
    };
    match error {
        None | Some(TableError::LengthTooSmall { .. }) => {}
        error => assert_eq!(error, None, "from {}", found.form),
    }
    // What was found is found again unchanged.
    if let Ok([Dump::Table(again)]) = dump::read(&found.table).as_deref() {
        assert_eq!(again.table, found.table);
    }
}
