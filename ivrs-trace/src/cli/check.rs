//! `ivrs-trace check`: a verdict a device.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    live::{self, Live},
    output,
};
use crate::{
    escape::printable,
    host::{self, Reading, Snapshot},
    model::{Finding, Model, RequireDirect, Severity, Verdict, Verdicts},
    pci::Bdf,
    probe::{btf::Btf, tracer},
    report::{self, json},
};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Judge the tree of another host: a folder with a copy of its sys and proc
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The devices to judge, such as 01:00.0; all if none is named
    #[arg(value_name = "BDF")]
    devices: Vec<Bdf>,
}

/// Judges this host or a copied one. With the privilege for it, this host's kernel is asked through
/// probes; else it is judged from files.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let (model, evidence) = match &args.from {
        Some(tree) => {
            let (model, evidence) = model_of_tree(tree)?;
            (model, Some(evidence))
        }
        None => (model()?, None),
    };
    let mut verdicts = model.verdicts();
    if let Some(evidence) = evidence {
        // Its words are about a kernel that runs here.
        verdicts.findings.retain(|finding| finding.code != "no-btf");
        verdicts.findings.push(evidence);
    }
    verdicts.findings.extend(skipped(model.host()));
    for bdf in &args.devices {
        if model.function(*bdf).is_none() {
            bail!("there is no PCI function {bdf} on this host; `lspci -D` lists them");
        }
        if !verdicts.devices.iter().any(|device| device.bdf == *bdf) {
            bail!(
                "{bdf} is in no IOMMU group, so VFIO cannot take it at all: no IOMMU serves it, or \
                 it is an IOMMU itself"
            );
        }
    }
    if !args.devices.is_empty() {
        verdicts.devices.retain(|device| args.devices.contains(&device.bdf));
    }
    let code = exit_code(&verdicts);
    if args.json {
        output::print_json(&json::check(&model, verdicts))?;
    } else {
        output::print(&report::check(&model, &verdicts))?;
    }
    Ok(code)
}

fn model() -> anyhow::Result<Model> {
    // Without groups there is nothing that probes could show.
    let groups = std::fs::read_dir("/sys/kernel/iommu_groups");
    if groups.is_ok_and(|mut groups| groups.next().is_some()) {
        let runtime = super::runtime()?;
        let _inside = runtime.enter();
        match Live::start(|_, _| {}) {
            Ok(live) => {
                for line in live.degradations() {
                    output::complain(&line);
                }
                let lost = live.lost()?;
                if lost.any() {
                    output::complain(&format!(
                        "{} events were lost while the kernel was asked; files are judged where \
                         its answer is missing",
                        lost.ring + lost.queue + lost.read
                    ));
                }
                return Ok(live.model);
            }
            Err(error) => output::complain(&format!("judging from files alone: {error:#}")),
        }
    }
    Ok(Model::new(Snapshot::read(Path::new("/")), live::require_direct()))
}

/// A copied host, and how it is known whether its kernel refuses.
fn model_of_tree(tree: &Path) -> anyhow::Result<(Model, Finding)> {
    let shown = printable(&tree.display().to_string());
    let meta = tree.metadata().with_context(|| format!("cannot read {shown}"))?;
    if !meta.is_dir() {
        bail!(
            "{shown} is not a folder: `check --from` takes the copied tree of a host \
             (docs/copy-a-host.md); `ivrs-trace decode` reads a table alone"
        );
    }
    if !tree.join("sys").is_dir() {
        bail!(
            "{shown} holds no folder `sys`, so it is not the copied tree of a host; \
             docs/copy-a-host.md says how to make one"
        );
    }
    let snapshot = Snapshot::read(tree);
    let (require_direct, evidence) = require_direct(
        &host::kernel_btf(tree),
        snapshot.kernel_release.value().map(String::as_str),
    );
    Ok((Model::new(snapshot, require_direct), evidence))
}

