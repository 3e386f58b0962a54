//! The texts as a user reads them, and the documents as a program does.

use serde_json::Value;

use super::{
    Style, attempts, check, diff, hex_bytes, json, size,
    valid::{assert_wrong, parsed},
    what_if,
};
use crate::firmware::EntryId;
use crate::{
    event::{Body, DeviceFunction, Event, Phase, VfioRequest},
    facts::Lost,
    host::{Reading, Snapshot},
    model::{
        Change, Model, RequireDirect,
        diff::{Diff, Scope, compare},
        fixture::{
            AM5, GROUPS, Owned, QEMU, SINGLE, Thread, bdf, device, host, model, model_of, table,
        },
    },
};

const NO_LOSS: Lost = Lost { ring: 0, read: 0, queue: 0 };
const LIBVIRT: &str = "qemu-system-x86_64|-name|guest=win11,debug-threads=on|-device|\
                       {\"driver\":\"vfio-pci\",\"host\":\"0000:01:00.0\"}";

fn am5() -> Snapshot {
    let groups = "10: 00:01.0*; 14: 01:00.0; 15: 01:00.1; 20: 05:00.0; 31: 12:00.0";
    host(groups, &table(&AM5).ivinfo(0x0020_3042))
}

fn single() -> Snapshot {
    host(GROUPS, &table(&[SINGLE]))
}

fn explain(host: &Snapshot, events: &[Event]) -> String {
    let model = model(host, events);
    parsed(&json::run(&model, NO_LOSS, Some(0)));
    attempts(&model, NO_LOSS, Style::default())
}

#[cfg(feature = "pci-names")]
fn checked(host: &Snapshot, flag: RequireDirect, events: &[Event]) -> String {
    let model = model_of(host, flag, events);
    parsed(&json::check(&model, model.verdicts()));
    check(&model, &model.verdicts(), Style::default())
}

/// One block that covers 00:03.0, and its refusal.
fn one_block(ivmd: &str) -> String {
    let host = host("1: 00:03.0", &table(&[ivmd]));
    explain(&host, &QEMU.rejection(&host, "vfio-attach|00:03.0", 1, &[], "00:03.0"))
}

#[test]
fn attempts_in_words() {
    let (am5, single) = (am5(), single());
    let by_other = QEMU.rejection(&single, "vfio-attach|00:07.0", 5, &["00:07.0"], "00:07.1");
    let claimed = QEMU.attempt("vfio-attach|00:03.0", 1, 0, Owned::default());
    let not_viable = Owned { count: 1, ..Owned::default() };
    let other_table: Vec<Event> = QEMU.rejection(&am5, "vfio-attach|00:03.0", 1, &[], "00:03.0");
    let unexplained = QEMU.attempt("vfio-attach|00:07.0", 5, -22, Owned::default());
    let alike = [
        QEMU.rejection(&am5, LIBVIRT, 14, &[], "01:00.0"),
        QEMU.rejection(&am5, "vfio-attach|05:00.0", 20, &[], "05:00.0"),
    ]
    .concat();
    for (name, text) in [
        ("exclusion", explain(&am5, &QEMU.rejection(&am5, LIBVIRT, 14, &[], "01:00.0"))),
        ("another_device", explain(&single, &by_other)),
        ("alike", explain(&am5, &alike)),
        ("no_block", explain(&single, &other_table)),
        (
            "unaligned",
            one_block("type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7ffe0800,length=0x800"),
        ),
        (
            "no_length",
            one_block("type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7ffe0000,length=0"),
        ),
        ("all", one_block("type=0x20,flags=0x07,devid=0,aux=0,start=0x7ffe0000,length=0x20000")),
        ("not_viable", explain(&single, &QEMU.attempt("a|00:03.0", 1, -1, not_viable))),
        ("unexplained", explain(&single, &unexplained)),
        ("type1", explain(&single, &[claimed.clone(), QEMU.type1(1, -1).to_vec()].concat())),
        ("attached", explain(&single, &[claimed, QEMU.type1(1, 0).to_vec()].concat())),
        ("no_end", explain(&single, &by_other[..7])),
        ("nothing", explain(&single, &[])),
        (
            "lost",
            attempts(
                &model(&single, &unexplained),
                Lost { ring: 3, read: 1, queue: 0 },
                Style::default(),
            ),
        ),
    ] {
        insta::assert_snapshot!(format!("attempts_{name}"), text);
    }
}

