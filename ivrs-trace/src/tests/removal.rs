//! What is said of a host whose files are taken away: less, never anything else.
//!
//! Every golden host is written to disk, and what a user's copy may lack is removed: each file, all
//! files and folders of one name, pairs of them, all but some. Every output is then held against what
//! is left of the tree (nothing is cited that is not there) and against the same output of the whole
//! host (a verdict stays or becomes unknown; nothing is told absent that the whole host has).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{
    codes::Code,
    event::Event,
    facts::{KernelFlag, Lost, RequireDirect},
    firmware::EntryId,
    host::{Conditions, Snapshot, plant},
    model::{
        Change, Model, Verdicts,
        diff::{self, Scope},
        health::{self, Health, State, Tracing},
    },
    report::{
        self, Style,
        calls::Trail,
        hosts,
        letters::input::{Case, Origin},
        redact::Redactor,
        write::Format,
    },
    tui,
};

/// What else a copy has, for `doctor`.
const FURTHER: [(&str, &str); 8] = [
    ("proc/cpuinfo", "vendor_id\t: AuthenticAMD\n"),
    ("proc/interrupts", "  24:  1  IR-PCI-MSIX-0000:00:02.0  0-edge  nvme0q0\n"),
    ("proc/sys/kernel/tainted", "0\n"),
    ("proc/self/mountinfo", "22 1 259:2 / / rw shared:1 - ext4 /dev/nvme0n1p2 rw\n"),
    ("proc/swaps", "Filename Type Size Used Priority\n"),
    (
        "dev/kmsg",
        "[    0.000000] Linux version 6.12.1\n[    1.0] AMD-Vi: Interrupt remapping enabled\n",
    ),
    ("sys/bus/pci/drivers/vfio-pci/new_id", ""),
    ("sys/class/net/lo/dev_id", ""),
];

/// A golden host, whole or in part.
struct Told {
    model: Model,
    verdicts: Verdicts,
    health: Health,
    /// What each command prints, a paragraph a line.
    texts: BTreeMap<&'static str, Vec<String>>,
}

impl Told {
    fn of(root: &Path, flag: RequireDirect, events: &[Event], whole: Option<&Model>) -> Self {
        let host = Snapshot::read(root);
        // As the commands do it, whose BTF is more than these trees have.
        let release = host.kernel_release.value().cloned();
        let flag = if host.has_btf {
            KernelFlag::from(flag)
        } else {
            let why = "the tree has no sys/kernel/btf/vmlinux".to_owned();
            KernelFlag::of_release(release.as_deref(), why)
        };
        let mut model = Model::new(host, flag);
        let mut trail = Trail::default();
        for (number, event) in (0..).zip(events) {
            model.observe(number, event);
            trail.add(number, event);
        }
        model.finish();
        let verdicts = model.verdicts();
        let conditions = Conditions::read(root);
        let all: Vec<_> =
            whole.unwrap_or(&model).verdicts().devices.iter().map(|one| one.bdf).collect();
        let health = health::health(&model, &verdicts, &conditions, &Tracing::default(), &all);
        let style = Style { width: 100_000, colour: false };
        let mut texts = BTreeMap::new();
        let mut push = |name, text: &str| {
            let line = |line: &str| line.replace('\\', "").trim().to_owned();
            texts.insert(name, text.lines().map(line).filter(|line| !line.is_empty()).collect());
        };
        push("check", &report::check(&model, &verdicts, style));
        push("doctor", &report::doctor(&health, style));
        let json = report::json::check(&model, verdicts.clone());
        push("check --json", &serde_json::to_string_pretty(&json).unwrap());
        let case = Case {
            model: &model,
            verdicts: &verdicts,
            origin: &Origin::Tree,
            probes: &[],
            lost: Lost::default(),
            notes: &[],
            trail: &trail,
            redact: &Redactor::off(),
        };
        push("kernel", &report::kernel(&case, Format::Markdown));
        push("vendor", &report::vendor(&case, Format::Markdown));
        push("forum", &report::forum(&case, Format::Markdown));
        if let Some(whole) = whole {
            push("diff", &report::diff(&diff::compare(whole, &model, Scope::Host), style));
        }
        let first = [EntryId::Ivmd(0), EntryId::Rmrr(0)];
        let answers = first.map(|entry| match model.what_if(&[Change::Without { entry }]) {
            Ok(answer) => report::what_if(&answer, style),
            Err(error) => error.to_string(),
        });
        push("what-if", &answers.concat());
        push("dashboard", &tui::tests::screens(&model, (240, 24)));
        Self { model, verdicts, health, texts }
    }
}

