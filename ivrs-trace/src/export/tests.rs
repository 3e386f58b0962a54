//! The exports as other programs read them.
#![cfg(feature = "pci-names")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{csv, json, perfetto, prometheus};
use crate::{
    event::{Body, Event},
    facts::Clocks,
    model::{Model, RequireDirect, fixture::QEMU},
    report::{
        readers::{Told, hostile, hosts, refused},
        valid::errors_of,
    },
};

const BEGAN: Clocks = Clocks { monotonic_ns: 14_441_272_661, realtime_ns: 7, boottime_ns: 0 };

fn lines(told: &Told) -> Vec<Value> {
    let verdicts = told.model.verdicts();
    let host: json::Line<'_> = json::host(&told.model, verdicts, &told.probes, Some(BEGAN));
    let events = told.events.iter().map(|(number, event)| json::event(*number, event));
    let count = u64::try_from(told.events.len()).unwrap();
    let rest = json::rest(&told.model, count, told.lost);
    [host]
        .into_iter()
        .chain(events)
        .chain(rest)
        .map(|line: json::Line<'_>| {
            let text = serde_json::to_string(&line).unwrap();
            assert!(!text.contains(['\n', '\u{1b}', '\u{202e}', '\u{200b}']), "{text}");
            serde_json::from_str(&text).unwrap()
        })
        .collect()
}

#[test]
fn every_line_of_json_fits_its_schema() {
    for told in hosts().into_iter().map(|(_, told)| told).chain([hostile()]) {
        let lines = lines(&told);
        for line in &lines {
            assert_eq!(errors_of("export", line), [""; 0], "{line}");
        }
        let records: Vec<&str> =
            lines.iter().map(|line| line["record"].as_str().unwrap()).collect();
        assert_eq!(records.first(), Some(&"host"));
        assert_eq!(records.last(), Some(&"end"));
        let count = |kind| records.iter().filter(|one| **one == kind).count();
        assert_eq!(count("event"), told.events.len());
        assert_eq!(count("attempt"), told.model.attempts().len());
        assert_eq!(lines.last().unwrap()["events"], told.events.len());
    }
    let lines = lines(&refused());
    assert_eq!(lines[0]["schema"], "ivrs-trace/export/1");
    assert_eq!(lines[0]["check"]["schema"], "ivrs-trace/check/1");
    assert!(lines[0]["ivrs"].as_str().unwrap().starts_with("49565253"));
    let attempt = lines.iter().find(|line| line["record"] == "attempt").unwrap();
    assert_eq!(attempt["outcome"], "rejected");
    assert_eq!(attempt["rejections"][0]["causes"][0]["ivmd"], 0);
    // A schema that lets anything pass would show nothing.
    for wrong in [
        serde_json::json!({"record": "end"}),
        serde_json::json!({"record": "event", "number": 1}),
        serde_json::json!({"record": "nothing"}),
    ] {
        assert_ne!(errors_of("export", &wrong), [""; 0], "{wrong}");
    }
}

fn events_csv(events: &[(u64, Event)]) -> Vec<Vec<String>> {
    let mut bytes = Vec::new();
    let mut writer = csv::Events::new(&mut bytes).unwrap();
    for (number, event) in events {
        writer.add(*number, event).unwrap();
    }
    writer.finish().unwrap();
    read_csv(&bytes)
}