/// Each reason of a failure, on the page and in the document.
#[test]
fn reasons_in_words_and_in_json() {
    let host = host(GROUPS, &table(&[SINGLE, AM5[2]]));
    for (name, events) in reasons() {
        let model = model(&host, &events);
        let page = attempts(&model, NO_LOSS, Style::default());
        let mut document = parsed(&json::run(&model, NO_LOSS, Some(1)));
        let attempts = document["attempts"].as_array_mut().unwrap();
        let attempt = attempts.last_mut().unwrap().as_object_mut().unwrap();
        // The calls and the process are told on the page, or in other documents.
        for member in ["calls", "process", "time_ns", "rejections"] {
            attempt.remove(member);
        }
        let attempt = serde_json::to_string_pretty(attempt).unwrap();
        insta::assert_snapshot!(format!("reason_{name}"), format!("{page}\n{attempt}"));
    }
}

/// A story that ends for each reason but that of a 1:1 map that was seen to stop it.
fn reasons() -> Vec<(&'static str, Vec<Event>)> {
    let (one, both) = (device("00:03.0", 1), device("00:07.1", 5));
    let members = [("00:07.0", "vfio-pci"), ("00:07.1", "e1000e")];
    let free = Owned::default();
    let by_driver = Owned { count: 1, ..free };
    let other = Thread { pid: 7, tid: 7, comm: "dpdk-testpmd" };
    let by_other = Owned { count: 1, owner: other.owner(), ..free };
    let busy = Owned { foreign_domain: true, ..free };
    let claim = |by: &Thread, group, ret, inner: Vec<Event>, owned| {
        let enter = vec![by.args(LIBVIRT), by.claim_in(group, owned)];
        [enter, inner, vec![by.claim_exit(group, ret, owned)]].concat()
    };
    let bound = |by: &Thread, ret, owned| {
        let enter = by.device_claim_of(Phase::Enter, one.clone(), owned);
        let exit = by.device_claim_of(Phase::Exit { ret }, one.clone(), owned);
        by.bind_iommufd(&by.device_bind(&one, &[by.isolated(1, true), enter, exit], ret), ret)
    };
    let taken = QEMU.set_container("1", &claim(&QEMU, 1, 0, vec![], free), 0);
    let listed = QEMU.listing(&one, &[], Some(false));
    let alone = crate::event::Device { group: None, ..one.clone() };
    let probe = DeviceFunction::VfioPciProbe;
    vec![
        (
            "group_not_viable",
            QEMU.set_container("5", &claim(&QEMU, 5, -1, QEMU.members(5, &members), by_driver), -1),
        ),
        ("status", QEMU.status(5, Some(by_driver), &members)),
        ("owned_by_another", [bound(&other, 0, by_other), bound(&QEMU, -1, by_other)].concat()),
        ("owned_by_somebody", QEMU.open("5", -16)),
        ("busy_domain", QEMU.set_container("1", &claim(&QEMU, 1, -16, vec![], busy), -16)),
        (
            "msi_not_isolated",
            QEMU.bind_iommufd(&QEMU.device_bind(&both, &[QEMU.isolated(5, false)], -1), -1),
        ),
        (
            "msi_not_isolated_6_1",
            [taken.clone(), QEMU.set_iommu(&QEMU.type1_attach(1, &listed, -1), -1)].concat(),
        ),
        (
            "reserved_region_conflict",
            [taken, QEMU.set_iommu(&QEMU.type1_attach(1, &listed, -22), -22)].concat(),
        ),
        ("no_iommu", vec![QEMU.device_call(Phase::Exit { ret: -22 }, probe, Some(alone))]),
        ("noiommu", QEMU.set_container("noiommu-0", &[], 0)),
        ("noiommu_refused", QEMU.open("noiommu-0", -1)),
        ("device_vanished", QEMU.group_ioctl("1", VfioRequest::SET_CONTAINER, None, &[], -19)),
        ("no_coherency", {
            let wanted = device("21:00.0", 14);
            QEMU.bind_iommufd(&QEMU.device_bind(&wanted, &[], -22), -22)
        }),
        ("inferred", QEMU.set_container("11", &claim(&QEMU, 11, -22, vec![], free), -22)),
    ]
}

