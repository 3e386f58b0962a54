//! Where a command takes its host from: this one, a copied tree, a recording, or a table alone.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, bail};

use crate::{
    codes::Code,
    escape::printable,
    event::Event,
    facts::Start,
    firmware::{
        Dmar, Ivrs, TableError,
        dump::{self, Dump, Form, INPUT_LIMIT, Log},
    },
    host::{self, HexBytes, Reading, Snapshot},
    live,
    model::{
        Finding, FlagSource, KernelFlag, Model, Outcome, RequireDirect, Severity, diff::Scope,
    },
    output,
    pci::Bdf,
    probe::{btf::Btf, tracer},
    recording::{self, Reader},
    replay::Replay,
};

/// A file or standard input, of which the first bytes can be looked at.
type Input = BufReader<Box<dyn Read>>;

/// This host, a copied or a recorded one, without asking the kernel.
pub(crate) fn files(from: Option<&Path>) -> anyhow::Result<Model> {
    match from {
        None => Ok(this_host()),
        Some(path) if path.is_dir() => Ok(model_of_tree(path)?.0),
        Some(path) => {
            let model = recording(path, |_, _, _| {})?.model;
            tell_attempts(path, &model);
            Ok(model)
        }
    }
}

/// This host by its files alone.
pub(crate) fn this_host() -> Model {
    Model::new(Snapshot::read(Path::new("/")), live::require_direct())
}

/// The named devices that there are; of each other one an error line says so.
pub(crate) fn present(model: &Model, named: &[Bdf]) -> Vec<Bdf> {
    let (present, others): (Vec<Bdf>, Vec<Bdf>) =
        named.iter().partition(|bdf| model.function(**bdf).is_some());
    for bdf in others {
        output::complain(&match &model.host().functions {
            Reading::Read(_) => {
                format!("there is no PCI function {bdf} on this host; `lspci -D` lists them")
            }
            Reading::Absent => format!(
                "whether there is a PCI function {bdf} is not known: sys/bus/pci/devices is not \
                 there"
            ),
            Reading::Unreadable(why) => {
                format!("whether there is a PCI function {bdf} is not known: {}", printable(why))
            }
        });
    }
    present
}

/// Says on standard error that a recording has attempts, and which command explains them.
pub(crate) fn tell_attempts(path: &Path, model: &Model) {
    let attempts = model.attempts();
    let refused = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Rejected).count();
    if !attempts.is_empty() {
        output::complain(&format!(
            "{} also holds {} attempts to claim a device, {refused} of them refused: `ivrs-trace \
             run --from` explains them",
            name_of(path),
            attempts.len()
        ));
    }
}

/// Reads a recording to its end, says on standard error what is missing in it, and hands over each
/// event; `-` is standard input.
pub(crate) fn recording(
    path: &Path,
    each: impl FnMut(Option<&Start>, u64, &Event),
) -> anyhow::Result<Replay> {
    let name = name_of(path);
    let input = open_recording(path)?;
    read_recording(&name, input, each)
}

/// A recording, to be read by whoever asks.
#[cfg(feature = "tui")]
pub(crate) fn tape(path: &Path) -> anyhow::Result<crate::replay::Tape> {
    Ok(crate::replay::Tape::read(reader(&name_of(path), open_recording(path)?)?))
}

fn open_recording(path: &Path) -> anyhow::Result<Input> {
    let name = name_of(path);
    let mut input = open(path).with_context(|| format!("cannot read {name}"))?;
    let start = input.fill_buf().with_context(|| format!("cannot read {name}"))?;
    if !recording::is_recording(start) {
        bail!(
            "{name} is not a recording, nor a folder: `--from` takes what `ivrs-trace record` or \
             `run -o` made, or, where that is enough, the copied tree of a host \
             (docs/copy-a-host.md); `ivrs-trace decode` reads a table alone"
        );
    }
    Ok(input)
}

fn reader(name: &str, input: Input) -> anyhow::Result<Reader<Input>> {
    match Reader::new(input) {
        Ok(reader) => Ok(reader),
        Err(recording::OpenError::Io(error)) => {
            Err(error).with_context(|| format!("cannot read {name}"))
        }
        Err(error) => bail!("{name} {error}"),
    }
}

fn read_recording(
    name: &str,
    input: Input,
    each: impl FnMut(Option<&Start>, u64, &Event),
) -> anyhow::Result<Replay> {
    let reader = reader(name, input)?;
    let replay = crate::replay::replay(reader, each);
    complain_of(name, &replay.condition.notes());
    if let Some(continues) = &replay.continues {
        output::complain(&format!(
            "{name}: it goes on from {}, whose attempts are not in it",
            continues.before()
        ));
    }
    match &replay.start {
        None => output::complain(&format!(
            "{name}: its beginning is missing: whether its kernel refuses devices is unknown"
        )),
        Some(start) if start.event_layout != recording::EVENT_LAYOUT => {
            output::complain(&format!(
                "{name}: another version wrote its events (layout {}); those that do not decode \
                 count as lost",
                start.event_layout
            ));
        }
        Some(_) => {}
    }
    Ok(replay)
}

