//! Is the IOMMU on, whose is it, and does this kernel refuse.

use super::{Line, State, count};
use crate::{
    host::{Conditions, Reading},
    model::{Known, RequireDirect, Verdict, Verdicts, options},
};

pub(super) fn lines(model: &Known, verdicts: &Verdicts, conditions: &Conditions) -> Vec<Line> {
    let mut lines = vec![vendor(model, conditions)];
    let host = model.host();
    let line = match model.refuses() {
        RequireDirect::Present => {
            let flag = model.require_direct() == RequireDirect::Present;
            let since = if flag { ", as Linux does since 6.6" } else { "" };
            let message =
                format!("this kernel refuses devices for which firmware asks for a 1:1 map{since}");
            Line::new("kernel-refuses", State::Ok, message)
        }
        RequireDirect::Missing => Line::new(
            "kernel-refuses",
            State::Ok,
            "this kernel refuses no device for a 1:1 map; one from 6.6 on would",
        ),
        RequireDirect::Unknown => Line::new(
            "kernel-refuses",
            State::Unknown,
            "whether this kernel refuses devices for a 1:1 map is not known",
        )
        .then("look with a kernel that has /sys/kernel/btf/vmlinux"),
    };
    lines.push(model.refuses_by().into_iter().fold(line, Line::from));
    let (blocked, unknown) = (count(verdicts, Verdict::Blocked), count(verdicts, Verdict::Unknown));
    let all = verdicts.served().count();
    if blocked > 0 {
        let message = format!("firmware blocks {blocked} of {all} devices");
        let line = Line::new("blocked", State::No, message);
        lines.push(line.then("`ivrs-trace check` says which, and by which entry"));
    } else if unknown > 0 {
        let message =
            format!("for {unknown} of {all} devices it is not known whether firmware blocks them");
        let line = Line::new("blocked", State::Unknown, message);
        lines.push(line.then("`ivrs-trace check` says what is missing"));
    } else if all > 0 {
        lines.push(Line::new(
            "blocked",
            State::Ok,
            format!("firmware blocks none of {all} devices"),
        ));
    }
    let unserved: usize = verdicts.unserved().values().map(Vec::len).sum();
    if unserved > 0 {
        let message = format!("no IOMMU serves {unserved} of {} devices", all + unserved);
        let line = Line::new("no-iommu", State::Warning, message);
        lines.push(line.then("`ivrs-trace check` says which, and why"));
    }
    if let Some(option) = options::relax_unity(host) {
        lines.push(
            Line::new(
                "relax-unity",
                State::Warning,
                "the command line asks for relaxed unity maps, which no released kernel knows: one \
                 patched for it gives devices away although firmware may still use their memory",
            )
            .from(format!("/proc/cmdline: {option}")),
        );
    }
    lines
}

/// `intel_iommu_setup` (drivers/iommu/intel/iommu.c) logs it as it reads the option, before any unit is
/// looked for.
const ECHO: &str = "DMAR: IOMMU enabled";

fn vendor(model: &Known, conditions: &Conditions) -> Line {
    // An IOMMU at work has groups.
    let no_groups = model.host().groups.value().is_some_and(Vec::is_empty);
    let units = match &model.host().iommus {
        Reading::Unreadable(_) if no_groups => return none(model, conditions),
        Reading::Unreadable(why) => {
            let line = Line::new("iommu", State::Unknown, "whether the IOMMU is on is not known");
            return line.from(why.clone());
        }
        other => other.value().map_or(&[][..], Vec::as_slice),
    };
    if let Reading::Unreadable(why) = &model.host().groups {
        let line = Line::new("iommu", State::Unknown, "whether the IOMMU has groups is not known");
        return line.from(format!("/sys/class/iommu: {}", units.join(" "))).from(why.clone());
    }
    let groups = model.groups().count();
    let Some(first) = units.first() else {
        return if groups == 0 {
            none(model, conditions)
        } else {
            Line::new("iommu", State::Unknown, "there are IOMMU groups, but no IOMMU is shown")
                .from(format!("/sys/kernel/iommu_groups: {groups} groups; /sys/class/iommu: empty"))
        };
    };
    // drivers/iommu: amd/init.c, intel/dmar.c, arm/arm-smmu-v3/arm-smmu-v3.c and arm-smmu.c.
    let vendor = if first.starts_with("ivhd") {
        "AMD's"
    } else if first.starts_with("dmar") {
        "Intel's"
    } else if first.starts_with("smmu") || first.contains("iommu") {
        "ARM's or another"
    } else {
        "of a kind that is not known here"
    };
    let state = if groups == 0 { State::No } else { State::Ok };
    Line::new("iommu", state, format!("the IOMMU is on; it is {vendor}, with {groups} groups"))
        .from(format!("/sys/class/iommu: {}", units.join(" ")))
}

