//! A stream of events, any after any: attempts, causes and verdicts, and the words for them.
#![no_main]

use std::sync::LazyLock;

use ivrs_trace::{
    event::Event,
    host::Snapshot,
    model::{Model, RequireDirect},
};
use ivrs_trace_fuzz::{bounded, host, script, words};
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<Snapshot> = LazyLock::new(|| {
    host::snapshot().unwrap_or_else(|error| {
        eprintln!("cannot write the host's files: {error}");
        std::process::exit(1)
    })
});

fuzz_target!(|data: &[u8]| {
    // Made before memory is counted.
    LazyLock::force(&HOST);
    bounded(data, 512, || {
        let mut model = Model::new(HOST.clone(), RequireDirect::Present);
        let mut count = 0_usize;
        for (number, bytes) in (0..).zip(script::events(data)) {
            match Event::decode(&bytes) {
                Ok(event) => model.observe(number, &event),
                Err(error) => assert!(bytes.is_empty(), "a record is an event: {error}"),
            }
            count += 1;
        }
        model.finish();
        assert!(model.attempts().len() <= count, "an event begins one attempt at most");
        // An attempt's refusals name what the kernel listed, up to 64 regions each.
        bounded(data, 16 * 1024, || {
            words::of_attempts(&model);
            words::of_host(&model);
        });
    });
});