/// Every file and link below `root`, and every folder, without the root.
fn paths(root: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    fn walk(folder: &Path, root: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|one| one.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let short = path.strip_prefix(root).unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                folders.push(short);
                walk(&path, root, files, folders);
            } else {
                files.push(short);
            }
        }
    }
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    walk(root, root, &mut files, &mut folders);
    (files, folders)
}

/// What is removed together.
type Removal = Vec<PathBuf>;

/// Files and folders by what a user leaves out: by name, where functions and groups and units have it
/// each; by path else.
fn classes(root: &Path) -> BTreeMap<String, Removal> {
    let mut classes: BTreeMap<String, Removal> = BTreeMap::new();
    let (files, folders) = paths(root);
    for path in files.into_iter().chain(folders) {
        let general: Vec<String> = path
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .map(|part| {
                let numbered = part.parse::<u32>().is_ok()
                    || part.parse::<crate::pci::Bdf>().is_ok()
                    || part.starts_with("pci0")
                    || part.starts_with("0001:")
                    || ["ivhd", "dmar", "smmu"].iter().any(|unit| part.starts_with(unit));
                if numbered { "*".to_owned() } else { part }
            })
            .collect();
        let mut name = general.join("/");
        // However many bridges are above.
        while name.contains("*/*/") {
            name = name.replace("*/*/", "*/");
        }
        classes.entry(name).or_default().push(path);
    }
    classes
}

fn remove(root: &Path, removal: &[PathBuf]) {
    for path in removal.iter().map(|path| root.join(path)) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            // With a folder that was removed before.
            Err(_) => {}
        }
    }
}

/// What says in a sentence that a file is cited for what it lacks, or for another time.
const LACKING: [&str; 15] = [
    "is not there",
    "not in this copy",
    "is missing",
    "not copied",
    "was not read",
    "not be read",
    "cannot be read",
    "has no sys/kernel/btf",
    "not known",
    "does not describe",
    "look with a kernel that has",
    "is not in",
    "copy ",
    "are not there",
    "there is no ",
];

/// Citations in a line for which the tree has nothing.
fn unfounded(line: &str, root: &Path, events: usize) -> Vec<String> {
    let mut found = Vec::new();
    let lacking = LACKING.iter().any(|words| line.contains(words)) || line.starts_with('>');
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/_:.*-".contains(c);
    for word in line.split(|c: char| !is_part(c)) {
        let word = word.trim_end_matches(['.', ':', ',']).trim_start_matches('/');
        let path = ["sys/", "proc/", "dev/", "etc/", "lib/modules/"]
            .iter()
            .any(|folder| word.starts_with(folder));
        // A new root of a file system; what the reader is told to look at; a file for the attempt.
        if !path || lacking || word.starts_with("dev/vfio") || word.starts_with("dev/nvme") {
            continue;
        }
        if !exists(root, &word.split('/').collect::<Vec<_>>()) {
            found.push(word.to_owned());
        }
    }
    let has = |path: &str| root.join(path).symlink_metadata().is_ok();
    for (words, path) in [
        ("IVRS offset", "sys/firmware/acpi/tables/IVRS"),
        ("IVRS, at offset", "sys/firmware/acpi/tables/IVRS"),
        ("DMAR offset", "sys/firmware/acpi/tables/DMAR"),
        ("DMAR, at offset", "sys/firmware/acpi/tables/DMAR"),
        ("in the BTF", "sys/kernel/btf/vmlinux"),
        ("kernel log:", "dev/kmsg"),
    ] {
        if line.contains(words) && !has(path) {
            found.push(words.to_owned());
        }
    }
    for number in line.split("event ").skip(1) {
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        if digits.parse::<usize>().is_ok_and(|number| number >= events) {
            found.push(format!("event {digits}"));
        }
    }
    found
}

/// Whether a path is in the tree; `*` stands for any name.
fn exists(at: &Path, parts: &[&str]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return true };
    if *first == "*" {
        let names = fs::read_dir(at).into_iter().flatten().flatten();
        return names.into_iter().any(|entry| exists(&entry.path(), rest));
    }
    let path = at.join(first);
    if rest.is_empty() {
        path.symlink_metadata().is_ok()
    } else {
        path.exists() && exists(&path, rest)
    }
}

