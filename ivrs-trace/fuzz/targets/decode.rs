//! The reports on an IVRS table, as text and as a document.
#![no_main]

use ivrs_trace::{
    firmware::amd::{ivrs::Ivrs, kernel::KernelView},
    report::{
        Style,
        decode::{self, Detail},
    },
};
use ivrs_trace_fuzz::{assert_printable, bounded};
use libfuzzer_sys::fuzz_target;

// Four bytes can be a device entry, which becomes some lines.
fuzz_target!(|data: &[u8]| bounded(data, 1024, || {
    match Ivrs::parse(data) {
        Ok(table) => {
            let view = KernelView::new(&table);
            for detail in [Detail::Used, Detail::All] {
                assert_printable(&decode::text(&table, &view, detail, Style::default()));
            }
            let json = serde_json::to_string(&decode::decode(&table, &view));
            assert!(json.is_ok(), "{json:?}");
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}));
