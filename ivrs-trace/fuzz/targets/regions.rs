//! The lines of a `reserved_regions` file.
#![no_main]

use ivrs_trace::host::ReservedRegion;
use ivrs_trace_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bounded(data, 64, || {
    for line in String::from_utf8_lossy(data).lines() {
        match line.parse::<ReservedRegion>() {
            Ok(region) => {
                // As the kernel writes it.
                let ReservedRegion { start, end_inclusive, kind } = &region;
                let again = format!("{start:#018x} {end_inclusive:#018x} {kind}");
                assert_eq!(again.parse().as_ref(), Ok(&region), "{line:?}");
                let past = region.start.wrapping_add(region.length());
                assert_eq!(past, end_inclusive.wrapping_add(1), "{line:?}");
            }
            Err(error) => assert_eq!(error.line, line),
        }
    }
}));
