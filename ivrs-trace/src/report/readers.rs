//! The reports as their readers get them: whole, for hosts of every kind; and what must never be in
//! them.
#![cfg(feature = "pci-names")]

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::{
    Style,
    calls::Trail,
    check, doctor,
    hosts::{
        arm, desktop, half_table, intel, kernel_6_1, laptop, no_ivmd, not_amd, relaxed,
        several_iommus, strix,
    },
    kernel,
    letters::{
        forum,
        input::{Case, Origin},
        vendor,
    },
    redact::Redactor,
    write::Format,
};
use crate::{
    escape::printable,
    event::{Body, Event, Phase},
    facts::{Lost, ProbeFact},
    firmware::dump,
    host::{AcpiDevice, Member, Reading, Skipped, Snapshot},
    model::{
        Model, RequireDirect,
        fixture::{Owned, QEMU, device, view},
        health,
    },
    probe_state::ProbeState,
};

const LIBVIRT: &str = "qemu-system-x86_64|-name|guest=win11,debug-threads=on|-device|\
                       {\"driver\":\"vfio-pci\",\"host\":\"0000:01:00.0\"}";

/// A host with what happened on it, as a report is made from it.
pub(crate) struct Told {
    pub(crate) model: Model,
    pub(crate) events: Vec<(u64, Event)>,
    trail: Trail,
    origin: Origin,
    pub(crate) probes: Vec<ProbeFact>,
    pub(crate) lost: Lost,
    notes: Vec<String>,
    names: Vec<String>,
}

impl Told {
    /// The events one microsecond after the other.
    fn of((host, events): &(Snapshot, Vec<Event>), flag: RequireDirect) -> Self {
        let mut model = Model::new(host.clone(), flag);
        let mut trail = Trail::default();
        let mut numbered = Vec::new();
        for (number, event) in (0..).zip(events) {
            let mut event = event.clone();
            event.time_ns += number * 1000;
            model.observe(number, &event);
            trail.add(number, &event);
            numbered.push((number, event));
        }
        model.finish();
        Self {
            model,
            events: numbered,
            trail,
            origin: Origin::Tree,
            probes: Vec::new(),
            lost: Lost::default(),
            notes: Vec::new(),
            names: Vec::new(),
        }
    }

    fn recorded(mut self) -> Self {
        self.origin = Origin::Recording {
            tool: Some("ivrs-trace 0.1.0".to_owned()),
            kernel: Some("6.12.1".to_owned()),
            began: Some("2026-11-22T20:15:01.000042Z".to_owned()),
            command: vec!["virsh".to_owned(), "start".to_owned(), "win11".to_owned()],
            ended: "ended with its command, exit status 1".to_owned(),
        };
        let probe =
            |symbol: &str, module: Option<&str>, how: &[&str], state: ProbeState| ProbeFact {
                symbol: symbol.to_owned(),
                module: module.map(str::to_owned),
                explains: "what is asked for".to_owned(),
                required: false,
                how: how.iter().map(|&how| how.to_owned()).collect(),
                fallback: None,
                state,
            };
        let reason = "the kernel has no such function".to_owned();
        self.probes = vec![
            probe("__iommu_device_set_domain", None, &["fexit"], ProbeState::Attached),
            ProbeFact {
                fallback: Some("the module has no BTF".to_owned()),
                ..probe(
                    "vfio_container_attach_group",
                    Some("vfio"),
                    &["kprobe", "kretprobe"],
                    ProbeState::Attached,
                )
            },
            probe("iommufd_device_bind", Some("iommufd"), &[], ProbeState::Waiting),
            probe(
                "vfio_df_ioctl_bind_iommufd",
                Some("vfio"),
                &[],
                ProbeState::Missing { reason, obstacles: Vec::new() },
            ),
        ];
        self
    }

    fn with<T>(&self, redacted: bool, make: impl Fn(&Case<'_>) -> T) -> T {
        let verdicts = self.model.verdicts();
        let redact = if redacted {
            Redactor::on(&self.model, self.names.iter().cloned())
        } else {
            Redactor::off()
        };
        make(&Case {
            model: &self.model,
            verdicts: &verdicts,
            origin: &self.origin,
            probes: &self.probes,
            lost: self.lost,
            notes: &self.notes,
            trail: &self.trail,
            redact: &redact,
        })
    }

    /// Every report in every form, each with its name.
    fn all(&self, redacted: bool) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for format in [Format::Text, Format::Markdown] {
            let mut push = |name, text| all.push((format!("{name} {format:?}"), text));
            push("kernel", self.with(redacted, |case| kernel(case, format)));
            push("vendor", self.with(redacted, |case| vendor(case, format)));
            push("forum", self.with(redacted, |case| forum(case, format)));
        }
        all
    }
}

