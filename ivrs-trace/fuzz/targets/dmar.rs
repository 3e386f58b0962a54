//! A DMAR table: parser, findings, the way back through the builder, and the reports on it.
#![no_main]

use ivrs_trace::{
    firmware::intel::{
        builder::DmarBuilder,
        dmar::{Dmar, HEADER_LENGTH},
        findings,
    },
    report::{
        Style,
        decode::{self, Detail},
    },
};
use ivrs_trace_fuzz::{assert_printable, bounded};
use libfuzzer_sys::fuzz_target;

// Two bytes can be a device scope, which becomes a line.
fuzz_target!(|data: &[u8]| bounded(data, 2048, || {
    match Dmar::parse(data) {
        Ok(table) => parsed(&table),
        Err(error) => assert_printable(&error.to_string()),
    }
}));

fn parsed(table: &Dmar) {
    for finding in findings::of_table(table) {
        assert_printable(&finding.message);
    }
    for detail in [Detail::Used, Detail::All] {
        assert_printable(&decode::dmar_text(table, detail, Style::default()));
    }
    let json = serde_json::to_string(&decode::decode_dmar(table));
    assert!(json.is_ok(), "{json:?}");
    if table.truncation.is_none() {
        let bytes = DmarBuilder::like(table).build().unwrap_or_default();
        assert_eq!(bytes.get(HEADER_LENGTH..), table.bytes().get(HEADER_LENGTH..));
    }
}
