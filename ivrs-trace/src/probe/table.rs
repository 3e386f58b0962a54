//! The probe table: what is watched, why, and how each probe is attached.
//!
//! Data only. [`super::tracer`] resolves it on the running kernel.

use ivrs_trace_common::ProbeId;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeSpec {
    /// The id that its events and counters carry.
    pub(crate) id: ProbeId,
    pub(crate) symbol: &'static str,
    pub(crate) explains: &'static str,
    pub(crate) home: Home,
    pub(crate) need: Need,
    pub(crate) kernels: Kernels,
    /// The ways to attach, the best one first; the first that the kernel takes is used.
    pub(crate) ways: &'static [&'static [ProgramSpec]],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Kernel,
    /// In this module, which may be loaded later.
    Module(&'static str),
}

impl Home {
    pub(crate) fn module(self) -> Option<&'static str> {
        match self {
            Self::Kernel => None,
            Self::Module(module) => Some(module),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Without it a rejection cannot be seen or explained.
    Verdict,
    Context,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernels {
    All,
    /// Those that refuse devices (`dev_iommu.require_direct`, mainline since 6.6). On others there
    /// is nothing to see, so a function that is not there is not missed.
    Refusing,
    /// Those built with iommufd. On others the function is not there and is not missed.
    Iommufd,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramSpec {
    pub(crate) name: &'static str,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// At a function's entry, through a BPF trampoline.
    Fentry,
    /// At a function's return, through a BPF trampoline: arguments and return value together.
    Fexit,
    /// At a function's entry, through a breakpoint or ftrace.
    Kprobe,
    Kretprobe,
    /// At a tracepoint, with its raw arguments.
    RawTracepoint,
}

impl How {
    pub(crate) fn is_trampoline(self) -> bool {
        matches!(self, Self::Fentry | Self::Fexit)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::RawTracepoint => "raw tracepoint",
        }
    }
}

/// The ways to attach the programs of a probe, by the name that they begin with.
macro_rules! ways {
    (exit $name:literal) => {
        ways!([[Fexit $name]
               [Kprobe concat!($name, "_kprobe"), Kretprobe concat!($name, "_kretprobe")]])
    };
    (call $name:literal) => {
        ways!([[Fentry concat!($name, "_enter"), Fexit concat!($name, "_exit")]
               [Kprobe concat!($name, "_kprobe"), Kretprobe concat!($name, "_kretprobe")]])
    };
    (pair $name:literal) => {
        ways!([[Kprobe concat!($name, "_enter"), Kretprobe concat!($name, "_exit")]])
    };
    (kprobe $name:literal) => { ways!([[Kprobe $name]]) };
    (tracepoint $name:literal) => { ways!([[RawTracepoint $name]]) };
    ([$([$($how:ident $name:expr),*])*]) => {
        &[$(&[$(ProgramSpec { name: $name, how: How::$how }),*]),*]
    };
}

/// Rows of `PROBE HOME NEED KERNELS, WAYS: EXPLAINS`.
macro_rules! probes {
    ($($id:ident $home:ident $(($module:literal))? $need:ident $kernels:ident,
        $ways:tt $($name:literal)?: $explains:literal;)*) => {
        &[$(ProbeSpec {
            id: ProbeId::$id,
            symbol: ProbeId::$id.symbol(),
            explains: $explains,
            home: Home::$home $(($module))?,
            need: Need::$need,
            kernels: Kernels::$kernels,
            ways: ways!($ways $($name)?),
        }),*]
    };
}

/// Every probe. The order is that of attaching: the regions first, so that nothing which happens
/// after the set-up has begun is missed for want of them.
pub(crate) const PROBES: &[ProbeSpec] = probes![
    AMD_RESV_REGIONS Kernel Verdict All, [
        [Fexit "amd_resv_regions", Fentry "amd_unity_map"]
        [Kprobe "amd_resv_regions_kprobe", Kretprobe "amd_resv_regions_kretprobe",
         Kprobe "amd_unity_map_kprobe"]
    ]:
        "the regions that the AMD IOMMU driver reports for a device, and the unity map that it makes \
         them from";
    SET_DOMAIN Kernel Verdict Refusing, exit "set_domain":
        "the refusal itself, and the unity map entries behind it";
    GROUP_CLAIM Kernel Verdict All, call "group_claim":
        "who claims a group, and with what result";
    // Since 6.2, with iommufd.
    DEVICE_CLAIM Kernel Context Refusing, call "device_claim":
        "who claims a device through iommufd, and with what result";
    DEV_WARN Kernel Verdict Refusing, kprobe "dev_warn":
        "the kernel's own warning that it refuses a device";
    CONSOLE Kernel Verdict All, tracepoint "console":
        "the same warning as it reaches the kernel's log";
    // 6.1 has it only as `.isra.0`, whose arguments are others.
    DIRECT_MAPPINGS Kernel Context Refusing, exit "direct_mappings":
        "that a device came whose regions must be mapped 1:1";
    OWNER_CLAIMED Kernel Context All, exit "owner_claimed":
        "whether a group is viable, for a process that only asks and then stops";
    // Since 6.3.
    ISOLATED_MSI Kernel Context Refusing, exit "isolated_msi":
        "whether interrupt remapping isolates a group";
    GROUP_ADD Kernel Context All, tracepoint "group_add":
        "that a device came into a group";
    GROUP_REMOVE Kernel Context All, tracepoint "group_remove":
        "that a device left a group";
    // The compiler inlines it into its callers in its own file, so it fires for callers in
    // other files only (iommu-dma, iommufd).
    CORE_RESV_REGIONS Kernel Context All, exit "core_resv_regions":
        "the regions that any IOMMU driver reports to iommu-dma and iommufd";
    MODULE_LOAD Kernel Context All, tracepoint "module_load":
        "that a VFIO module came, whose functions can be watched from then on";
    DRIVER_BIND Kernel Context All, exit "driver_bind":
        "that a process gave a device to another driver";
    DRIVER_UNBIND Kernel Context All, [[Fexit "driver_unbind"] [Kprobe "driver_unbind_kprobe"]]:
        "that a process took a device from its driver";
    GROUP_OPEN Module("vfio") Context All, pair "group_open":
        "that a process opened a group, or could not";
    GROUP_IOCTL Module("vfio") Context All, pair "group_ioctl":
        "the ioctl that a process made on a group, and its errno";
    CONTAINER_IOCTL Module("vfio") Context All, pair "container_ioctl":
        "that a process gave a container its IOMMU, and the errno";
    CONTAINER_ATTACH Module("vfio") Context All, pair "container_attach":
        "that a group was put into a VFIO container";
    TYPE1_ATTACH Module("vfio_iommu_type1") Context All, pair "type1_attach":
        "that the container's IOMMU took the group";
    BIND_IOMMUFD Module("vfio") Context Iommufd, pair "bind_iommufd":
        "that a process bound a device to iommufd, and the errno";
    ATTACH_IOMMUFD Module("vfio") Context Iommufd, pair "attach_iommufd":
        "that a process attached a device to an address space of iommufd, and the errno";
    DEVICE_OPEN Module("vfio") Context Iommufd, pair "device_open":
        "that VFIO found a device open already, before it asked iommufd";
    // In the kernel image or a module, as the kernel was built.
    DEVICE_BIND Module("iommufd") Context Iommufd, pair "device_bind":
        "which device iommufd was to take";
    DEVICE_ATTACH Module("iommufd") Context Iommufd, pair "device_attach":
        "that a device got its address space from iommufd";
    DRIVER_PROBE Module("vfio_pci") Context All, pair "driver_probe":
        "that vfio-pci took a device, or why not";
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
        // Only the BTF of the kernel image is read, which has no function of a module.
        for probe in PROBES {
            for program in probe.ways.iter().copied().flatten() {
                assert!(
                    probe.home == Home::Kernel || !program.how.is_trampoline(),
                    "{}",
                    program.name
                );
            }
        }
    }

    #[test]
    fn no_function_is_watched_by_trampolines_alone() {
        for probe in PROBES {
            let trampolines =
                |way: &&[ProgramSpec]| way.iter().any(|program| program.how.is_trampoline());
            assert!(!probe.ways.iter().all(trampolines), "{}", probe.symbol);
        }
    }
}
