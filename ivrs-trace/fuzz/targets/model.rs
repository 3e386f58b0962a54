//! A stream of events, any after any: attempts, causes and verdicts, and the words for them.
#![no_main]

use std::sync::LazyLock;

use ivrs_trace::{
    event::Event,
    host::Snapshot,
    model::{Model, RequireDirect},
    report::{self, Lost},
};
use ivrs_trace_fuzz::{assert_printable, bounded, host, script};
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
        bounded(data, 16 * 1024, || words(&model));
    });
});

fn words(model: &Model) {
    assert_printable(&report::attempts(model, Lost::default()));
    for attempt in model.attempts() {
        assert_printable(&report::one_line(attempt));
    }
    let verdicts = model.verdicts();
    assert_printable(&report::check(model, &verdicts));
    let json = serde_json::to_string(&report::json::run(model, Lost::default(), 0));
    assert!(json.is_ok(), "{json:?}");
    let json = serde_json::to_string(&report::json::check(model, verdicts));
    assert!(json.is_ok(), "{json:?}");
}