/// The refusal on each evidence.
#[test]
fn evidence_in_words() {
    let host = single();
    let events = QEMU.rejection(&host, "vfio-attach|00:07.0", 5, &["00:07.0"], "00:07.1");
    let called = |body: &Body| matches!(body, Body::SetDomain { .. });
    let warned = |body: &Body| matches!(body, Body::Warning { .. } | Body::UnityMatch { .. });
    let line = |lost: &dyn Fn(&Body) -> bool| {
        let left: Vec<Event> = events.iter().filter(|one| !lost(&one.body)).cloned().collect();
        let page = explain(&host, &left);
        let mut lines = page.lines().skip_while(|line| !line.starts_with("  Blocked by"));
        let lines: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        lines.join("\n")
    };
    insta::assert_snapshot!(
        [
            line(&|_| false),
            line(&called),
            line(&|body| called(body) || warned(body)),
            line(&|body| {
                called(body) || warned(body) || matches!(body, Body::KernelMessage { .. })
            }),
        ]
        .join("\n\n")
    );
}

#[cfg(feature = "pci-names")]
#[test]
fn hosts_in_words() {
    let (am5, single) = (am5(), single());
    let present = RequireDirect::Present;
    let mut not_root = am5.clone();
    not_root.ivrs =
        Reading::Unreadable("/sys/firmware/acpi/tables/IVRS: Permission denied".to_owned());
    let mut intel = host("1: 00:03.0", &table(&[]));
    intel.ivrs = Reading::Absent;
    intel.iommus = Reading::Read(vec!["dmar0".to_owned(), "dmar1".to_owned()]);
    let mut old = single.clone();
    old.kernel_release = Reading::Read("6.1.0-56-amd64".to_owned());
    for (name, text) in [
        ("am5", checked(&am5, present, &QEMU.listings(&am5, true))),
        ("single", checked(&single, present, &QEMU.listings(&single, true))),
        ("not_root", checked(&not_root, present, &[])),
        ("old_kernel", checked(&old, RequireDirect::Missing, &QEMU.listings(&old, false))),
        ("no_btf", checked(&single, RequireDirect::Unknown, &[])),
        ("no_groups", checked(&host("", &table(&[])), present, &[])),
        ("not_amd", checked(&intel, present, &[])),
    ] {
        insta::assert_snapshot!(format!("check_{name}"), text);
    }
}

/// Asserts that a value has fields of these names and types, and no others.
fn assert_fields(value: &Value, fields: &[(&str, &str)]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(text) if text.starts_with("0x") => "hex",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let found: Vec<(&str, &str)> =
        object.iter().map(|(name, value)| (name.as_str(), kind(value))).collect();
    let mut expected = fields.to_vec();
    expected.sort_unstable();
    let mut found_sorted = found;
    found_sorted.sort_unstable();
    assert_eq!(found_sorted, expected);
}

const CAUSE: [(&str, &str); 6] = [
    ("kind", "string"),
    ("ivmd", "number"),
    ("offset", "hex"),
    ("start", "hex"),
    ("end", "hex"),
    ("evidence", "array"),
];

