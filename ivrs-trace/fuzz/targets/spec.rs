//! An IVMD block as text: what parses comes out of a built table the same.
#![no_main]

use ivrs_trace::firmware::amd::{builder::IvmdSpec, ivrs::Ivrs};
use ivrs_trace_fuzz::{assert_printable, bounded, host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bounded(data, 64, || {
    match String::from_utf8_lossy(data).parse::<IvmdSpec>() {
        Ok(spec) => {
            let bytes = host::table(&[spec]).build().unwrap_or_default();
            let table = Ivrs::parse(&bytes);
            let found = table.as_ref().ok().and_then(|table| table.ivmd.first());
            assert_eq!(found.map(IvmdSpec::from), Some(spec));
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}));