/// A copied tree, a recording, or a table in any form that `decode` reads; `-` is standard input.
pub(crate) fn tree_or_table(path: &Path) -> anyhow::Result<(Model, Scope)> {
    if path.is_dir() {
        return Ok((model_of_tree(path)?.0, Scope::Host));
    }
    let name = name_of(path);
    let cannot = || format!("cannot read {name}");
    let mut input = open(path).with_context(cannot)?;
    if recording::is_recording(input.fill_buf().with_context(cannot)?) {
        return Ok((read_recording(&name, input, |_, _, _| {})?.model, Scope::Host));
    }
    // No other table was looked for, as on a host that has none.
    let (ivrs, dmar) = (Reading::Absent, Reading::Absent);
    let mut snapshot = Snapshot { ivrs, dmar, ..Snapshot::default() };
    for found in tables_in(&name, &read_all(input).with_context(cannot)?)? {
        if found.headless {
            bail!(
                "{name} has blocks of a table, not the table: only `ivrs-trace decode` reads that"
            );
        }
        // What follows a table in a dump is not the table.
        let (place, bytes) = match &found.what {
            What::Ivrs(table) => (&mut snapshot.ivrs, table.bytes()),
            What::Dmar(table) => (&mut snapshot.dmar, table.bytes()),
            What::Log(_) => bail!(
                "{name} is a kernel log, which has only what the kernel made of a table; give the \
                 table itself (/sys/firmware/acpi/tables/IVRS or DMAR) or a copied tree"
            ),
        };
        if place.value().is_some_and(|first| first.0 != bytes) {
            output::complain(&format!("{name}: of several tables of a kind, the first is used"));
            continue;
        }
        *place = Reading::Read(HexBytes(bytes.to_vec()));
    }
    Ok((Model::new(snapshot, RequireDirect::Unknown), Scope::Table))
}

/// The name of an input for people.
pub(crate) fn name_of(path: &Path) -> String {
    if path.as_os_str() == OsStr::new("-") {
        "standard input".to_owned()
    } else {
        printable(&path.display().to_string())
    }
}

/// What an input has that is no host.
pub(crate) struct Found {
    pub(crate) what: What,
    /// The form that a table in a text has, and its first and last line there.
    pub(crate) place: Option<(Form, usize, usize)>,
    /// Whether it is blocks alone, without the table's header.
    pub(crate) headless: bool,
}

pub(crate) enum What {
    Ivrs(Ivrs),
    Dmar(Dmar),
    /// No table, but what the kernel said of it.
    Log(Box<Log>),
}

/// What `decode` is to read: in a file, in standard input, or in a recording. There is at least one.
pub(crate) fn tables(path: &Path) -> anyhow::Result<Vec<Found>> {
    let name = name_of(path);
    let cannot = || format!("cannot read {name}");
    let mut input = open(path).with_context(cannot)?;
    if !recording::is_recording(input.fill_buf().with_context(cannot)?) {
        return tables_in(&name, &read_all(input).with_context(cannot)?);
    }
    let replay = read_recording(&name, input, |_, _, _| {})?;
    let host = replay.model.host();
    let mut found = Vec::new();
    for table in [&host.ivrs, &host.dmar].into_iter().filter_map(Reading::value) {
        found.extend(tables_in(&name, &table.0)?);
    }
    match (found.as_slice(), &host.ivrs, &host.dmar) {
        ([], Reading::Unreadable(why), _) | ([], _, Reading::Unreadable(why)) => {
            bail!("{name} has neither an IVRS nor a DMAR table: {}", printable(why))
        }
        ([], _, _) => bail!("{name} is of a host that has neither an IVRS nor a DMAR table"),
        ([_, _, ..], _, _) => output::complain(&format!("{name} holds an IVRS and a DMAR table")),
        _ => {}
    }
    Ok(found)
}

/// The tables in an input, or else the lines of a kernel log; what else is to be known of them is
/// said on standard error.
fn tables_in(name: &str, input: &[u8]) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for dump in dump::read(input).with_context(|| name.to_owned())? {
        complain_of(name, dump.notes());
        found.push(match dump {
            Dump::Log(log) => Found { what: What::Log(log), place: None, headless: false },
            Dump::Table(dump) => {
                let what = match Dmar::parse(&dump.table) {
                    Err(TableError::BadSignature { .. }) => {
                        Ivrs::parse(&dump.table).map(What::Ivrs)
                    }
                    dmar => dmar.map(What::Dmar),
                };
                let place = dump.lines.map(|(first, last)| (dump.form, first, last));
                let headless = dump.headless;
                Found { what: what.with_context(|| name.to_owned())?, place, headless }
            }
        });
    }
    Ok(found)
}