#[test]
fn the_document_of_check() {
    let host = single();
    let model = model(&host, &QEMU.listings(&host, true));
    let document = parsed(&json::check(&model, model.verdicts()));
    assert_fields(
        &document,
        &[
            ("schema", "string"),
            ("kernel", "object"),
            ("devices", "array"),
            ("groups", "array"),
            ("entries", "array"),
            ("findings", "array"),
        ],
    );
    assert_eq!(document["schema"], "ivrs-trace/check/1");
    assert_fields(
        &document["kernel"],
        &[("release", "string"), ("require_direct", "bool"), ("options", "array")],
    );
    let group = &document["groups"][1];
    assert_fields(group, &[("id", "number"), ("verdict", "string"), ("blocked_by", "array")]);
    assert_eq!((&group["id"], &group["blocked_by"][0]), (&5.into(), &"0000:00:07.1".into()));
    let tied = &document["devices"][1];
    assert_fields(
        tied,
        &[
            ("bdf", "string"),
            ("segment", "hex"),
            ("devid", "hex"),
            ("alias", "null"),
            ("group", "number"),
            ("driver", "string"),
            ("iommu", "string"),
            ("verdict", "string"),
            ("causes", "array"),
            ("blocked_by", "string"),
        ],
    );
    assert_eq!(tied["bdf"], "0000:00:07.0");
    assert_eq!(tied["devid"], "0x0038");
    assert_eq!(tied["verdict"], "blocked");
    assert_eq!(tied["blocked_by"], "0000:00:07.1");
    assert_fields(&tied["causes"][0], &CAUSE);
    assert_eq!(tied["causes"][0]["end"], "0x7a2d9fff", "inclusive");
    let entry = &document["entries"][0];
    assert_fields(
        entry,
        &[
            ("ivmd", "number"),
            ("devices", "array"),
            ("groups", "array"),
            ("owners", "array"),
            ("caught", "array"),
        ],
    );
    assert_fields(
        &entry["owners"][0],
        &[("kind", "string"), ("bdf", "string"), ("name", "string"), ("device", "null")],
    );
    assert_eq!(entry["devices"][0], "0000:00:07.1");

    for member in ["schema", "kernel/release", "devices/1/blocked_by", "entries/0/ivmd"] {
        assert_wrong(&document, &format!("/{member}"), None);
    }
    assert_wrong(&document, "/schema", Some("ivrs-trace/check/2".into()));
    assert_wrong(&document, "/devices/1/bdf", Some(0x0038.into()));
    assert_wrong(&document, "/devices/1/bdf", Some("00:07.0".into()));
    assert_wrong(&document, "/devices/1/devid", Some("0x38".into()));
    assert_wrong(&document, "/devices/1/verdict", Some("free".into()));
    assert_wrong(&document, "/devices/1/causes/0/end", Some(0x7a2d_9fff.into()));

    let unknown = model_of(&host, RequireDirect::Unknown, &[]);
    let document = parsed(&json::check(&unknown, unknown.verdicts()));
    assert_eq!(document["kernel"]["require_direct"], Value::Null);
    assert!(document["devices"][1]["missing"].is_string());
    assert_fields(
        &document["findings"][0],
        &[
            ("code", "string"),
            ("severity", "string"),
            ("message", "string"),
            ("offset", "null"),
            ("evidence", "array"),
        ],
    );
}

#[test]
fn findings_of_check_have_a_place_and_evidence() {
    let am5 = model(&am5(), &[]);
    let document = parsed(&json::check(&am5, am5.verdicts()));
    let findings = document["findings"].as_array().unwrap().iter();
    let mut places = findings.filter(|finding| finding["code"] == "ivrs-dma-protection");
    assert_eq!(places.next().unwrap()["offset"], "0x24");
    // A finding about one block has a place; each block is evidence with its own.
    for (blocks, place) in [(AM5.as_slice(), Value::Null), (&AM5[..1], "0x50".into())] {
        let host = host(GROUPS, &table(blocks));
        let model = model_of(&host, RequireDirect::Present, &[]);
        let document = parsed(&json::check(&model, model.verdicts()));
        let findings = document["findings"].as_array().unwrap();
        let wide = findings.iter().find(|finding| finding["code"] == "ivmd-wide").unwrap();
        assert_eq!(wide["offset"], place);
        let evidence = wide["evidence"].as_array().unwrap();
        assert_eq!(evidence.len(), blocks.len());
        let first = evidence[0].as_str().unwrap();
        assert!(first.starts_with("IVRS offset 0x") && first.contains("IVMD 0, 22 08"), "{first}");
    }
}