fn read_csv(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn rows_of_csv_are_what_they_are_called() {
    let told = refused();
    let rows = events_csv(&told.events);
    assert_eq!(rows.len(), told.events.len() + 1);
    let column = |name: &str| rows[0].iter().position(|one| one == name).unwrap();
    let refusal = rows.iter().find(|row| row[column("kind")] == "set_domain").unwrap();
    assert_eq!(refusal[column("device")], "0000:01:00.0");
    assert_eq!(refusal[column("group")], "14");
    assert_eq!(refusal[column("ret")], "-22");
    assert_eq!(refusal[column("errno")], "EINVAL");
    assert_eq!(refusal[column("phase")], "");

    let not_opened = [(0, QEMU.event(Body::DeviceOpen { ret: -22 }))];
    let opening = &events_csv(&not_opened)[1];
    assert_eq!((&*opening[column("ret")], &*opening[column("errno")]), ("-22", "EINVAL"));

    let mut bytes = Vec::new();
    csv::devices(&mut bytes, &told.model, &told.model.verdicts()).unwrap();
    let rows = read_csv(&bytes);
    let column = |name: &str| rows[0].iter().position(|one| one == name).unwrap();
    let card = rows.iter().find(|row| row[0] == "0000:01:00.0").unwrap();
    assert_eq!(card[column("vendor")], "0x10de");
    assert_eq!(card[column("verdict")], "blocked");
    assert_eq!(card[column("ivmd")], "0 1 2");
    assert_eq!(rows.len(), 11);
}

#[test]
fn no_cell_is_a_formula_and_no_row_has_a_line_end() {
    for comm in ["=cmd|'/c calc'!A1", "+1", "-1", "@x", " =1"] {
        let mut event = QEMU.event(Body::ModuleLoad { name: "\"a\",b".to_owned() });
        comm.clone_into(&mut event.comm);
        let rows = events_csv(&[(0, event)]);
        assert_eq!(rows[1][4], format!("'{comm}"));
        assert_eq!(rows[1][13], "module \"a\",b loaded");
    }
    for row in events_csv(&hostile().events) {
        for cell in row {
            assert!(!cell.chars().any(char::is_control), "{cell:?}");
        }
    }
}

fn trace(events: &[(u64, Event)], model: &Model) -> Value {
    let mut bytes = Vec::new();
    let mut trace = perfetto::Trace::new(&mut bytes).unwrap();
    trace.began(BEGAN.monotonic_ns);
    for (number, event) in events {
        trace.add(*number, event).unwrap();
    }
    trace.finish(model).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{200b}']));
    serde_json::from_str(&text).unwrap()
}

/// Reads a trace as Perfetto does: slices nest, tracks have names. Returns how many slices were
/// closed, by name.
fn decode(whole: &Value) -> BTreeMap<String, usize> {
    let schema: Value = serde_json::from_str(include_str!("trace-event.schema.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<String> = schema
        .iter_errors(whole)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
    let mut open: BTreeMap<(u64, u64), Vec<(String, f64)>> = BTreeMap::new();
    let mut until: BTreeMap<(u64, u64), f64> = BTreeMap::new();
    let mut named = BTreeSet::new();
    let mut used = BTreeSet::new();
    let mut closed = BTreeMap::new();
    for event in whole["traceEvents"].as_array().unwrap() {
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let name = event["name"].as_str().unwrap().to_owned();
        let ts = event["ts"].as_f64();
        match event["ph"].as_str().unwrap() {
            "B" => open.entry(track).or_default().push((name, ts.unwrap())),
            "E" => {
                let (begun, start) = open.get_mut(&track).unwrap().pop().expect("nothing is open");
                assert_eq!(begun, name);
                assert!(ts.unwrap() >= start);
                *closed.entry(name).or_default() += 1;
            }
            "X" => {
                let last = until.insert(track, ts.unwrap() + event["dur"].as_f64().unwrap());
                assert!(last.is_none_or(|last| last <= ts.unwrap()), "slices overlap: {event}");
                *closed.entry(name).or_default() += 1;
            }
            "i" => *closed.entry(format!("! {name}")).or_default() += 1,
            "M" => {
                if name == "thread_name" {
                    named.insert(track);
                }
                continue;
            }
            other => panic!("{other}"),
        }
        used.insert(track);
    }
    assert!(open.values().all(Vec::is_empty), "{open:?}");
    assert!(used.is_subset(&named), "{used:?} {named:?}");
    closed
}

#[test]
fn a_trace_nests_its_calls_and_shows_attempts_and_refusals() {
    let told = refused();
    let trace = trace(&told.events, &told.model);
    let closed = decode(&trace);
    let count = |name: &str| closed.get(name).copied().unwrap_or_default();
    assert_eq!(count("vfio_group_fops_unl_ioctl VFIO_GROUP_SET_CONTAINER"), 3);
    assert_eq!(count("iommu_group_claim_dma_owner"), 3);
    // On the track of the process, and on that of the device.
    assert_eq!(count("attempt on 0000:01:00.0: refused for a 1:1 map"), 4);
    assert_eq!(count("! REFUSED for a 1:1 map"), 4);
    assert_eq!(count("attempt on 0000:04:00.0: failed"), 2);
    let names: Vec<&str> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["ph"] == "M")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    for name in ["devices", "qemu-system-x86", "attempts", "0000:01:00.0", "0000:01:00.0 attempts"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    // The events are a microsecond apart.
    let first =
        trace["traceEvents"].as_array().unwrap().iter().find(|one| one["ph"] == "B").unwrap();
    assert_eq!(first["ts"].as_f64(), first["args"]["event"].as_f64());
}

#[test]
fn a_trace_is_whole_whatever_was_lost() {
    let told = refused();
    for lost in 0..told.events.len() {
        // One event, all before it, all after it.
        let one: Vec<_> = [&told.events[..lost], &told.events[lost + 1..]].concat();
        for events in [&one[..], &told.events[lost..], &told.events[..lost]] {
            decode(&trace(events, &told.model));
        }
    }
    for (_, told) in hosts() {
        decode(&trace(&told.events, &told.model));
    }
    let told = hostile();
    decode(&trace(&told.events, &told.model));
}

/// Reads metrics as strictly as Prometheus's text format (0.0.4) and the textfile collector ask for:
/// every sample belongs to the family above it, and is there once. By sample, its value.
fn read_metrics(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family = String::new();
    let mut helped = String::new();
    let name_ok = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(name_ok(name) && help.ends_with('.'), "{line}");
            assert!(families.insert(name.to_owned()), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{helped} gauge"));
            family.clone_from(&helped);
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            assert_eq!(name, family, "{line}");
            let mut rest = labels.strip_suffix('}').unwrap();
            while !rest.is_empty() {
                let (label, value) = rest.split_once("=\"").unwrap();
                assert!(name_ok(label), "{line}");
                let mut chars = value.char_indices();
                let end = loop {
                    match chars.next().unwrap() {
                        (_, '\\') => assert!(matches!(chars.next().unwrap().1, '\\' | '"' | 'n')),
                        (at, '"') => break at,
                        (_, c) => assert!(!c.is_control(), "{line:?}"),
                    }
                };
                rest = &value[end + 1..];
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            let value = value.parse().unwrap();
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}

#[test]
fn metrics_say_what_check_says() {
    let told = refused();
    let text = prometheus::metrics(&told.model, &told.model.verdicts());
    insta::assert_snapshot!("metrics_refused", text);
    let samples = read_metrics(&text);
    for (sample, value) in [
        ("ivrs_trace_kernel_rejects", 1.0),
        ("ivrs_trace_devices{verdict=\"blocked\"}", 8.0),
        ("ivrs_trace_devices{verdict=\"clear\"}", 2.0),
        ("ivrs_trace_groups{verdict=\"blocked\"}", 6.0),
        ("ivrs_trace_causes{kind=\"exclusion_range\"}", 3.0),
        ("ivrs_trace_ivmd_blocks{heeded=\"yes\"}", 3.0),
        ("ivrs_trace_dma_protection", 1.0),
        ("ivrs_trace_direct_regions{type=\"direct\"}", 12.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}\n{text}");
    }
    for (name, told) in hosts().into_iter().chain([("hostile", hostile())]) {
        let samples = read_metrics(&prometheus::metrics(&told.model, &told.model.verdicts()));
        assert!(samples.keys().any(|name| name.starts_with("ivrs_trace_host_info{")), "{name}");
    }
}

#[test]
fn what_is_not_known_has_no_metric() {
    let model = Model::new(crate::host::Snapshot::default(), RequireDirect::Unknown);
    let samples = read_metrics(&prometheus::metrics(&model, &model.verdicts()));
    let has = |name: &str| samples.keys().any(|sample| sample.starts_with(name));
    assert!(!has("ivrs_trace_kernel_rejects") && !has("ivrs_trace_ivmd_blocks"), "{samples:?}");
    assert_eq!(samples.get("ivrs_trace_devices{verdict=\"blocked\"}"), Some(&0.0));
}
