//! Text for people: why an attempt failed where no 1:1 map stopped it, on what that rests, and what
//! to do about it.

use super::{clear_of_direct_maps, machine, what_led_up};
use crate::{
    errno,
    model::{Attempt, DeviceVerdict, DriverSource, Evidence, Model, Process, Reason, Via},
    report::{
        Document,
        document::{capital, head_of},
    },
};

/// An attempt that came to its end.
pub(super) fn attached(document: &mut Document, attempt: &Attempt) {
    if attempt.reason == Some(Reason::NoIommuMode) {
        document.fact(
            2,
            "In VFIO's mode without an IOMMU: nothing keeps the device from any memory of the \
             host, and 1:1 maps play no part.",
        );
        return;
    }
    let Some(group) = attempt.group else { return };
    // What the claim did before the tool listened is not known.
    document.fact(2, format!("IOMMU group {group}; the kernel refused no device of it."));
    machine(document, attempt);
    what_led_up(document, attempt);
}

/// An attempt that failed, though not by a refusal that was seen.
pub(super) fn failed(document: &mut Document, model: &Model, attempt: &Attempt) {
    machine(document, attempt);
    let reason = attempt.reason.unwrap_or(Reason::Unknown);
    document.fact(2, why(reason, attempt));
    // Those that the kernel listed are among what was seen.
    for held in attempt.host_drivers.iter().filter(|one| one.from == DriverSource::Files) {
        let (bdf, driver) = (&held.bdf, &held.driver);
        document.fact(4, format!("{bdf} is bound to {driver} (by the host's files as last read)."));
    }
    if reason == Reason::OwnedByAnother {
        document.fact(4, owner(attempt));
    }
    if reason == Reason::Unknown {
        unknown(document, model, attempt);
    } else {
        if let Some(text) = what_to_do(reason, attempt) {
            document.text(2, text);
        }
        for fact in &attempt.facts {
            document.headed(2, "Evidence:", format!("{fact}."));
        }
    }
    for further in &attempt.also {
        document.fact(
            2,
            format!(
                "Once that is out of the way a 1:1 map stops it: firmware wants {} mapped 1:1, and \
                 this kernel refuses the group for that. `ivrs-trace check` names the entries.",
                further.devices.join(", ")
            ),
        );
    }
    what_led_up(document, attempt);
}

fn group(attempt: &Attempt) -> String {
    attempt.group.map_or_else(|| "the group".to_owned(), |id| format!("IOMMU group {id}"))
}

fn device(attempt: &Attempt) -> String {
    attempt.requested.map_or_else(|| "the device".to_owned(), |bdf| bdf.to_string())
}

/// What the reason means.
pub(crate) fn why(reason: Reason, attempt: &Attempt) -> String {
    let group = group(attempt);
    let the_group = capital(&group);
    match reason {
        Reason::GroupNotViable => format!(
            "{the_group} is not viable: at least one of its functions is bound to a host driver. \
             Bind all of them to vfio-pci first."
        ),
        Reason::OwnedByAnother => {
            format!("{the_group} has another DMA owner already, a user of VFIO or iommufd.")
        }
        Reason::BusyDomain => format!(
            "{the_group} is not on its default domain: something in the kernel uses it for \
             itself, such as a driver that shares a process's address space with its device."
        ),
        Reason::MsiNotIsolated => format!(
            "The interrupts of {group} are not isolated: the host has no interrupt remapping in \
             use, so that a device in a guest's hands could raise any interrupt of the host."
        ),
        Reason::ReservedRegionConflict => format!(
            "A reserved region of {group} collides with memory that the process maps, or leaves \
             too little room: the device must not be given other memory at those addresses."
        ),
        Reason::DeviceWithoutIommu => format!(
            "vfio-pci did not bind {}: it has no IOMMU group, so no IOMMU serves it.",
            device(attempt)
        ),
        Reason::NoIommuMode => "The group is of VFIO's mode without an IOMMU: it is only for \
                            processes with CAP_SYS_RAWIO, and not beside other groups in a \
                            container."
            .to_owned(),
        Reason::DeviceVanished => format!(
            "{} went away while it was asked for: it was unplugged, removed, or unbound \
             from vfio-pci.",
            capital(&device(attempt))
        ),
        Reason::NoCoherency => format!(
            "iommufd does not bind {}: its IOMMU cannot keep DMA coherent with the processor's \
             caches.",
            device(attempt)
        ),
        Reason::FirmwareDirectMap | Reason::Unknown => {
            "The calls that were seen do not show the reason:".to_owned()
        }
    }
}

