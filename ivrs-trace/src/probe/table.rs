//! The probe table: what is watched, why, and how each probe is attached.
//!
//! Data only. [`super::tracer`] resolves it on the running kernel.

use ivrs_trace_common::ProbeId;

/// A place in the kernel that is watched.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSpec {
    /// The id that its events and counters carry.
    pub id: ProbeId,
    /// The kernel function, or the tracepoint.
    pub symbol: &'static str,
    /// What is learnt there.
    pub explains: &'static str,
    /// Where the function lives.
    pub home: Home,
    /// What it means if it cannot be attached.
    pub need: Need,
    /// Which kernels have what it shows.
    pub kernels: Kernels,
    /// The programs, all of which are attached.
    pub programs: &'static [ProgramSpec],
}

/// Where a function lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the kernel image: there from the start.
    Kernel,
    /// In this module, which may be loaded later.
    Module(&'static str),
}

/// What a missing probe means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it a rejection cannot be seen or explained.
    Verdict,
    /// It adds context.
    Context,
}

/// Which kernels have what a probe shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// All that the tool runs on.
    All,
    /// Those that refuse devices (`dev_iommu.require_direct`, mainline since 6.6). On others there
    /// is nothing to see, so a function that is not there is not missed.
    Refusing,
}

/// One BPF program.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec {
    /// Its name in the BPF object.
    pub name: &'static str,
    /// How it is attached.
    pub how: How,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// At a function's entry, through a BPF trampoline.
    Fentry,
    /// At a function's return, through a BPF trampoline: arguments and return value together.
    Fexit,
    /// At a function's entry, through a breakpoint or ftrace.
    Kprobe,
    /// At a function's return.
    Kretprobe,
    /// At a tracepoint, with its raw arguments.
    RawTracepoint,
}

impl How {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::RawTracepoint => "raw tracepoint",
        }
    }
}

const fn program(name: &'static str, how: How) -> ProgramSpec {
    ProgramSpec { name, how }
}

/// Every probe. The order is that of attaching: the regions first, so that nothing which happens
/// after the set-up has begun is missed for want of them.
pub const PROBES: &[ProbeSpec] = &[
    ProbeSpec {
        id: ProbeId::AMD_RESV_REGIONS,
        symbol: "amd_iommu_get_resv_regions",
        explains: "the regions that the AMD IOMMU driver reports for a device",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::All,
        programs: &[program("amd_resv_regions", How::Fexit)],
    },
    ProbeSpec {
        id: ProbeId::SET_DOMAIN,
        symbol: "__iommu_device_set_domain",
        explains: "the refusal itself, and the unity map entries behind it",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::Refusing,
        programs: &[program("set_domain", How::Fexit)],
    },
    ProbeSpec {
        id: ProbeId::GROUP_CLAIM,
        symbol: "iommu_group_claim_dma_owner",
        explains: "who claims a group, and with what result",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::All,
        programs: &[
            program("group_claim_enter", How::Fentry),
            program("group_claim_exit", How::Fexit),
        ],
    },
    ProbeSpec {
        id: ProbeId::DEVICE_CLAIM,
        // Since 6.2, with iommufd.
        symbol: "iommu_device_claim_dma_owner",
        explains: "who claims a device through iommufd, and with what result",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::Refusing,
        programs: &[
            program("device_claim_enter", How::Fentry),
            program("device_claim_exit", How::Fexit),
        ],
    },
    ProbeSpec {
        id: ProbeId::CORE_RESV_REGIONS,
        // The compiler inlines it into its callers in its own file, so it fires for callers in
        // other files only (iommu-dma, iommufd).
        symbol: "iommu_get_resv_regions",
        explains: "the regions that any IOMMU driver reports to iommu-dma and iommufd",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        programs: &[program("core_resv_regions", How::Fexit)],
    },
    ProbeSpec {
        id: ProbeId::MODULE_LOAD,
        symbol: "module_load",
        explains: "that a VFIO module came, whose functions can be watched from then on",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        programs: &[program("module_load", How::RawTracepoint)],
    },
    ProbeSpec {
        id: ProbeId::GROUP_IOCTL,
        symbol: "vfio_group_fops_unl_ioctl",
        explains: "the ioctl that a process made on a group, and its errno",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::All,
        programs: &[
            program("group_ioctl_enter", How::Kprobe),
            program("group_ioctl_exit", How::Kretprobe),
        ],
    },
    ProbeSpec {
        id: ProbeId::CONTAINER_ATTACH,
        symbol: "vfio_container_attach_group",
        explains: "that a group was put into a VFIO container",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::All,
        programs: &[
            program("container_attach_enter", How::Kprobe),
            program("container_attach_exit", How::Kretprobe),
        ],
    },
    ProbeSpec {
        id: ProbeId::TYPE1_ATTACH,
        symbol: "vfio_iommu_type1_attach_group",
        explains: "that the container's IOMMU took the group",
        home: Home::Module("vfio_iommu_type1"),
        need: Need::Context,
        kernels: Kernels::All,
        programs: &[
            program("type1_attach_enter", How::Kprobe),
            program("type1_attach_exit", How::Kretprobe),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_one_row() {
        let mut ids: Vec<u16> = PROBES.iter().map(|probe| probe.id.0).collect();
        ids.sort_unstable();
        let all: Vec<u16> = (0..u16::try_from(ivrs_trace_common::PROBES).unwrap()).collect();
        assert_eq!(ids, all);
    }

    #[test]
    fn programs_in_modules_are_kprobes() {
        // aya cannot attach fentry or fexit to a module's function.
        for probe in PROBES {
            for program in probe.programs {
                if probe.home != Home::Kernel {
                    assert!(
                        matches!(program.how, How::Kprobe | How::Kretprobe),
                        "{}",
                        program.name
                    );
                }
            }
        }
    }
}
