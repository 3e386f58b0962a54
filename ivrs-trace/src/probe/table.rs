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
    /// The ways to attach, the best one first; the first that the kernel takes is used.
    pub ways: &'static [&'static [ProgramSpec]],
}

/// Where a function lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the kernel image: there from the start.
    Kernel,
    /// In this module, which may be loaded later.
    Module(&'static str),
}

impl Home {
    /// The module; `None` for the kernel image.
    #[must_use]
    pub fn module(self) -> Option<&'static str> {
        match self {
            Self::Kernel => None,
            Self::Module(module) => Some(module),
        }
    }
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
    /// Those built with iommufd. On others the function is not there and is not missed.
    Iommufd,
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
        explains: "the regions that the AMD IOMMU driver reports for a device, and the unity map that it makes them from",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::All,
        ways: &[
            &[program("amd_resv_regions", How::Fexit), program("amd_unity_map", How::Fentry)],
            &[
                program("amd_resv_regions_kprobe", How::Kprobe),
                program("amd_resv_regions_kretprobe", How::Kretprobe),
                program("amd_unity_map_kprobe", How::Kprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::SET_DOMAIN,
        symbol: "__iommu_device_set_domain",
        explains: "the refusal itself, and the unity map entries behind it",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::Refusing,
        ways: &[
            &[program("set_domain", How::Fexit)],
            &[
                program("set_domain_kprobe", How::Kprobe),
                program("set_domain_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::GROUP_CLAIM,
        symbol: "iommu_group_claim_dma_owner",
        explains: "who claims a group, and with what result",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::All,
        ways: &[
            &[program("group_claim_enter", How::Fentry), program("group_claim_exit", How::Fexit)],
            &[
                program("group_claim_kprobe", How::Kprobe),
                program("group_claim_kretprobe", How::Kretprobe),
            ],
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
        ways: &[
            &[program("device_claim_enter", How::Fentry), program("device_claim_exit", How::Fexit)],
            &[
                program("device_claim_kprobe", How::Kprobe),
                program("device_claim_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::DEV_WARN,
        symbol: "_dev_warn",
        explains: "the kernel's own warning that it refuses a device",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::Refusing,
        ways: &[&[program("dev_warn", How::Kprobe)]],
    },
    ProbeSpec {
        id: ProbeId::CONSOLE,
        symbol: "console",
        explains: "the same warning as it reaches the kernel's log",
        home: Home::Kernel,
        need: Need::Verdict,
        kernels: Kernels::All,
        ways: &[&[program("console", How::RawTracepoint)]],
    },
    ProbeSpec {
        id: ProbeId::DIRECT_MAPPINGS,
        // 6.1 has it only as `.isra.0`, whose arguments are others.
        symbol: "iommu_create_device_direct_mappings",
        explains: "that a device came whose regions must be mapped 1:1",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::Refusing,
        ways: &[
            &[program("direct_mappings", How::Fexit)],
            &[
                program("direct_mappings_kprobe", How::Kprobe),
                program("direct_mappings_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::OWNER_CLAIMED,
        symbol: "iommu_group_dma_owner_claimed",
        explains: "whether a group is viable, for a process that only asks and then stops",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[
            &[program("owner_claimed", How::Fexit)],
            &[
                program("owner_claimed_kprobe", How::Kprobe),
                program("owner_claimed_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::ISOLATED_MSI,
        // Since 6.3.
        symbol: "iommu_group_has_isolated_msi",
        explains: "whether interrupt remapping isolates a group",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::Refusing,
        ways: &[
            &[program("isolated_msi", How::Fexit)],
            &[
                program("isolated_msi_kprobe", How::Kprobe),
                program("isolated_msi_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::GROUP_ADD,
        symbol: "add_device_to_group",
        explains: "that a device came into a group",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[program("group_add", How::RawTracepoint)]],
    },
    ProbeSpec {
        id: ProbeId::GROUP_REMOVE,
        symbol: "remove_device_from_group",
        explains: "that a device left a group",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[program("group_remove", How::RawTracepoint)]],
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
        ways: &[
            &[program("core_resv_regions", How::Fexit)],
            &[
                program("core_resv_regions_kprobe", How::Kprobe),
                program("core_resv_regions_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::MODULE_LOAD,
        symbol: "module_load",
        explains: "that a VFIO module came, whose functions can be watched from then on",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[program("module_load", How::RawTracepoint)]],
    },
    ProbeSpec {
        id: ProbeId::DRIVER_BIND,
        symbol: "pci_device_probe",
        explains: "that a process gave a device to another driver",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[
            &[program("driver_bind", How::Fexit)],
            &[
                program("driver_bind_kprobe", How::Kprobe),
                program("driver_bind_kretprobe", How::Kretprobe),
            ],
        ],
    },
    ProbeSpec {
        id: ProbeId::DRIVER_UNBIND,
        symbol: "pci_device_remove",
        explains: "that a process took a device from its driver",
        home: Home::Kernel,
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[
            &[program("driver_unbind", How::Fexit)],
            &[program("driver_unbind_kprobe", How::Kprobe)],
        ],
    },
    ProbeSpec {
        id: ProbeId::GROUP_OPEN,
        symbol: "vfio_group_fops_open",
        explains: "that a process opened a group, or could not",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[
            program("group_open_enter", How::Kprobe),
            program("group_open_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::GROUP_IOCTL,
        symbol: "vfio_group_fops_unl_ioctl",
        explains: "the ioctl that a process made on a group, and its errno",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[
            program("group_ioctl_enter", How::Kprobe),
            program("group_ioctl_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::CONTAINER_IOCTL,
        symbol: "vfio_fops_unl_ioctl",
        explains: "that a process gave a container its IOMMU, and the errno",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[
            program("container_ioctl_enter", How::Kprobe),
            program("container_ioctl_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::CONTAINER_ATTACH,
        symbol: "vfio_container_attach_group",
        explains: "that a group was put into a VFIO container",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[
            program("container_attach_enter", How::Kprobe),
            program("container_attach_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::TYPE1_ATTACH,
        symbol: "vfio_iommu_type1_attach_group",
        explains: "that the container's IOMMU took the group",
        home: Home::Module("vfio_iommu_type1"),
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[
            program("type1_attach_enter", How::Kprobe),
            program("type1_attach_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::BIND_IOMMUFD,
        symbol: "vfio_df_ioctl_bind_iommufd",
        explains: "that a process bound a device to iommufd, and the errno",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::Iommufd,
        ways: &[&[
            program("bind_iommufd_enter", How::Kprobe),
            program("bind_iommufd_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::ATTACH_IOMMUFD,
        symbol: "vfio_df_ioctl_attach_pt",
        explains: "that a process attached a device to an address space of iommufd, and the errno",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::Iommufd,
        ways: &[&[
            program("attach_iommufd_enter", How::Kprobe),
            program("attach_iommufd_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::DEVICE_OPEN,
        symbol: "vfio_df_open",
        explains: "that VFIO found a device open already, before it asked iommufd",
        home: Home::Module("vfio"),
        need: Need::Context,
        kernels: Kernels::Iommufd,
        ways: &[&[
            program("device_open_enter", How::Kprobe),
            program("device_open_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::DEVICE_BIND,
        // In the kernel image or a module, as the kernel was built.
        symbol: "iommufd_device_bind",
        explains: "which device iommufd was to take",
        home: Home::Module("iommufd"),
        need: Need::Context,
        kernels: Kernels::Iommufd,
        ways: &[&[
            program("device_bind_enter", How::Kprobe),
            program("device_bind_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::DEVICE_ATTACH,
        symbol: "iommufd_device_attach",
        explains: "that a device got its address space from iommufd",
        home: Home::Module("iommufd"),
        need: Need::Context,
        kernels: Kernels::Iommufd,
        ways: &[&[
            program("device_attach_enter", How::Kprobe),
            program("device_attach_exit", How::Kretprobe),
        ]],
    },
    ProbeSpec {
        id: ProbeId::DRIVER_PROBE,
        symbol: "vfio_pci_probe",
        explains: "that vfio-pci took a device, or why not",
        home: Home::Module("vfio_pci"),
        need: Need::Context,
        kernels: Kernels::All,
        ways: &[&[
            program("driver_probe_enter", How::Kprobe),
            program("driver_probe_exit", How::Kretprobe),
        ]],
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
            for program in probe.ways.iter().copied().flatten() {
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

    #[test]
    fn no_function_is_watched_by_trampolines_alone() {
        for probe in PROBES {
            let trampolines = |way: &&[ProgramSpec]| {
                way.iter().any(|program| matches!(program.how, How::Fentry | How::Fexit))
            };
            assert!(!probe.ways.iter().all(trampolines), "{}", probe.symbol);
        }
    }
}