/// What can be done about it.
fn what_to_do(reason: Reason, attempt: &Attempt) -> Option<String> {
    let module = match attempt.via {
        Via::Iommufd | Via::IommufdCompat => "iommufd",
        Via::VfioGroup | Via::VfioPci => "vfio_iommu_type1",
    };
    Some(match reason {
        Reason::OwnedByAnother => "A group has one user at a time: stop that one first.".to_owned(),
        Reason::MsiNotIsolated => format!(
            "Switch the IOMMU's interrupt remapping on: in the BIOS, and without intremap=off or \
             amd_iommu=off on the kernel command line; the kernel log says why it is off. \
             {module}.allow_unsafe_interrupts=1 takes the risk instead: only for guests that are \
             trusted."
        ),
        Reason::ReservedRegionConflict => {
            let id = attempt.group.map_or_else(|| "N".to_owned(), |id| id.to_string());
            format!(
                "/sys/kernel/iommu_groups/{id}/reserved_regions lists them. Devices of other \
                 groups in the same container or address space count as well."
            )
        }
        Reason::DeviceWithoutIommu => {
            "Switch the IOMMU on in the BIOS (IOMMU, AMD-Vi), and take amd_iommu=off \
                            from the kernel command line; if it is on, the kernel log says why it \
                            is not used. `ivrs-trace check` says more."
                .to_owned()
        }
        Reason::DeviceVanished => {
            "Try again with the device in its place and bound to vfio-pci.".to_owned()
        }
        Reason::BusyDomain => "Unbind what uses it, and try again.".to_owned(),
        Reason::NoCoherency => {
            "The legacy container (VFIO group and type1) takes such devices.".to_owned()
        }
        Reason::FirmwareDirectMap
        | Reason::GroupNotViable
        | Reason::NoIommuMode
        | Reason::Unknown => {
            return None;
        }
    })
}

fn owner(attempt: &Attempt) -> String {
    match &attempt.owned_by {
        Some(Process { pid, .. }) if *pid == attempt.process.pid => {
            "The process has it itself.".to_owned()
        }
        Some(Process { pid, comm, vm, .. }) => {
            let vm = vm.as_ref().map_or_else(String::new, |vm| format!(", virtual machine {vm}"));
            format!("{comm} (pid {pid}){vm} attached it.")
        }
        None if attempt.group.is_none() => {
            "The call does not tell its group, so the owner is unknown.".to_owned()
        }
        None => {
            "The owner was not seen: it attached the group before tracing began, or its events \
                 are missing."
                .to_owned()
        }
    }
}

fn unknown(document: &mut Document, model: &Model, attempt: &Attempt) {
    for call in &attempt.calls {
        let result = errno::of_return(call.ret)
            .map_or_else(|| call.ret.to_string(), |errno| format!("-1 {errno}"));
        document.fact(4, format!("{} = {result}", call.name));
    }
    let held = |device: &DeviceVerdict| {
        device.group.is_some() && device.group == attempt.group && !device.causes.is_empty()
    };
    if !clear_of_direct_maps(attempt) && model.verdicts().devices.iter().any(held) {
        document.fact(
            2,
            "Firmware wants a device of this group mapped 1:1, which makes kernels from 6.6 on \
             refuse the group; that refusal was not seen here. `ivrs-trace check` names the \
             device.",
        );
    }
}

/// On what a refusal is known.
pub(super) fn evidence(document: &mut Document, attempt: &Attempt) {
    let event = attempt.rejections.first().map(|rejection| rejection.event).unwrap_or_default();
    let walked = attempt.rejections.iter().any(|rejection| !rejection.matches.is_empty());
    let map = if walked { " and the kernel's unity map" } else { "" };
    let text = match attempt.evidence {
        Some(Evidence::Inference) => {
            let which = if attempt.rejections.is_empty() {
                " Which device stopped it was not seen."
            } else {
                ""
            };
            let facts = attempt.facts.join("; ");
            head_of("Inferred:", format!("the refusal itself was not seen; {facts}.{which}"))
        }
        Some(known) => {
            let (by, unseen) = refused_by(known, attempt);
            head_of("Evidence:", format!("{by} (event {event}){map}{unseen}."))
        }
        None => return,
    };
    document.fact(2, text);
}

/// What shows a refusal, and what was not seen.
pub(in crate::report) fn refused_by(
    evidence: Evidence,
    attempt: &Attempt,
) -> (String, &'static str) {
    const CALL: &str = "__iommu_device_set_domain";
    let unseen = "; the call that refused it was not seen";
    match evidence {
        Evidence::Call => {
            let refusal = attempt.calls.iter().find(|call| call.name.starts_with(CALL));
            let errno = refusal.and_then(|call| errno::of_return(call.ret));
            let did = errno.map_or("refused it".to_owned(), |errno| format!("returned -{errno}"));
            (format!("{CALL} {did}"), "")
        }
        Evidence::Warning => ("the kernel's _dev_warn".to_owned(), unseen),
        Evidence::Log => ("the kernel's log".to_owned(), unseen),
        Evidence::Inference => ("inferred from the error and the group".to_owned(), unseen),
    }
}