#[test]
fn the_document_of_run() {
    let host = single();
    let events = QEMU.rejection(&host, LIBVIRT, 5, &["00:07.0"], "00:07.1");
    let document = parsed(&json::run(&model(&host, &events), NO_LOSS, Some(1)));
    assert_fields(
        &document,
        &[
            ("schema", "string"),
            ("attempts", "array"),
            ("attempts_dropped", "number"),
            ("lost", "object"),
            ("exit_status", "number"),
        ],
    );
    assert_fields(
        &document["lost"],
        &[("ring", "number"), ("read", "number"), ("queue", "number")],
    );
    let attempt = &document["attempts"][0];
    assert_fields(
        attempt,
        &[
            ("process", "object"),
            ("time_ns", "number"),
            ("via", "string"),
            ("call", "string"),
            ("requested", "null"),
            ("requested_from", "null"),
            ("group", "number"),
            ("errno", "string"),
            ("outcome", "string"),
            ("rejections", "array"),
            ("reason", "string"),
            ("evidence", "string"),
            ("facts", "array"),
            ("hostdev", "null"),
            ("driver_changes", "array"),
            ("qemu_prints", "array"),
            ("host_drivers", "array"),
            ("owned_by", "null"),
            ("also", "array"),
            ("calls", "array"),
        ],
    );
    assert_eq!(attempt["evidence"], "call");
    assert_eq!(attempt["via"], "vfio-group");
    assert_eq!(attempt["outcome"], "rejected");
    assert_eq!(attempt["reason"], "firmware_direct_map");
    assert_eq!(attempt["errno"], "EINVAL");
    assert_eq!(attempt["process"]["vm"], "win11");
    let rejection = &attempt["rejections"][0];
    assert_fields(
        rejection,
        &[("bdf", "string"), ("driver", "string"), ("evidence", "string"), ("causes", "array")],
    );
    assert_fields(&rejection["causes"][0], &CAUSE);

    assert_wrong(&document, "/attempts/0/outcome", None);
    assert_wrong(&document, "/attempts/0/errno", Some((-22).into()));
    assert_wrong(&document, "/lost/ring", Some((-1).into()));
    assert_wrong(&document, "/exit_status", Some("1".into()));

    let none = parsed(&json::run(&model(&host, &[]), NO_LOSS, Some(137)));
    assert_eq!((&none["attempts"], &none["exit_status"]), (&Value::Array(vec![]), &137.into()));
}

/// Names as a process or a device could choose them, after they were decoded.
fn hostile() -> (Snapshot, Vec<Event>) {
    let text = crate::escape::printable("\u{1b}]0;x\u{7}\n\u{202e}".repeat(4).as_str());
    let mut host = single();
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in functions {
        // What the snapshot holds is as it was read.
        function.driver = Reading::Read("\u{1b}[2J\nclear".to_owned());
        function.iommu = Reading::Read("ivhd\u{1b}[2J".to_owned());
    }
    host.kernel_release = Reading::Read("6.12\u{1b}[31m\n".to_owned());
    host.iommus = Reading::Read(vec!["\u{1b}]dmar0\n".to_owned()]);
    let line = format!("qemu|-name|guest=\u{1b}[2J\r{}", "w".repeat(300));
    let mut events = QEMU.rejection(&host, &line, 5, &["00:07.0"], "00:07.1");
    for event in &mut events {
        event.comm.clone_from(&text);
        if let Body::SetDomain { driver, .. } = &mut event.body {
            driver.clone_from(&text);
        }
    }
    (host, events)
}

#[test]
fn no_name_reaches_beyond_its_place_on_the_page() {
    let (host, events) = hostile();
    let model = model(&host, &events);
    let page = attempts(
        &model,
        Lost { ring: u64::MAX, read: u64::MAX, queue: u64::MAX },
        Style::default(),
    );
    let verdicts = check(&model, &model.verdicts(), Style::default());
    assert!(page.contains("Virtual machine"), "{page}");
    for text in [&page, &verdicts] {
        let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(bad), "{text:?}");
        for line in text.lines() {
            assert!(crate::width::width(line) <= 80, "{line}");
        }
    }
    parsed(&json::run(&model, NO_LOSS, Some(0)));
    let document = parsed(&json::check(&model, model.verdicts())).to_string();
    assert!(!document.contains(['\u{1b}', '\u{202e}']), "{document}");
}

#[test]
fn two_attempts_are_two_paragraphs() {
    let host = single();
    let other = Thread { pid: 7, tid: 7, comm: "dpdk" };
    let model: Model = model(
        &host,
        &[
            vec![QEMU.ioctl(VfioRequest::SET_CONTAINER), QEMU.ioctl_exit(-22)],
            vec![other.device_claim(Phase::Enter, device("00:03.0", 1))],
            vec![other.device_claim(Phase::Exit { ret: 0 }, device("00:03.0", 1))],
        ]
        .concat(),
    );
    insta::assert_snapshot!(attempts(&model, NO_LOSS, Style::default()));
}

#[test]
fn sizes_and_bytes() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (0x800, "2 KiB"),
        (0x801, "2049 bytes"),
        (0x2_0000, "128 KiB"),
        (1 << 40, "1 TiB"),
        (u64::MAX, "18446744073709551615 bytes"),
    ] {
        assert_eq!(size(bytes), text);
    }
    assert_eq!(hex_bytes(&[0x21, 0, 0xff]), "21 00 ff");
    assert_eq!(hex_bytes(&[]), "");
}

