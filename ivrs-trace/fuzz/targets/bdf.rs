//! A PCI address, a devid and a segment as text.
#![no_main]

use ivrs_trace::pci::{Bdf, Devid, Segment};
use ivrs_trace_fuzz::{assert_printable, bounded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bounded(data, 64, || {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Bdf>() {
        Ok(bdf) => {
            assert_eq!(bdf.to_string().parse(), Ok(bdf));
            let devid = bdf.devid;
            let again = Devid::new(devid.bus(), devid.device(), devid.function());
            assert_eq!(again, Some(devid));
        }
        Err(error) => assert_printable(&error.to_string()),
    }
    if let Ok(devid) = Devid::try_from(text.clone().into_owned()) {
        assert_eq!(Devid::try_from(String::from(devid)), Ok(devid));
    }
    if let Ok(segment) = Segment::try_from(text.into_owned()) {
        assert_eq!(Segment::try_from(String::from(segment)), Ok(segment));
    }
}));
