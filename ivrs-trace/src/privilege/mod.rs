//! What the process may do, and giving up what it needs no longer.
//!
//! [`NEEDS`] names every capability that the live commands have a use for; docs/security.md says the
//! same in words. [`give_up`] is for the time after attaching. Capabilities and user ids belong to
//! threads, so every thread gives up its own; [`held`] looks at all of them. Nothing here asks for a
//! right that the process was not started with.

mod caller;

pub(crate) use caller::{Caller, made_by_caller};

use std::fs;

use rustix::{
    io::{self, Errno},
    process::Pid,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_no_new_privs,
    },
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) capability: CapabilitySet,
    /// Others of which each will do as well.
    pub(crate) or: CapabilitySet,
    pub(crate) required: bool,
    pub(crate) purpose: &'static str,
    pub(crate) without: &'static str,
}

/// Every capability that the live commands have a use for. `CAP_SYS_ADMIN` is not among them, which
/// allows nearly everything; but see [`for_modules`].
pub(crate) const NEEDS: [Need; 5] = [
    Need {
        capability: CapabilitySet::BPF,
        or: CapabilitySet::SYS_ADMIN,
        required: true,
        purpose: "loads the BPF programs",
        without: "nothing can be traced; `check` judges from files alone",
    },
    Need {
        capability: CapabilitySet::PERFMON,
        or: CapabilitySet::SYS_ADMIN,
        required: true,
        purpose: "lets BPF programs read kernel memory and attaches them to kernel functions",
        without: "nothing can be traced; `check` judges from files alone",
    },
    Need {
        capability: CapabilitySet::DAC_READ_SEARCH,
        or: CapabilitySet::DAC_OVERRIDE,
        required: false,
        purpose: "reads /sys/firmware/acpi/tables, which belongs to root",
        without: "the firmware's entry behind a refusal has no number, offset or bytes; its devices \
                  and memory are still shown",
    },
    Need {
        capability: CapabilitySet::SYS_PTRACE,
        or: CapabilitySet::empty(),
        required: false,
        purpose: "sees which process has files of /dev/vfio open when the trace begins (with \
                  CAP_DAC_READ_SEARCH)",
        without: "a process that took a group before the trace began is not named",
    },
    Need {
        capability: CapabilitySet::SYSLOG,
        or: CapabilitySet::empty(),
        required: false,
        purpose: "reads the kernel log where kernel.dmesg_restrict is 1",
        without: "`doctor` cannot tell whether a replaced ACPI table was dropped",
    },
];

impl Need {
    pub(crate) fn is_missing(&self, from: CapabilitySet) -> bool {
        !from.intersects(self.capability | self.or)
    }
}

/// What the calling thread may do now; `None` if the kernel does not say.
pub(crate) fn effective() -> Option<CapabilitySet> {
    capabilities(None).ok().map(|sets| sets.effective)
}

/// The capabilities that tracing needs and this process lacks, in words; `None` if it has all.
pub(crate) fn missing_for_tracing() -> Option<String> {
    // Where they cannot be read the kernel itself will answer.
    missing(effective()?)
}

fn missing(mask: CapabilitySet) -> Option<String> {
    let lacking = NEEDS.iter().filter(|need| need.required && need.is_missing(mask));
    let lacking: CapabilitySet = lacking.map(|need| need.capability).collect();
    (!lacking.is_empty()).then(|| names(lacking))
}

/// `CAP_PERFMON and CAP_BPF`; `none` for an empty set.
pub(crate) fn names(set: CapabilitySet) -> String {
    let mut names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    let unnamed = set.difference(CapabilitySet::all().intersection(named())).bits();
    if unnamed != 0 {
        names.push(format!("{unnamed:#x}"));
    }
    names.sort();
    match names.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

fn named() -> CapabilitySet {
    CapabilitySet::all().iter_names().map(|(_, flag)| flag).collect()
}

/// Gives up, in the calling thread and for ever, every capability but those of `keep` that it has;
/// and with `caller` also its user and groups. What it starts later gains none of it again.
///
/// # Errors
/// If the kernel refuses. Then less may be given up than was asked for: [`held`] says.
pub(crate) fn give_up(keep: CapabilitySet, caller: Option<Caller>) -> io::Result<()> {
    let left = capabilities(None)?.permitted.intersection(keep);
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            // It takes CAP_SETPCAP. Without that, what follows keeps later programs from gaining
            // anything.
            Ok(true) if remove_capability_from_bounding_set(one) == Err(Errno::PERM) => break,
            Ok(_) => {}
            // Above the highest one that the kernel knows.
            Err(_) => break,
        }
    }
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    if let Some(caller) = caller {
        set_keep_capabilities(true)?;
        caller.become_it()?;
        set_keep_capabilities(false)?;
    }
    set_capabilities(
        None,
        CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() },
    )
}

/// What the threads of this process may still do or make themselves able to do, all together; `None`
/// if the kernel does not say.
pub(crate) fn held() -> Option<CapabilitySet> {
    let mut held = CapabilitySet::empty();
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let id = task.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        match capabilities(Some(id)) {
            Ok(sets) => held |= sets.effective | sets.permitted | sets.inheritable,
            // It has just ended.
            Err(Errno::SRCH) => {}
            Err(_) => return None,
        }
    }
    Some(held)
}

/// The level of `kernel.perf_event_paranoid`, where it is so high that only `CAP_SYS_ADMIN` may attach
/// kprobes, without which no function of a module is watched. Level 3 is Debian's and Ubuntu's own;
/// mainline ends at 2 and asks for `CAP_PERFMON`.
pub(crate) fn paranoid() -> Option<i32> {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?;
    level.trim().parse().ok().filter(|level| *level > 2)
}

/// What the functions of a module that comes later are attached with.
pub(crate) fn for_modules() -> CapabilitySet {
    if paranoid().is_some() { CapabilitySet::SYS_ADMIN } else { CapabilitySet::PERFMON }
}

/// Kernel lockdown in confidentiality mode forbids reading kernel memory from BPF, whatever the
/// privilege (`LOCKDOWN_BPF_READ_KERNEL`, kernel/bpf).
pub(crate) fn lockdown_hint() -> &'static str {
    let state = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if state.contains("[confidentiality]") {
        "; the kernel is locked down for confidentiality (/sys/kernel/security/lockdown), which \
         forbids tracing"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let both = CapabilitySet::BPF | CapabilitySet::PERFMON;
        assert_eq!(missing(CapabilitySet::empty()).as_deref(), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(missing(CapabilitySet::BPF).as_deref(), Some("CAP_PERFMON"));
        assert_eq!(missing(both), None);
        assert_eq!(missing(CapabilitySet::SYS_ADMIN), None);
        assert_eq!(names(CapabilitySet::empty()), "none");
        assert_eq!(names(CapabilitySet::from_bits_retain(1 << 63)), "0x8000000000000000");
    }

    #[test]
    fn a_thread_gives_up_all_but_what_it_keeps_and_others_stay_as_they_were() {
        let before = capabilities(None).unwrap();
        let given_up = std::thread::spawn(|| {
            give_up(CapabilitySet::PERFMON, None).unwrap();
            (capabilities(None).unwrap(), rustix::thread::no_new_privs().unwrap())
        });
        let (after, sealed) = given_up.join().unwrap();
        let left = before.permitted.intersection(CapabilitySet::PERFMON);
        assert_eq!((after.permitted, after.effective), (left, left));
        assert!(after.inheritable.is_empty() && sealed);
        assert_eq!(capabilities(None).unwrap(), before);
        assert!(held().unwrap().contains(before.permitted));
    }
}