/// Whether a copied kernel refuses devices with direct regions: from its BTF, else by its version.
///
/// Mainline does from 6.6 on (a48ce36e2786) and has not stopped. That an older one does not, its
/// version cannot tell: distributions have backported it.
fn require_direct(btf: &Reading<Vec<u8>>, release: Option<&str>) -> (RequireDirect, Finding) {
    let no_btf = match btf {
        Reading::Read(bytes) => match Btf::parse(bytes.clone()) {
            Ok(btf) => {
                let (answer, has) = if tracer::has_require_direct(&btf) {
                    (RequireDirect::Present, "has")
                } else {
                    (RequireDirect::Missing, "does not have")
                };
                let message = format!(
                    "sys/kernel/btf/vmlinux in the tree {has} dev_iommu.require_direct, by which \
                     the kernel refuses devices with direct regions"
                );
                return (answer, evidence(Severity::Note, message));
            }
            Err(error) => format!("sys/kernel/btf/vmlinux in the tree is of no use: {error}"),
        },
        Reading::Absent => "the tree has no sys/kernel/btf/vmlinux".to_owned(),
        Reading::Unreadable(why) => printable(why),
    };
    match release {
        Some(text) if version(text).is_some_and(|version| version >= (6, 6)) => (
            RequireDirect::Present,
            evidence(
                Severity::Note,
                format!(
                    "that kernel {} refuses devices with direct regions is taken from its version \
                     (mainline does from 6.6 on): {no_btf}",
                    printable(text)
                ),
            ),
        ),
        Some(text) => (
            RequireDirect::Unknown,
            evidence(
                Severity::Warning,
                format!(
                    "whether kernel {} refuses devices with direct regions is not known: mainline \
                     does from 6.6 on, but some distributions' older kernels do too, and {no_btf}",
                    printable(text)
                ),
            ),
        ),
        None => (
            RequireDirect::Unknown,
            evidence(
                Severity::Warning,
                format!(
                    "whether the kernel refuses devices with direct regions is not known: its \
                     release could not be read (proc/sys/kernel/osrelease), and {no_btf}"
                ),
            ),
        ),
    }
}

fn evidence(severity: Severity, message: String) -> Finding {
    Finding { code: "require-direct", severity, message }
}

/// `(6, 12)` of `6.12.117+deb12-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // `parse` would take a sign.
    major.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What the host shows and could not be placed; so nothing is lost in silence.
fn skipped(host: &Snapshot) -> Option<Finding> {
    let first = host.skipped.first()?;
    let more = match host.skipped.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    Some(Finding {
        code: "skipped",
        severity: Severity::Note,
        message: printable(&format!("{}: {}{more}; not judged", first.path, first.why)),
    })
}

fn exit_code(verdicts: &Verdicts) -> ExitCode {
    let any = |verdict| verdicts.devices.iter().any(|device| device.verdict == verdict);
    ExitCode::from(if any(Verdict::Blocked) {
        1
    } else if any(Verdict::Unknown) || verdicts.devices.is_empty() {
        3
    } else {
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (answer, evidence) = require_direct(&absent, release);
            assert_eq!(answer, expected, "{release:?}");
            assert_eq!(evidence.code, "require-direct");
            assert!(evidence.message.contains("no sys/kernel/btf"), "{}", evidence.message);
        }
    }

    #[test]
    fn what_is_no_btf_proves_nothing() {
        let (answer, evidence) = require_direct(&Reading::Read(vec![0; 64]), Some("6.1.0"));
        assert_eq!(answer, RequireDirect::Unknown);
        assert!(evidence.message.contains("is not BTF"), "{}", evidence.message);
    }

    #[test]
    fn what_is_not_a_tree_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("IVRS");
        std::fs::write(&file, "IVRS").unwrap();
        for (path, expected) in [
            (file.as_path(), "is not a folder"),
            (folder.path(), "holds no folder `sys`"),
            (&folder.path().join("nowhere"), "cannot read"),
        ] {
            let error = format!("{:#}", model_of_tree(path).err().unwrap());
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }
}