/// What is told as absent, or as the case, of the host. A partial copy says it only where the whole
/// one does.
const ASSERTED: [&str; 27] = [
    "no IOMMU is on",
    "no IOMMU groups",
    "no IOMMU group",
    "No IOMMU",
    "no IOMMU is in use",
    "Without IOMMU groups",
    "covers no PCI function",
    "covers no device",
    "blocks nothing now",
    "where this host has no PCI function",
    "the kernel has no module vfio-pci",
    "does not describe its types",
    "interrupts are not remapped",
    "This host has no",
    "the host has no",
    "none of which holds",
    "applies to no device",
    "nothing was found that it is in use for",
    "No AMD IOMMU serves",
    "of the 0 devices",
    "switched off",
    "Nothing in this table keeps",
    "firmware is not in the way",
    "firmware blocks none",
    "neither AMD's nor Intel's",
    "serves them",
    "This host's IOMMU is ARM's",
];

/// Findings that a removal may bring: each says what is not known, or that the copy contradicts itself.
const MAY_COME: [Code; 8] = [
    Code::Contradiction,
    Code::GroupsUnreadable,
    Code::NoIommuShown,
    Code::IvrsUnreadable,
    Code::DmarUnreadable,
    Code::NoBtf,
    Code::RequireDirect,
    Code::Skipped,
];

fn word(verdict: &impl serde::Serialize) -> String {
    serde_json::to_value(verdict).unwrap().as_str().unwrap().to_owned()
}

/// What is wrong with what is said of a partial tree.
fn faults(whole: &Told, part: &Told, root: &Path, events: usize) -> BTreeSet<String> {
    let mut faults = BTreeSet::new();
    for (name, lines) in &part.texts {
        for line in lines {
            // The dashboard breaks its lines.
            for cited in unfounded(line, root, events).into_iter().filter(|_| *name != "dashboard")
            {
                faults.insert(format!("{name} cites {cited}: {line}"));
            }
            for words in ASSERTED.iter().filter(|words| line.contains(**words)) {
                let also = whole
                    .texts
                    .get(name)
                    .is_some_and(|all| all.iter().any(|one| one.contains(words)));
                if !also {
                    faults.insert(format!("{name} asserts {words:?}: {line}"));
                }
            }
        }
    }
    for device in &part.verdicts.devices {
        let before = whole.verdicts.devices.iter().find(|one| one.bdf == device.bdf);
        let (now, before) = (word(&device.verdict), before.map(|one| word(&one.verdict)));
        if now != "unknown" && Some(&now) != before.as_ref() {
            faults.insert(format!("{} was {before:?} and is {now}", device.bdf));
        }
        let all: BTreeSet<EntryId> = whole
            .verdicts
            .devices
            .iter()
            .filter(|one| one.group == device.group || one.bdf == device.bdf)
            .flat_map(|one| one.causes.iter().filter_map(|cause| cause.entry))
            .collect();
        for entry in device.causes.iter().filter_map(|cause| cause.entry) {
            if !all.contains(&entry) {
                faults.insert(format!("{} is now held by {entry}", device.bdf));
            }
        }
    }
    let before: BTreeSet<Code> = whole.verdicts.findings.iter().map(|one| one.code).collect();
    for finding in &part.verdicts.findings {
        if !before.contains(&finding.code) && !MAY_COME.contains(&finding.code) {
            faults.insert(format!("new finding {}: {}", finding.code, finding.message));
        }
    }
    let lines = |told: &Told| -> BTreeMap<String, BTreeSet<String>> {
        let mut states: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let of_devices = told.health.devices.iter().flat_map(|device| {
            device.lines.iter().map(move |line| (format!("{} {}", device.bdf, line.code), line))
        });
        let h = &told.health;
        let of_host = [&h.tracing, &h.iommu, &h.table, &h.vfio].into_iter().flatten();
        for (code, line) in of_host.map(|line| (line.code.to_owned(), line)).chain(of_devices) {
            states.entry(code).or_default().insert(word(&line.state));
        }
        states
    };
    let before = lines(whole);
    for (code, states) in lines(part) {
        let known = before.get(&code);
        for state in states.iter().filter(|state| **state != word(&State::Unknown)) {
            // A table that cannot be read is a warning.
            if !known.is_some_and(|before| before.contains(state)) && code != "table" {
                faults.insert(format!("doctor: {code} was {known:?} and is {state}"));
            }
        }
    }
    faults
}

/// A golden host on disk, with what else a copy has.
fn planted(host: &Snapshot) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    plant(host, folder.path());
    let release = host.kernel_release.value().unwrap();
    let modules = format!("lib/modules/{release}/modules.dep");
    let modules = (modules.as_str(), "kernel/drivers/vfio/pci/vfio-pci.ko.xz: a.ko\n");
    for (path, content) in FURTHER.into_iter().chain([modules]) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// What verdicts rest on: what is removed in pairs.