fn thought(host: &Snapshot, changes: &[Change]) -> String {
    let answer = model(host, &[]).what_if(changes).unwrap();
    parsed(&json::what_if(&answer));
    what_if(&answer, Style::default())
}

#[test]
fn what_would_be_in_words() {
    let (am5, single) = (am5(), single());
    let all = [0, 1].map(|ivmd| Change::Without { entry: EntryId::Ivmd(ivmd) });
    let narrow = Change::Narrow { ivmd: 2, first: bdf("05:00.0"), last: bdf("05:00.7") };
    let moved = Change::Move { from: bdf("12:00.0"), to: bdf("04:00.0") };
    for (name, text) in [
        ("one_of_three", thought(&am5, &[Change::Without { entry: EntryId::Ivmd(1) }])),
        ("narrowed", thought(&am5, &[all[0], all[1], narrow])),
        ("moved", thought(&am5, &[moved])),
        ("relaxed", thought(&single, &[Change::Relax { entry: EntryId::Ivmd(0) }])),
        ("without_all", thought(&single, &all[..1])),
    ] {
        insta::assert_snapshot!(format!("what_if_{name}"), text);
    }
}

fn differences(before: &Snapshot, after: &Snapshot, scope: Scope) -> Diff {
    compare(&model(before, &[]), &model(after, &[]), scope)
}

/// Before and after an update that takes two entries away and narrows the third.
fn update() -> (Snapshot, Snapshot) {
    let mut before = am5();
    before.dmi.bios_version = Reading::Read("1.A30".to_owned());
    before.dmi.bios_date = Reading::Read("03/01/2026".to_owned());
    let groups = "10: 00:01.0*; 14: 01:00.0; 15: 01:00.1; 21: 05:00.0; 31: 12:00.0 12:00.1";
    let narrowed = AM5[2].replace("aux=0x0fff", "aux=0x00ff");
    let table = table(&[&narrowed, SINGLE]).ivinfo(0x0020_3040).oem_revision(2);
    let mut after = host(groups, &table.raw(vec![0x51, 0, 6, 0, 1, 2]));
    after.dmi.bios_version = Reading::Read("1.A40".to_owned());
    after.dmi.bios_date = Reading::Read("05/20/2026".to_owned());
    (before, after)
}

#[test]
fn differences_in_words() {
    let (before, after) = update();
    let mut other_kernel = before.clone();
    other_kernel.kernel_release = Reading::Read("6.18.2".to_owned());
    let mut no_table = before.clone();
    no_table.ivrs = Reading::Unreadable("IVRS: Permission denied".to_owned());
    for (name, found) in [
        ("none", differences(&before, &before, Scope::Host)),
        ("update", differences(&before, &after, Scope::Host)),
        ("tables", differences(&before, &after, Scope::Table)),
        ("kernel", differences(&before, &other_kernel, Scope::Host)),
        ("unreadable", differences(&before, &no_table, Scope::Host)),
    ] {
        parsed(&json::diff(&found));
        insta::assert_snapshot!(format!("diff_{name}"), diff(&found, Style::default()));
    }
}

#[test]
fn the_document_of_what_if() {
    let narrow = Change::Narrow { ivmd: 0, first: bdf("00:07.1"), last: bdf("00:07.1") };
    let moved = Change::Move { from: bdf("00:07.0"), to: bdf("00:08.0") };
    let answer = model(&single(), &[]).what_if(&[narrow, moved]).unwrap();
    let document = parsed(&json::what_if(&answer));
    assert_fields(
        &document,
        &[("schema", "string"), ("changes", "array"), ("devices", "array"), ("notices", "array")],
    );
    assert_eq!(document["schema"], "ivrs-trace/what-if/1");
    assert_fields(
        &document["changes"][0],
        &[("change", "string"), ("ivmd", "number"), ("first", "string"), ("last", "string")],
    );
    assert_fields(
        &document["changes"][1],
        &[("change", "string"), ("from", "string"), ("to", "string")],
    );
    assert_wrong(&document, "/changes/0/ivmd", None);
    assert_wrong(&document, "/changes/1/to", Some(0x40.into()));
    assert_wrong(&document, "/devices/2/effect", Some("none".into()));
    let device = &document["devices"][2];
    assert_fields(
        device,
        &[
            ("bdf", "string"),
            ("moved_from", "string"),
            ("group", "number"),
            ("driver", "string"),
            ("effect", "string"),
            ("before", "object"),
            ("after", "object"),
        ],
    );
    assert_eq!(
        (&device["bdf"], &device["effect"]),
        (&"0000:00:08.0".into(), &"stays_blocked".into())
    );
    assert_fields(
        &device["after"],
        &[
            ("verdict", "string"),
            ("ivmd", "array"),
            ("unnamed", "number"),
            ("blocked_by", "string"),
        ],
    );
}

