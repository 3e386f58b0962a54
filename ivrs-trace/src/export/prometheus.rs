//! Metrics in Prometheus's text format, for the textfile collector of `node_exporter`: a host's state
//! at one moment, gauges only. For whoever runs many hosts.
//!
//! What is not known is left out rather than written as 0.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    escape::printable,
    firmware::amd::kernel::is_effective,
    host::{Reading, RegionKind},
    model::{CauseKind, Model, RequireDirect, Verdict, Verdicts},
};

const OF_GROUPS: [(&str, Verdict); 3] =
    [("blocked", Verdict::Blocked), ("clear", Verdict::Clear), ("unknown", Verdict::Unknown)];
/// Those of functions that are in no group.
const WITHOUT_GROUP: [(&str, Verdict); 2] =
    [("no_iommu", Verdict::NoIommu), ("platform", Verdict::Platform)];

/// The metrics of a host.
#[must_use]
pub fn metrics(model: &Model, verdicts: &Verdicts) -> String {
    let mut page = Metrics::default();
    host(&mut page, model);
    let rejects = match model.refuses() {
        RequireDirect::Present => Some(1),
        RequireDirect::Missing => Some(0),
        RequireDirect::Unknown => None,
    };
    page.head(
        "ivrs_trace_kernel_rejects",
        "Whether the kernel refuses devices for firmware's 1:1 maps (1) or not (0).",
    );
    if let Some(value) = rejects {
        page.sample("ivrs_trace_kernel_rejects", &[], value);
    }
    let devices: Vec<Verdict> = verdicts.devices.iter().map(|one| one.verdict).collect();
    let groups: Vec<Verdict> = verdicts.groups.iter().map(|one| one.verdict).collect();
    let all = [&OF_GROUPS[..], &WITHOUT_GROUP[..]].concat();
    page.verdicts("ivrs_trace_devices", "PCI functions", &all, &devices);
    page.verdicts("ivrs_trace_groups", "IOMMU groups", &OF_GROUPS, &groups);
    causes(&mut page, verdicts);
    blocks(&mut page, model);
    regions(&mut page, model);
    page.head("ivrs_trace_findings", "Findings of ivrs-trace check on this host, by their codes.");
    let mut codes: Vec<&str> =
        verdicts.findings.iter().map(|finding| finding.code.as_str()).collect();
    codes.sort_unstable();
    for code in codes.iter().collect::<BTreeSet<_>>() {
        let count = codes.iter().filter(|one| *one == code).count();
        page.sample("ivrs_trace_findings", &[("code", code)], count);
    }
    page.text
}

fn host(page: &mut Metrics, model: &Model) {
    let host = model.host();
    page.head(
        "ivrs_trace_host_info",
        "Kernel, board and firmware of the host, and the program that looked at it.",
    );
    let text = |reading: &Reading<String>| {
        reading.value().map_or_else(String::new, |text| printable(text.trim()))
    };
    let release = text(&host.kernel_release);
    let dmi = &host.dmi;
    let (vendor, board) = (text(&dmi.board_vendor), text(&dmi.board_name));
    let (bios, date) = (text(&dmi.bios_version), text(&dmi.bios_date));
    let units = host.iommus.value().map_or(&[][..], Vec::as_slice);
    let iommu = if units.iter().any(|unit| unit.starts_with("ivhd")) {
        "amd"
    } else if units.is_empty() {
        "none"
    } else {
        "other"
    };
    page.sample(
        "ivrs_trace_host_info",
        &[
            ("kernel_release", &release),
            ("board_vendor", &vendor),
            ("board_name", &board),
            ("bios_version", &bios),
            ("bios_date", &date),
            ("iommu", iommu),
            ("version", env!("CARGO_PKG_VERSION")),
        ],
        1,
    );
}

/// What blocks, each block once however many devices it holds.
fn causes(page: &mut Metrics, verdicts: &Verdicts) {
    page.head(
        "ivrs_trace_causes",
        "Different firmware requests that keep devices in groups with 1:1 maps, by their kind.",
    );
    let all: BTreeSet<_> = verdicts
        .devices
        .iter()
        .flat_map(|device| device.causes.iter().map(move |cause| (device, cause)))
        // Without a block it is the region of the group that counts.
        .map(|(device, cause)| {
            let named = cause.ivmd().or(cause.rmrr());
            let group = device.group.filter(|_| named.is_none());
            (cause.kind, named, group, cause.start, cause.end)
        })
        .collect();
    for (name, kind) in [
        ("unity_map", CauseKind::UnityMap),
        ("exclusion_range", CauseKind::ExclusionRange),
        ("direct_region", CauseKind::DirectRegion),
        ("rmrr", CauseKind::Rmrr),
    ] {
        let count = all.iter().filter(|one| one.0 == kind).count();
        page.sample("ivrs_trace_causes", &[("kind", name)], count);
    }
}

fn blocks(page: &mut Metrics, model: &Model) {
    page.head(
        "ivrs_trace_ivmd_blocks",
        "IVMD blocks of the IVRS table, by whether Linux heeds them; none where it was not read.",
    );
    let Some(ivrs) = model.table().ivrs() else { return };
    let heeded = ivrs.ivmd.iter().filter(|block| is_effective(block)).count();
    page.sample("ivrs_trace_ivmd_blocks", &[("heeded", "yes")], heeded);
    page.sample("ivrs_trace_ivmd_blocks", &[("heeded", "no")], ivrs.ivmd.len() - heeded);
    page.head(
        "ivrs_trace_dma_protection",
        "Whether IVinfo bit 1 says that firmware used the IOMMU before boot (1) or not (0).",
    );
    page.sample("ivrs_trace_dma_protection", &[], usize::from(ivrs.ivinfo.dma_remap()));
}

fn regions(page: &mut Metrics, model: &Model) {
    page.head(
        "ivrs_trace_direct_regions",
        "Direct reserved regions of all IOMMU groups as sysfs shows them, by their type.",
    );
    let Some(groups) = model.host().groups.value() else { return };
    // Of a group that could not be read nothing is known.
    if groups.iter().any(|group| group.regions.value().is_none()) {
        return;
    }
    for kind in [RegionKind::Direct, RegionKind::DirectRelaxable] {
        let all = groups.iter().flat_map(|group| group.regions.value().into_iter().flatten());
        let count = all.filter(|region| region.kind == kind).count();
        page.sample("ivrs_trace_direct_regions", &[("type", &kind.to_string())], count);
    }
}

/// Metrics being written.
#[derive(Default)]
struct Metrics {
    text: String,
    /// What comes before the next sample: a metric without samples is not named.
    head: String,
}

impl Metrics {
    fn head(&mut self, name: &str, help: &str) {
        self.head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn verdicts(&mut self, name: &str, what: &str, of: &[(&str, Verdict)], verdicts: &[Verdict]) {
        self.head(name, &format!("{what}, by whether VFIO is refused them for a 1:1 map."));
        for (word, verdict) in of {
            let count = verdicts.iter().filter(|one| *one == verdict).count();
            self.sample(name, &[("verdict", word)], count);
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: usize) {
        self.text.push_str(&std::mem::take(&mut self.head));
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _: std::fmt::Result = writeln!(self.text, "{name}{labels} {value}");
    }
}

/// The value of a label: what is printable has no line ends.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}
