//! Which rights a command that traces keeps after attaching, and what it says of those it lacks.

use rustix::thread::CapabilitySet;

use crate::{
    output,
    privilege::{self, Caller, NEEDS, names},
    probe::tracer::ProbeStatus,
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
    let paranoid = privilege::paranoid().filter(|_| !effective.contains(CapabilitySet::SYS_ADMIN));
    let of_processes = NEEDS.iter().filter(|need| need.capability == CapabilitySet::SYS_PTRACE);
    of_processes
        .filter(|need| need.is_missing(effective))
        .map(|need| format!("without {}, {}", names(need.capability), need.without))
        .chain(paranoid.map(|level| {
            format!(
                "kernel.perf_event_paranoid is {level}: only CAP_SYS_ADMIN may attach kprobes, so the \
                 ioctls of VFIO and their errors are not traced; set it to 2, or use sudo"
            )
        }))
        .collect()
}

/// Whether this is why a probe is missing, which [`missing`] says once for all of them.
pub(crate) fn explains(probe: &ProbeStatus) -> bool {
    probe.denied && privilege::paranoid().is_some()
}