const DECISIVE: [&str; 11] = [
    "/iommu",
    "/iommu_group",
    "/reserved_regions",
    "/uevent",
    "/class",
    "/btf",
    "osrelease",
    "sys/kernel/iommu_groups/*/devices",
    "sys/devices/virtual/iommu",
    "sys/bus/pci/devices",
    "sys/firmware/acpi/tables",
];
/// What a user copies who has not read how to.
const KEPT: [&[&str]; 6] = [
    &["sys/firmware"],
    &["sys/kernel/iommu_groups"],
    &["sys/bus", "sys/devices"],
    &["sys/kernel", "sys/firmware", "proc"],
    &["sys/class", "sys/bus"],
    &["dev", "sys/firmware"],
];

/// What to remove; `wide` is also one file of each kind, and pairs of kinds.
fn removals(root: &Path, wide: bool) -> Vec<(String, Removal)> {
    let classes = classes(root);
    let mut removals = Vec::new();
    for (class, paths) in &classes {
        removals.push((class.clone(), paths.clone()));
        if let [first, .., last] = paths.as_slice()
            && wide
        {
            removals.push((format!("one of {class}"), vec![first.clone()]));
            removals.push((format!("another of {class}"), vec![last.clone()]));
        }
    }
    for link in paths(root).0.iter().filter(|path| path.ends_with("iommu_group")) {
        let bdf = link.parent().and_then(Path::file_name).unwrap();
        let listed = paths(root)
            .0
            .into_iter()
            .filter(|path| path.file_name() == Some(bdf) && !path.starts_with("sys/bus"));
        let listed: Vec<PathBuf> = listed.chain([link.clone()]).collect();
        let served = [listed.clone(), vec![link.with_file_name("iommu")]].concat();
        removals.push((format!("the group of {}", bdf.display()), listed));
        // Without a table nothing but these links tells that it has one.
        if fs::read_dir(root.join("sys/firmware/acpi/tables")).is_ok() {
            removals.push((format!("group and IOMMU of {}", bdf.display()), served));
        }
    }
    let decisive: Vec<_> = classes
        .iter()
        .filter(|(class, _)| DECISIVE.iter().any(|one| class.ends_with(one)))
        .collect();
    for (index, (one, paths)) in decisive.iter().enumerate().filter(|_| wide) {
        for (other, more) in decisive.iter().skip(index + 1) {
            removals.push((format!("{one} and {other}"), [&paths[..], more].concat()));
        }
    }
    for kept in KEPT.into_iter().filter(|_| wide) {
        let paths = paths(root).0;
        let rest = paths.into_iter().filter(|path| !kept.iter().any(|one| path.starts_with(one)));
        removals.push((format!("all but {}", kept.join(" and ")), rest.collect()));
    }
    removals
}

/// Faults, and the removals that lead to each.
fn faults_of(hosts: &[hosts::Named], wide: bool) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, (host, events), flag) in hosts {
        let folder = planted(host);
        let whole = Told::of(folder.path(), *flag, events, None);
        let again = faults(&whole, &whole, folder.path(), events.len());
        assert_eq!(again, BTreeSet::new(), "{name}: the whole host");
        for (what, removal) in removals(folder.path(), wide) {
            let folder = planted(host);
            remove(folder.path(), &removal);
            // Which is no copy of a host any more.
            if !folder.path().join("sys").is_dir() {
                continue;
            }
            let part = Told::of(folder.path(), *flag, events, Some(&whole.model));
            let root = folder.path().to_string_lossy().into_owned();
            for fault in faults(&whole, &part, folder.path(), events.len()) {
                let cases = found.entry(fault.replace(&root, "")).or_default();
                cases.push(format!("{name} without {what}"));
            }
        }
    }
    found
}

fn hold(wide: bool) {
    let hosts = hosts::all();
    let (one, other) = hosts.split_at(hosts.len() / 2);
    let found = std::thread::scope(|scope| {
        let other = scope.spawn(|| faults_of(other, wide));
        let mut found = faults_of(one, wide);
        found.extend(other.join().unwrap());
        found
    });
    let told: Vec<String> = found
        .iter()
        .map(|(fault, cases)| format!("{fault}\n      {} cases: {}", cases.len(), cases[0]))
        .collect();
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), told.join("\n"));
}

#[test]
fn what_is_removed_is_neither_cited_nor_told_absent() {
    hold(false);
}

#[test]
#[ignore = "takes minutes"]
fn nor_is_what_is_removed_in_pairs() {
    hold(true);
}