#[test]
fn the_document_of_diff() {
    let (before, after) = update();
    let document = parsed(&json::diff(&differences(&before, &after, Scope::Host)));
    assert_fields(
        &document,
        &[
            ("schema", "string"),
            ("equal", "bool"),
            ("compared", "string"),
            ("host", "array"),
            ("table", "array"),
            ("ivhd", "array"),
            ("ivmd", "array"),
            ("unknown", "array"),
            ("groups", "array"),
            ("devices", "array"),
            ("notices", "array"),
        ],
    );
    assert_eq!(document["schema"], "ivrs-trace/diff/1");
    assert_eq!((&document["equal"], &document["compared"]), (&false.into(), &"host".into()));
    for member in ["equal", "devices", "ivmd/0/change", "ivmd/0/before/offset"] {
        assert_wrong(&document, &format!("/{member}"), None);
    }
    assert_wrong(&document, "/ivmd/0/before/offset", Some(48.into()));
    let field = [("name", "string"), ("before", "string"), ("after", "string")];
    assert_fields(&document["host"][0], &field);
    let changed = &document["ivmd"][0];
    assert_fields(
        changed,
        &[("change", "string"), ("before", "object"), ("after", "object"), ("fields", "array")],
    );
    assert_fields(
        &changed["before"],
        &[("index", "number"), ("offset", "hex"), ("bytes", "string")],
    );
    let hex = [("name", "string"), ("before", "hex"), ("after", "hex")];
    assert_fields(&changed["fields"][0], &hex);
    assert_fields(
        &document["groups"][0],
        &[("change", "string"), ("before", "object"), ("after", "object")],
    );
    assert_fields(
        &document["groups"][0]["before"],
        &[("id", "number"), ("members", "array"), ("domain_type", "string"), ("regions", "array")],
    );
    let device = &document["devices"][0];
    assert_fields(
        device,
        &[("bdf", "string"), ("change", "string"), ("before", "object"), ("after", "object")],
    );
    assert_fields(
        &device["before"],
        &[
            ("id", "string"),
            ("group", "number"),
            ("verdict", "string"),
            ("ivmd", "array"),
            ("unnamed", "number"),
            ("blocked_by", "null"),
        ],
    );
}

#[test]
fn the_way_to_a_refusal_is_told() {
    let host = single();
    let daemon = Thread { pid: 31, tid: 33, comm: "rpc-libvirtd" };
    let change = |function, driver: &str| {
        let device = Some(device("00:07.0", 5));
        let mut event = daemon.device_call(Phase::Exit { ret: 0 }, function, device);
        if let Body::DeviceCall { driver: of, .. } = &mut event.body {
            driver.clone_into(of);
        }
        event
    };
    let mut events = vec![
        daemon.args("/usr/sbin/libvirtd|--timeout|120"),
        change(DeviceFunction::PciRemove, "e1000e"),
        change(DeviceFunction::PciProbe, "vfio-pci"),
    ];
    events.extend(QEMU.rejection(&host, "qemu|00:07.0", 5, &["00:07.0"], "00:07.1"));
    let model = model(&host, &events);
    let style = Style { width: 200, ..Style::default() };
    let text = attempts(&model, NO_LOSS, style);
    let told: Vec<&str> =
        text.lines().skip_while(|line| !line.contains("What led up")).take(4).collect();
    assert_eq!(
        told,
        [
            "  What led up to it, in seconds before the first call:",
            "    0.000  libvirtd (pid 31) unbound 0000:00:07.0 from e1000e",
            "    0.000  libvirtd (pid 31) bound 0000:00:07.0 to vfio-pci",
            "    0      qemu-system-x86 (pid 100): __iommu_device_set_domain(0000:00:07.1) = EINVAL, \
             iommu_group_claim_dma_owner = EINVAL, vfio_container_attach_group = EINVAL, \
             VFIO_GROUP_SET_CONTAINER = EINVAL",
        ]
    );
}