/// Why there is none.
fn none(model: &Known, conditions: &Conditions) -> Line {
    let host = model.host();
    let line = Line::new("iommu", State::No, "no IOMMU is on, so VFIO can take no device").from(
        match &host.iommus {
            Reading::Unreadable(_) => "/sys/kernel/iommu_groups: empty",
            Reading::Read(_) | Reading::Absent => {
                "/sys/class/iommu and /sys/kernel/iommu_groups: empty"
            }
        },
    );
    let off = options::of(host).find(|option| {
        let (name, values) = option.split_once('=').unwrap_or((option, ""));
        matches!(name, "iommu" | "amd_iommu" | "intel_iommu")
            && values.split(',').any(|value| value == "off")
    });
    if let Some(option) = off {
        return line
            .from(format!("/proc/cmdline: {option}"))
            .then("take that option out of the kernel's command line");
    }
    let tables = conditions.tables.value();
    let has = |name: &str| tables.is_some_and(|tables| tables.iter().any(|table| table == name));
    let log = conditions.kernel_log.value().into_iter().flatten();
    // The last is of AMD's IOMMUv2 module, which distributions also load elsewhere.
    let bears = |entry: &&String| {
        (entry.contains("AMD-Vi") || entry.contains("IOMMU disabled") || entry.contains(ECHO))
            && !entry.contains("This is not a bug")
    };
    let line = log.filter(bears).take(4).fold(line, |line, entry| {
        let echo = if entry.contains(ECHO) { " (repeats the option, proves nothing)" } else { "" };
        line.from(format!("kernel log: {entry}{echo}"))
    });
    if has("IVRS") {
        return line.from("/sys/firmware/acpi/tables/IVRS is there").then(
            "the firmware offers it and the kernel did not take it: `dmesg | grep AMD-Vi` says \
                 why, and `ivrs-trace decode` whether the table is at fault",
        );
    }
    if has("DMAR") {
        let line = line.from("/sys/firmware/acpi/tables/DMAR is there");
        let on = options::of(host).find(|option| *option == "intel_iommu=on");
        return match on {
            Some(option) => line.from(format!("/proc/cmdline: {option}")).then(
                "the firmware offers it and the kernel did not take it: `dmesg | grep DMAR` says \
                 why, and `ivrs-trace decode` whether the table is at fault",
            ),
            None => line.then("add intel_iommu=on to the kernel's command line"),
        };
    }
    // `tables` is not there at all on a board that only has a device tree.
    if let (Reading::Read(board), None) = (&conditions.device_tree, tables) {
        return line.from(format!("/sys/firmware/devicetree/base/model: {board}")).then(
            "this board describes its hardware by a device tree: the tree must name an IOMMU \
             (SMMU) and the devices behind it, and the kernel needs its driver; many small boards \
             have none, and VFIO cannot protect the host there",
        );
    }
    let line = match (&conditions.tables, &conditions.processor) {
        (Reading::Unreadable(why), _) => line.from(why.clone()),
        (_, Reading::Read(maker)) => line
            .from("/sys/firmware/acpi/tables has neither IVRS nor DMAR")
            .from(format!("/proc/cpuinfo: {maker}")),
        _ => line.from("/sys/firmware/acpi/tables has neither IVRS nor DMAR"),
    };
    line.then(match conditions.processor.value().map(String::as_str) {
        Some("AuthenticAMD") => {
            "switch the IOMMU (AMD-Vi) on in the firmware's set-up, and SVM with it; a virtual \
             machine has one only if it was given one"
        }
        Some("GenuineIntel") => "switch VT-d on in the firmware's set-up",
        _ => "switch the IOMMU on in the firmware's set-up",
    })
}
