//! One wire event: decoded, as a line of text and as JSON.
#![no_main]

use ivrs_trace::event::Event;
use ivrs_trace_fuzz::{assert_printable, bounded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bounded(data, 64, || {
    match Event::decode(data) {
        Ok(event) => {
            let line = event.to_string();
            assert_printable(&line);
            assert!(!line.contains('\n'), "an event is one line: {line:?}");
            let json = serde_json::to_string(&event);
            assert!(json.is_ok(), "{json:?}");
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}));