/// The desktop under libvirt, which asks twice for the card and once for the disk of the host.
pub(crate) fn refused() -> Told {
    let (host, listings) = desktop();
    let unity = QEMU.unity_map(&view(&host).entries, crate::pci::Devid(0xfffe));
    let once = QEMU.rejection(&host, LIBVIRT, 14, &[], "01:00.0");
    let not_viable =
        QEMU.attempt("dpdk|0000:04:00.0", 16, -1, Owned { count: 1, ..Owned::default() });
    let events = [listings, unity, once.clone(), once, not_viable].concat();
    Told::of(&(host, events), RequireDirect::Present).recorded()
}

pub(crate) fn hosts() -> Vec<(&'static str, Told)> {
    let present = RequireDirect::Present;
    vec![
        ("refused", refused()),
        ("laptop", Told::of(&laptop(), present)),
        ("strix", Told::of(&strix(), present)),
        ("all_devices", Told::of(&several_iommus(), present)),
        ("kernel_6_1", Told::of(&kernel_6_1(), RequireDirect::Missing)),
        ("no_ivmd", Told::of(&no_ivmd(), present)),
        ("not_amd", Told::of(&not_amd(), present)),
        ("relaxed", Told::of(&relaxed(), present)),
        ("intel", Told::of(&intel(), present)),
        ("arm", Told::of(&arm(), present)),
        ("half_table", Told::of(&half_table(), present)),
    ]
}

#[test]
fn reports_for_every_reader() {
    for (name, told) in hosts() {
        let mail = told.with(false, |case| kernel(case, Format::Text));
        insta::assert_snapshot!(format!("kernel_{name}"), mail);
        let letter = told.with(true, |case| vendor(case, Format::Text));
        insta::assert_snapshot!(format!("vendor_{name}"), letter);
        let post = told.with(true, |case| forum(case, Format::Markdown));
        insta::assert_snapshot!(format!("forum_{name}"), post);
    }
    let markdown = refused().with(false, |case| kernel(case, Format::Markdown));
    insta::assert_snapshot!("kernel_refused_markdown", markdown);
}

/// What is in the way there is the table all the same: it lacks an IOMMU.
#[test]
fn no_report_clears_the_firmware_of_a_device_that_no_iommu_serves() {
    let told = Told::of(&half_table(), RequireDirect::Present);
    for (report, text) in told.all(true) {
        assert!(!text.contains("not in the way"), "{report}: {text}");
        assert!(text.contains("0000:43:00.0") && text.contains("bus"), "{report}: {text}");
    }
}

#[test]
fn plain_text_fits_a_mail() {
    for (name, told) in hosts() {
        for (report, text) in told.all(false) {
            if report.ends_with("Text") {
                for line in text.lines() {
                    assert!(line.width() <= 75, "{name}, {report}: {line}");
                }
            }
            assert!(text.ends_with('\n') && !text.contains("\n\n\n"), "{name}, {report}");
        }
    }
}

#[test]
fn every_report_holds_the_whole_table() {
    for (name, told) in hosts() {
        let Some(table) = told.model.table().ivrs() else { continue };
        for (report, text) in told.all(true) {
            if report.starts_with("forum") {
                continue;
            }
            match dump::read(text.as_bytes()).as_deref() {
                Ok([dump::Dump::Table(found)]) => {
                    assert_eq!(found.table, table.bytes(), "{name}, {report}");
                }
                other => panic!("{name}, {report}: {other:?}"),
            }
        }
    }
}

#[test]
fn no_report_promises_or_advises_what_it_must_not() {
    for (name, told) in hosts() {
        for (report, text) in told.all(true) {
            let lower = text.to_lowercase();
            if report.starts_with("kernel") {
                continue;
            }
            for word in
                ["patch ", "guarantee", "will fix", "recompile", "bug in", "fault of", "sorry"]
            {
                assert!(!lower.contains(word), "{name}, {report}: {word}");
            }
        }
    }
}

