//! Which rights a command that traces keeps after attaching, and what it says of those it lacks.

use rustix::thread::CapabilitySet;

use crate::{
    output,
    privilege::{self, Caller, NEEDS, names},
};

/// Gives up the rights of this thread but `keep`, and with a caller also its user; says so where that
/// fails.
pub(crate) fn give_up(keep: CapabilitySet, caller: Option<Caller>) {
    if let Err(error) = privilege::give_up(keep, caller) {
        let left = privilege::effective().map_or_else(|| "unknown".to_owned(), names);
        output::complain(&format!(
            "cannot drop capabilities that are no longer needed: {error}; still held: {left}"
        ));
    }
}

/// What tracing will not tell for want of a right, a line each. A table that cannot be read is a
/// finding of its own.
pub(crate) fn missing() -> Vec<String> {
    let Some(effective) = privilege::effective() else { return Vec::new() };
    let of_processes = NEEDS.iter().filter(|need| need.capability == CapabilitySet::SYS_PTRACE);
    of_processes
        .filter(|need| need.is_missing(effective))
        .map(|need| format!("without {}, {}", names(need.capability), need.without))
        .chain(paranoid().map(|level| {
            format!(
                "kernel.perf_event_paranoid is {level}: only CAP_SYS_ADMIN may attach kprobes, so the \
                 ioctls of VFIO and their errors are not traced; set it to 2, or use sudo"
            )
        }))
        .collect()
}

/// `kernel.perf_event_paranoid`, where it keeps this process from attaching kprobes.
pub(crate) fn paranoid() -> Option<i32> {
    let may = |held: CapabilitySet| held.contains(CapabilitySet::SYS_ADMIN);
    privilege::paranoid().filter(|_| !privilege::effective().is_some_and(may))
}
