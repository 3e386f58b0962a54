//! Is VFIO there, and are interrupts remapped.

use super::{Line, State, shown};
use crate::{
    host::{Conditions, Reading},
    model::Known,
};

pub(super) fn lines(model: &Known, conditions: &Conditions) -> Vec<Line> {
    let mut lines = vec![driver(model, conditions)];
    // Without groups there is nothing that it could isolate.
    if model.groups().next().is_some() {
        lines.push(remapping(model, conditions));
    }
    lines
}

fn driver(model: &Known, conditions: &Conditions) -> Line {
    let folder = "/sys/bus/pci/drivers/vfio-pci";
    if conditions.vfio_pci {
        return Line::new("vfio-pci", State::Ok, "the driver vfio-pci is there")
            .from(format!("{folder} is there"));
    }
    let line = |state, message: &str| {
        Line::new("vfio-pci", state, message).from(format!("{folder} is not there"))
    };
    let command_line = model.host().command_line.value().map_or("", String::as_str);
    let is_it = |name: &str| matches!(name, "vfio-pci" | "vfio_pci");
    // kernel/module/main.c, `module_blacklist`.
    let blacklisted = command_line.split_whitespace().find(|option| {
        option.strip_prefix("module_blacklist=").is_some_and(|names| names.split(',').any(is_it))
    });
    if let Some(option) = blacklisted {
        return line(State::No, "the module vfio-pci may not be loaded")
            .from(format!("/proc/cmdline: {option}"))
            .then("take it out of that option");
    }
    // `install NAME CMD` runs CMD instead; `blacklist` only keeps aliases from loading it.
    let instead = conditions.modprobe.iter().find(|(_, line)| {
        let mut words = line.split_whitespace();
        words.next() == Some("install")
            && words.next().is_some_and(is_it)
            && words
                .next()
                .is_some_and(|command| command.ends_with("/false") || command.ends_with("/true"))
    });
    if let Some((file, text)) = instead {
        return line(State::No, "modprobe may not load the module vfio-pci")
            .from(format!("/{file}: {text}"))
            .then("take that line out");
    }
    if conditions.modules_disabled.value().is_some_and(|text| text == "1") {
        return line(State::No, "the module vfio-pci is not loaded, and no module can be any more")
            .from(shown("/proc/sys/kernel/modules_disabled", &conditions.modules_disabled))
            .then("load it before modules are disabled, or start the host anew");
    }
    match &conditions.vfio_modules {
        Reading::Read(names) if names.iter().any(|name| name == "vfio_pci") => {
            line(State::Ok, "the driver vfio-pci is not loaded, but can be")
                .from("modules.dep: vfio_pci")
                .then("modprobe vfio-pci, if what starts the machine does not do that")
        }
        Reading::Read(_) | Reading::Absent => line(State::No, "the kernel has no module vfio-pci")
            .from("modules.dep and modules.builtin: no vfio_pci")
            .then("install the package with the kernel's other modules, or use a kernel with VFIO"),
        Reading::Unreadable(why) => {
            line(State::Unknown, "whether the kernel has the module vfio-pci is not known")
                .from(why.clone())
        }
    }
}

fn remapping(model: &Known, conditions: &Conditions) -> Line {
    let path = "/proc/interrupts";
    let code = "interrupt-remapping";
    let x86 = model.host().iommus.value().is_some_and(|units| {
        units.iter().any(|unit| unit.starts_with("ivhd") || unit.starts_with("dmar"))
    });
    match &conditions.remapped {
        Reading::Read(line) => {
            Line::new(code, State::Ok, "interrupts are remapped").from(format!("{path}: {line}"))
        }
        Reading::Absent if x86 => {
            let allowed = conditions.unsafe_interrupts.value().is_some_and(|text| text == "Y");
            let parameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
            let told = allow_unsafe(model, conditions);
            let log = conditions.kernel_log.value().into_iter().flatten();
            let log = log.filter(|line| line.to_ascii_lowercase().contains("remapping")).take(2);
            let (state, message) = if allowed || told.is_some() {
                (
                    State::Warning,
                    "interrupts are not remapped, and an option allows VFIO without remapping: a \
                     guest can send any interrupt to the host",
                )
            } else {
                (State::No, "interrupts are not remapped, so VFIO attaches no device (EPERM)")
            };
            let mut line =
                Line::new(code, state, message).from(format!("{path}: none begins with IR-"));
            for entry in log {
                line = line.from(format!("kernel log: {entry}"));
            }
            if allowed {
                line = line.from(shown(parameter, &conditions.unsafe_interrupts));
            }
            told.into_iter().fold(line, Line::from).then(
                "see that interrupt remapping is not switched off (nointremap, intremap=off, firmware \
                 set-up); allow_unsafe_interrupts=1 of vfio_iommu_type1 does without, at that price",
            )
        }
        Reading::Absent => {
            Line::new(code, State::Unknown, "interrupt remapping is not judged here")
                .from(format!("{path} does not show it for this IOMMU"))
        }
        Reading::Unreadable(why) => {
            Line::new(code, State::Unknown, "whether interrupts are remapped is not known")
                .from(why.clone())
        }
    }
}

/// Where VFIO is told to do without, when it is loaded.
fn allow_unsafe(model: &Known, conditions: &Conditions) -> Option<String> {
    let yes = |text: &str| {
        let value = text.split_once("allow_unsafe_interrupts=")?.1;
        value.starts_with(['1', 'y', 'Y']).then_some(())
    };
    let command_line = model.host().command_line.value().map_or("", String::as_str);
    let option = command_line
        .split_whitespace()
        .find(|option| option.starts_with("vfio_iommu_type1.") && yes(option).is_some());
    if let Some(option) = option {
        return Some(format!("/proc/cmdline: {option}"));
    }
    let (file, line) = conditions
        .modprobe
        .iter()
        .find(|(_, line)| line.starts_with("options vfio_iommu_type1") && yes(line).is_some())?;
    Some(format!("/{file}: {line}"))
}