#[test]
fn a_forum_reads_that_acs_does_not_help_only_where_it_does_not() {
    let tied = {
        let host = laptop().0;
        // 03:00.1 is only held through another member of its group.
        let mut host = host;
        let Reading::Read(bytes) = &mut host.ivrs else { panic!("no table") };
        let at = bytes.0.windows(4).position(|bytes| bytes == [0x21, 0x08, 0x20, 0x00]).unwrap();
        bytes.0[at + 4..at + 6].copy_from_slice(&[0x00, 0x03]);
        bytes.0[9] = 0;
        let sum = bytes.0.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        bytes.0[9] = sum.wrapping_neg();
        let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
        for group in groups.iter_mut() {
            let holds = matches!(&group.members, Reading::Read(members)
                if members.contains(&Member::Pci("03:00.0".parse().unwrap())));
            let direct = "0x000000009a000000 0x000000009a025fff direct".parse().unwrap();
            group.regions = Reading::Read(if holds { vec![direct] } else { Vec::new() });
        }
        Told::of(&(host, Vec::new()), RequireDirect::Present)
    };
    let text = tied.with(true, |case| forum(case, Format::Text));
    assert!(!text.contains("ACS override"), "{text}");
    assert!(text.contains("gives 0000:03:00.1 a group of its own"), "{text}");
    let text = refused().with(true, |case| forum(case, Format::Text));
    assert!(text.contains("ACS override"), "{text}");
}

/// What nobody may read of a host in a report that is redacted.
const SECRETS: [&str; 17] = [
    "zeus-tower",
    "alice",
    "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "d8:5e:d3:00:11:22",
    "PF3ABC12",
    "WX-99817",
    "taxes2025",
    "hunter2",
    "0025385b01400c2a",
    "5000c500a1b2c3d4e5",
    "/home/alice",
    "bob@example.org",
    "luks",
    "D8-5E-D3-AA-BB-CC",
    "fileserver",
    "Alices-Agent",
    "mapper",
];

/// A host full of names, numbers and paths that are somebody's.
fn telling() -> Told {
    let (mut host, _) = desktop();
    let read = |text: &str| Reading::Read(text.to_owned());
    host.command_line = read(
        "root=UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427 cryptdevice=/dev/mapper/luks \
         systemd.hostname=fileserver ip=10.0.0.1::d8:5e:d3:00:11:22 password=hunter2 iommu=pt \
         vfio.note=bob@example.org",
    );
    host.kernel_release = read("6.12.1-alice-zeus-tower+");
    host.dmi.board_name = read("PRO B850M-A (S/N: PF3ABC12)");
    host.dmi.board_vendor = read("Maker of zeus-tower");
    host.dmi.sys_vendor = read("Alices-Agent");
    host.dmi.product_name = read("serial number=WX-99817");
    host.dmi.bios_version = read("2.A30 nvme-eui.0025385b01400c2a");
    host.dmi.bios_date = read("wwn-0x5000c500a1b2c3d4e5");
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    functions[0].driver = read("alice_fileserver");
    host.lockdown = read("none of zeus-tower");
    host.acpi_devices = Reading::Read(vec![AcpiDevice {
        name: "alice:00".to_owned(),
        hid: "ALICE".to_owned(),
        uid: read("D8-5E-D3-AA-BB-CC"),
        path: Reading::Absent,
        device: read("fileserver"),
    }]);
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    let Reading::Read(members) = &mut groups[0].members else { panic!("no members") };
    members.push(Member::Other("alice:00".to_owned()));
    let line = "/home/alice/bin/qemu|-name|guest=taxes2025|-uuid|\
                1b4e28ba-2fa1-11d2-883f-0016d3cca427|-device|vfio-pci,host=01:00.0";
    let mut events = QEMU.rejection(&host, line, 14, &[], "01:00.0");
    for event in &mut events {
        event.comm = "Alices-Agent".to_owned();
        if let Body::KernelMessage { text, .. } = &mut event.body {
            text.push_str(" zeus-tower d8:5e:d3:00:11:22");
        }
        if let Body::SetDomain { driver, .. } = &mut event.body {
            "alice-driver".clone_into(driver);
        }
    }
    events.extend([
        QEMU.device_claim(Phase::Enter, device("alice:00", 0)),
        QEMU.device_claim(Phase::Exit { ret: -16 }, device("alice:00", 0)),
    ]);
    let mut told = Told::of(&(host, events), RequireDirect::Present).recorded();
    told.names = vec!["zeus-tower".to_owned(), "alice".to_owned()];
    told.notes = vec!["/home/alice/tree/sys: of bob@example.org".to_owned()];
    if let Origin::Recording { tool, command, .. } = &mut told.origin {
        *tool = Some("ivrs-trace of alice".to_owned());
        command.push("/home/alice/taxes2025".to_owned());
    }
    let reason = "/home/alice/vmlinux: D8-5E-D3-AA-BB-CC".to_owned();
    told.probes[3].state = ProbeState::Missing { reason, obstacles: Vec::new() };
    told
}

