//! Is VFIO there.

use super::{Line, State, shown};
use crate::{
    host::{Conditions, Reading},
    model::Known,
};

pub(super) fn driver(model: &Known, conditions: &Conditions) -> Line {
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
