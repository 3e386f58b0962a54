//! A host written down as JSON: verdicts on whatever devices, groups and tables it claims to have.
#![no_main]

use ivrs_trace::{
    host::Snapshot,
    model::{Model, RequireDirect},
};
use ivrs_trace_fuzz::{bounded, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Every IVMD block can cover every device, and is reported with each.
    bounded(data, 4 * 1024, || {
        let Ok(host) = serde_json::from_slice::<Snapshot>(data) else { return };
        let json = serde_json::to_vec(&host).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Snapshot>(&json).ok().as_ref(), Some(&host));
        for flag in [RequireDirect::Present, RequireDirect::Missing, RequireDirect::Unknown] {
            words::of_host(&Model::new(host.clone(), flag));
        }
    });
});