#[test]
fn a_redacted_report_has_nothing_that_is_somebodys() {
    let told = telling();
    for (report, text) in told.all(true) {
        let lower = text.to_lowercase();
        for secret in SECRETS {
            assert!(!lower.contains(&secret.to_lowercase()), "{report} has {secret}:\n{text}");
        }
        // It says still what it is for.
        assert!(text.contains("IVMD") && text.contains("01:00.0"), "{report}:\n{text}");
    }
    let open = told.with(false, |case| kernel(case, Format::Text));
    let folded = open.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in SECRETS {
        // What only patterns know is in the texts that were put in.
        let there = folded.to_lowercase().contains(&secret.to_lowercase());
        assert!(there || secret.starts_with("D8-"), "{secret} is nowhere to be left out");
    }
}

/// What could move a cursor, hide or turn text, or end its line.
pub(crate) fn hostile() -> Told {
    let bad = "\u{1b}]0;x\u{7}\u{1b}[2J\r\n\u{202e}\u{200b}\u{2066}`| IVRS @ 0x0 <b>";
    let long = "n".repeat(64 * 1024);
    let (mut host, _) = desktop();
    let read = |text: &str| Reading::Read(text.to_owned());
    host.command_line = read(&format!("quiet {bad} iommu=pt{bad} {long}"));
    host.kernel_release = read(&format!("6.12{bad}"));
    host.dmi.board_name = read(bad);
    host.dmi.board_vendor = read(&long);
    host.dmi.sys_vendor = read(bad);
    host.dmi.product_name = read(bad);
    host.dmi.bios_version = read(bad);
    host.dmi.bios_date = read(bad);
    host.lockdown = read(bad);
    host.iommus = Reading::Read(vec!["ivhd0".to_owned(), bad.to_owned()]);
    host.skipped = vec![Skipped { path: bad.to_owned(), why: bad.to_owned() }];
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in functions.iter_mut() {
        function.driver = read(bad);
    }
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    let Reading::Read(members) = &mut groups[0].members else { panic!("no members") };
    members.push(Member::Other(bad.to_owned()));
    let line = format!("qemu|-name|guest={bad}|{long}");
    let mut events = QEMU.rejection(&host, &line, 14, &[], "01:00.0");
    for event in &mut events {
        // As they come out of the decoder.
        event.comm = printable(bad);
        match &mut event.body {
            Body::KernelMessage { text, .. } => text.push_str(&printable(bad)),
            Body::Args { text, .. } => *text = printable(text),
            Body::SetDomain { driver, .. } => *driver = printable(&format!("{bad}{long}")),
            _ => {}
        }
    }
    let mut told = Told::of(&(host, events), RequireDirect::Present).recorded();
    told.notes = vec![bad.to_owned()];
    told.names = vec![bad.to_owned()];
    if let Origin::Recording { tool, command, began, ended, kernel } = &mut told.origin {
        *tool = Some(bad.to_owned());
        *kernel = Some(bad.to_owned());
        command.push(bad.to_owned());
        // Of these the program makes the text itself.
        let _ = (began, ended);
    }
    for probe in &mut told.probes {
        bad.clone_into(&mut probe.symbol);
        if let ProbeState::Missing { reason, .. } = &mut probe.state {
            bad.clone_into(reason);
        }
        probe.how.push(bad.to_owned());
    }
    told
}

#[test]
fn nothing_from_outside_reaches_a_report_raw() {
    let told = hostile();
    let table = told.model.table().ivrs().unwrap().bytes().to_vec();
    for redacted in [false, true] {
        for (report, text) in told.all(redacted) {
            let raw = |c: char| {
                c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{200b}' | '\u{2066}'))
            };
            assert!(!text.contains(raw), "{report}: {:?}", text.find(raw));
            if report.ends_with("Text") {
                for line in text.lines() {
                    assert!(line.width() <= 75, "{report}: {line}");
                }
            } else {
                // Within fences nothing means anything.
                let parts = text.split("\n```");
                let outside: String = parts.step_by(2).collect();
                assert!(!outside.contains("<b>"), "{report}");
            }
            // Only the one table begins at the beginning of a line, as acpixtract looks for it.
            let heads = text.lines().filter(|line| !line.starts_with(' ') && line.contains(" @ "));
            assert!(
                heads.eq(["IVRS @ 0x0000000000000000"]) != report.starts_with("forum"),
                "{report}"
            );
            if let Ok([dump::Dump::Table(found)]) = dump::read(text.as_bytes()).as_deref() {
                assert_eq!(found.table, table, "{report}");
            }
        }
    }
}