fn complain_of(name: &str, notes: &[String]) {
    for note in notes {
        output::complain(&format!("{name}: {note}"));
    }
}

fn open(path: &Path) -> io::Result<Input> {
    let input: Box<dyn Read> = if path.as_os_str() == OsStr::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    Ok(BufReader::new(input))
}

/// One more byte than is allowed at most, so that too much is noticed.
fn read_all(input: Input) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(INPUT_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    input.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A copied host, and how it is known whether its kernel refuses.
pub(crate) fn model_of_tree(tree: &Path) -> anyhow::Result<(Model, Finding)> {
    let shown = printable(&tree.display().to_string());
    if !tree.join("sys").is_dir() {
        bail!(
            "{shown} holds no folder `sys`, so it is not the copied tree of a host; \
             docs/copy-a-host.md says how to make one"
        );
    }
    let snapshot = Snapshot::read(tree);
    let release = snapshot.kernel_release.value().map(String::as_str);
    let flag = kernel_flag(&host::kernel_btf(tree), release);
    let release = release.map(str::to_owned);
    let model = Model::new(snapshot, flag.clone());
    let evidence = evidence(&flag, release.as_deref(), model.is_intel_host());
    Ok((model, evidence))
}

/// Whether a copied kernel refuses devices with direct regions: from its BTF, else by its release.
fn kernel_flag(btf: &Reading<Vec<u8>>, release: Option<&str>) -> KernelFlag {
    let no_btf = match btf {
        Reading::Read(bytes) => match Btf::parse(bytes.clone()) {
            Ok(btf) => {
                let name = "sys/kernel/btf/vmlinux in the tree";
                return KernelFlag::of_btf(tracer::require_direct(&btf), release, name);
            }
            Err(error) => format!("sys/kernel/btf/vmlinux in the tree cannot be used: {error}"),
        },
        Reading::Absent => "the tree has no sys/kernel/btf/vmlinux".to_owned(),
        Reading::Unreadable(why) => printable(why),
    };
    KernelFlag::of_release(release, no_btf)
}

fn evidence(flag: &KernelFlag, release: Option<&str>, intel: bool) -> Finding {
    let (severity, message) = match &flag.source {
        // Whichever the kernel is, so that this agrees with the verdicts.
        source if intel && flag.answer != RequireDirect::Present => {
            let name = release.map_or_else(|| "of unknown release".to_owned(), printable);
            let why = match source {
                FlagSource::Nowhere { no_btf } | FlagSource::Release { no_btf, .. } => {
                    no_btf.as_str()
                }
                FlagSource::Btf => "sys/kernel/btf/vmlinux in the tree does not have that flag",
            };
            let message = format!(
                "kernel {name} refuses devices with direct regions: Intel's driver does so by itself \
                 up to 6.5 (intel_iommu_attach_device), dev_iommu.require_direct from 6.6 on; {why}"
            );
            (Severity::Note, message)
        }
        FlagSource::Btf => {
            let has = if flag.answer == RequireDirect::Present { "has" } else { "does not have" };
            let message = format!(
                "sys/kernel/btf/vmlinux in the tree {has} dev_iommu.require_direct, by which the \
                 kernel refuses devices with direct regions"
            );
            (Severity::Note, message)
        }
        FlagSource::Release { release, no_btf } => {
            let message = format!(
                "kernel {} refuses devices with direct regions, by its version (mainline does \
                 from 6.6 on): {no_btf}",
                printable(release)
            );
            (Severity::Note, message)
        }
        FlagSource::Nowhere { no_btf } => {
            let message = match release {
                Some(text) => format!(
                    "cannot tell whether kernel {} has dev_iommu.require_direct: mainline has it \
                     from 6.6 on, but so do some distributions' older kernels, and {no_btf}",
                    printable(text)
                ),
                None => format!(
                    "cannot tell whether the kernel has dev_iommu.require_direct: its release could \
                     not be read (proc/sys/kernel/osrelease), and {no_btf}"
                ),
            };
            (Severity::Warning, message)
        }
    };
    // A warning where the answer is not known, and a note where it is.
    Finding { severity, ..Finding::new(Code::RequireDirect, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_intels_driver_no_release_makes_a_doubt() {
        for release in [None, Some("4.4.0"), Some("5.15.0"), Some("6.5.13"), Some("6.6.0")] {
            let flag = kernel_flag(&Reading::Absent, release);
            let finding = evidence(&flag, release, true);
            assert_eq!(finding.severity, Severity::Note, "{release:?}");
            assert!(finding.message.contains("refuses devices with direct regions"));
            assert!(!finding.message.contains("cannot tell"), "{}", finding.message);
            let model = Model::new(intel_host(), flag);
            assert_eq!(model.refuses(), RequireDirect::Present);
        }
        let missing = KernelFlag::from(RequireDirect::Missing);
        let finding = evidence(&missing, Some("5.15.0"), true);
        assert!(
            finding.message.contains("refuses devices") && finding.message.contains("up to 6.5")
        );
        let amd = evidence(&kernel_flag(&Reading::Absent, None), None, false);
        assert_eq!(amd.severity, Severity::Warning);
    }

    fn intel_host() -> Snapshot {
        Snapshot { iommus: Reading::Read(vec!["dmar0".to_owned()]), ..Snapshot::default() }
    }

    #[test]
    fn a_copied_kernel_is_judged_by_its_version_only_where_that_is_never_wrong() {
        let absent = Reading::Absent;
        for (release, expected) in [
            (Some("6.12.117+deb12-amd64"), RequireDirect::Present),
            (Some("6.6.0-rc1"), RequireDirect::Present),
            (Some("6.6"), RequireDirect::Present),
            (Some("7.0.0-43-generic"), RequireDirect::Present),
            (Some("10.0"), RequireDirect::Present),
            // Red Hat's 5.14 has it; 6.1 of others has not.
            (Some("5.14.0-503.el9.x86_64"), RequireDirect::Unknown),
            (Some("6.1.192"), RequireDirect::Unknown),
            (Some("6.5.0+"), RequireDirect::Unknown),
            (Some("+7.0"), RequireDirect::Unknown),
            (Some("99999999999.1"), RequireDirect::Unknown),
            (Some("Linux"), RequireDirect::Unknown),
            (Some(""), RequireDirect::Unknown),
            (None, RequireDirect::Unknown),
        ] {
            let flag = kernel_flag(&absent, release);
            let evidence = evidence(&flag, release, false);
            assert_eq!(flag.answer, expected, "{release:?}");
            assert_eq!(evidence.code, Code::RequireDirect);
            assert!(evidence.message.contains("no sys/kernel/btf"), "{}", evidence.message);
        }
    }

    #[test]
    fn no_btf_is_cited_where_there_is_none() {
        use crate::{host::Conditions, model::health};
        for (release, state, words) in [
            ("6.12.0", health::State::Ok, "from 6.6 on"),
            ("6.1.0", health::State::Unknown, "no sys/kernel/btf/vmlinux"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("sys/kernel")).unwrap();
            std::fs::create_dir_all(folder.path().join("proc/sys/kernel")).unwrap();
            std::fs::write(folder.path().join("proc/sys/kernel/osrelease"), release).unwrap();
            let (model, _) = model_of_tree(folder.path()).unwrap();
            let (conditions, tracing) = (Conditions::default(), health::Tracing::default());
            let looked = health::health(&model, &model.verdicts(), &conditions, &tracing, &[]);
            let line = looked.iommu.iter().find(|line| line.code == "kernel-refuses").unwrap();
            let evidence = line.evidence.join("; ");
            assert_eq!(line.state, state, "{evidence}");
            assert!(!evidence.contains("in the kernel's BTF"), "{evidence}");
            assert!(!evidence.contains("in the BTF"), "{evidence}");
            assert!(evidence.contains(words) && evidence.contains(release), "{evidence}");
        }
    }

    #[test]
    fn what_is_no_btf_proves_nothing() {
        let flag = kernel_flag(&Reading::Read(vec![0; 64]), Some("6.1.0"));
        let evidence = evidence(&flag, Some("6.1.0"), false);
        assert_eq!(flag.answer, RequireDirect::Unknown);
        assert!(evidence.message.contains("is not BTF"), "{}", evidence.message);
    }

    #[test]
    fn what_is_no_host_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("IVRS");
        std::fs::write(&file, "IVRS").unwrap();
        let cut = folder.path().join("cut.ivt");
        std::fs::write(&cut, "\u{89}IVT\r\n").unwrap();
        let broken = folder.path().join("broken.ivt");
        std::fs::write(&broken, b"\x89IVT\n\x1a\n\x01\0\0\0aaaaaaaaa").unwrap();
        for (path, expected) in [
            (file.as_path(), "is not a recording, nor a folder"),
            (&cut, "is not a recording, nor a folder"),
            (&broken, "copied as text"),
            (folder.path(), "holds no folder `sys`"),
            (&folder.path().join("nowhere"), "cannot read"),
        ] {
            let error = format!("{:#}", files(Some(path)).err().unwrap());
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }
}