#[test]
fn an_offset_is_said_to_be_in_the_table_that_it_is_in() {
    for (name, told) in hosts() {
        let verdicts = told.model.verdicts();
        let conditions = crate::host::Conditions::default();
        let asked: Vec<_> = verdicts.devices.iter().map(|device| device.bdf).collect();
        let looked = health::health(
            &told.model,
            &verdicts,
            &conditions,
            &health::Tracing::default(),
            &asked,
        );
        let mut texts = told.all(false);
        texts.push(("check".to_owned(), check(&told.model, &verdicts, Style::default())));
        texts.push(("doctor".to_owned(), doctor(&looked, Style::default())));
        let other = if told.model.is_intel_host() { "IVRS" } else { "DMAR" };
        let own = if told.model.dmar().dmar().is_some() { "RMRR 1" } else { "" };
        for (report, text) in texts {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for place in [format!("{other} offset"), format!("of the {other}")] {
                assert!(!words.contains(&place), "{name}, {report}: {text}");
            }
            assert!(words.contains(own), "{name}, {report}: {text}");
        }
    }
}

#[test]
fn every_report_says_that_interrupts_are_not_remapped_whatever_else_it_says() {
    for (name, host) in [("desktop", desktop()), ("intel", intel())] {
        let told = Told::of(&host, RequireDirect::Present);
        let mut verdicts = told.model.verdicts();
        let log = crate::firmware::Fact::Line {
            file: "kernel log".to_owned(),
            text: "AMD-Vi: IOAPIC[7] not in IVRS table".to_owned(),
        };
        verdicts.findings.push(crate::firmware::Finding {
            evidence: vec![log],
            ..crate::firmware::Finding::new(
                crate::codes::Code::NotRemapped,
                "interrupts are not remapped; add ivrs_ioapic[7]=00:14.0".to_owned(),
            )
        });
        let with =
            |letter: fn(&Case<'_>, Format) -> String| {
                flat(&told.with(true, |case| {
                    letter(&Case { verdicts: &verdicts, ..*case }, Format::Text)
                }))
            };
        for (reader, text) in
            [("forum", with(forum)), ("vendor", with(vendor)), ("kernel", with(kernel))]
        {
            let text = text.to_lowercase();
            for words in ["interrupts are not remapped", "ivrs_ioapic[7]", "not in ivrs table"] {
                assert!(text.contains(words), "{name}, {reader}: {text}");
            }
        }
    }
}

#[test]
fn header_findings_reports_and_doctor_agree_on_whether_the_kernel_refuses() {
    for (name, host) in [("desktop", desktop()), ("intel", intel())] {
        for flag in [RequireDirect::Present, RequireDirect::Missing, RequireDirect::Unknown] {
            let told = Told::of(&host, flag);
            let verdicts = told.model.verdicts();
            let header = flat(&check(&told.model, &verdicts, Style::default()));
            let mail = flat(&told.with(false, |case| kernel(case, Format::Text)));
            let (_, row) =
                mail.split_once(" 1:1 maps it ").or(mail.split_once(" 1:1 maps ")).unwrap();
            if name == "intel" && flag == RequireDirect::Missing {
                // Up to 6.5 it is another function that refuses, with another error.
                assert!(mail.contains("-EPERM") && !mail.contains("-EINVAL"), "{mail}");
                let post = flat(&told.with(true, |case| forum(case, Format::Text)));
                assert!(post.contains("says \"Operation not permitted\""), "{post}");
                assert!(!post.contains("Invalid argument"), "{post}");
            }
            let looked = health::health(
                &told.model,
                &verdicts,
                &crate::host::Conditions::default(),
                &health::Tracing::default(),
                &[],
            );
            let line = looked.iommu.iter().find(|line| line.code == "kernel-refuses").unwrap();
            let refuses = told.model.refuses();
            let (in_header, in_doctor, in_mail) = match refuses {
                RequireDirect::Present => {
                    ("refuses devices that", "this kernel refuses devices", "refuses")
                }
                RequireDirect::Missing => {
                    ("does not refuse devices", "this kernel refuses no device", "does not refuse")
                }
                RequireDirect::Unknown => ("may refuse devices", "is not known", "is not known"),
            };
            let (row, _) = row.split_once(" cmdline ").unwrap();
            assert!(header.contains(in_header), "{name} {flag:?}: {header}");
            assert!(line.message.contains(in_doctor), "{name} {flag:?}: {}", line.message);
            assert!(row.contains(in_mail), "{name} {flag:?}: {row}");
            let found =
                verdicts.findings.iter().any(|finding| finding.code == crate::codes::Code::NoBtf);
            assert_eq!(found, refuses == RequireDirect::Unknown, "{name} {flag:?}");
        }
    }
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names as nobody expects them: wide, of half width, and with marks that take no column.
fn strange() -> impl Strategy<Value = String> {
    let letter =
        prop::sample::select(vec!["a", "Z", "\u{6f22}", "\u{ff76}", "e\u{301}", "\u{1f600}", " "]);
    prop::collection::vec(letter, 1..24)
        .prop_map(|letters| letters.concat())
        .prop_filter("no name", |name| !name.trim().is_empty())
}

/// The desktop with names in all places that have some.
fn named_strangely(names: &[String]) -> Told {
    let (mut host, _) = desktop();
    let mut left = names.iter().cycle();
    let mut next = || left.next().unwrap().clone();
    host.kernel_release = Reading::Read(next());
    host.dmi.board_name = Reading::Read(next());
    host.dmi.bios_version = Reading::Read(next());
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in functions {
        function.driver = Reading::Read(next());
    }
    let line = format!("qemu-system-x86_64|-name|guest={}|-device|vfio-pci,host=01:00.0", next());
    let mut events = QEMU.rejection(&host, &line, 14, &[], "01:00.0");
    for event in &mut events {
        event.comm = names[0].clone();
    }
    Told::of(&(host, events), RequireDirect::Present)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_line_is_wider_than_asked(
        names in prop::collection::vec(strange(), 1..6),
        width in 40..120_usize,
    ) {
        let told = named_strangely(&names);
        let verdicts = told.model.verdicts();
        let style = Style { width, colour: false };
        let changes = [crate::model::Change::Without { entry: crate::firmware::EntryId::Ivmd(0) }];
        let mut texts = vec![
            ("check", width, check(&told.model, &verdicts, style)),
            ("attempts", width, super::attempts(&told.model, Lost::default(), style)),
            ("what-if", width, super::what_if(&told.model.what_if(&changes).unwrap(), style)),
        ];
        for (report, text) in told.all(false) {
            if report.ends_with("Text") {
                texts.push(("report", 75, text));
            }
        }
        for (report, width, text) in texts {
            // What QEMU prints stays as it prints it, so that it is found.
            for line in text.lines().filter(|line| !line.contains(": failed to setup container")) {
                prop_assert!(line.width() <= width, "{report}, {width}: {line}");
            }
        }
    }

    #[test]
    fn columns_stay_in_line(names in prop::collection::vec(strange(), 1..6)) {
        let told = named_strangely(&names);
        let verdicts = told.model.verdicts();
        let column = |text: &str, before: &str, mark: &str| -> std::collections::BTreeSet<usize> {
            let lines = text.lines().filter(|line| line.trim_start().starts_with("0000:"));
            lines
                .filter(|line| line.contains(before))
                .filter_map(|line| line.split_once(mark))
                .map(|(head, _)| head.width() - (head.len() - head.trim_start().len()))
                .collect()
        };
        let text = check(&told.model, &verdicts, Style { width: 200, colour: false });
        prop_assert_eq!(column(&text, "group", "  IVMD").len(), 1, "{}", text);
        let text = told.with(false, |case| kernel(case, Format::Text));
        prop_assert_eq!(column(&text, "group", ":14").len(), 1, "{}", text);
        let change = [crate::model::Change::Without { entry: crate::firmware::EntryId::Ivmd(0) }];
        let text = super::what_if(
            &told.model.what_if(&change).unwrap(),
            Style { width: 200, colour: false },
        );
        prop_assert_eq!(column(&text, "group", " by IVMD").len(), 1, "{}", text);
    }
}
