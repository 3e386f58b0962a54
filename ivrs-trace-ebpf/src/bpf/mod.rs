//! The table of programs. Each takes its arguments from the context and hands them to the code it
//! shares with its neighbours; nothing is decided here.
//!
//! A function in the kernel image is watched by trampolines and, on kernels that cannot use those, by
//! a kprobe and a kretprobe; a function in a module by the latter alone.

mod claim;
mod device;
mod diagnose;
mod emit;
mod kernel;
mod list;
mod members;
mod regions;
mod saved;
mod set_domain;
mod unity;
mod vfio;
mod warning;

use aya_ebpf::{
    Argument,
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use ivrs_trace_common::{Kind, ModuleLoad, ProbeId};

use emit::Probe;

/// One program: `KIND NAME PROBE(ARGUMENT = POSITION, ...) |probe, ret| WORK`, where `ret` is what the
/// function returned.
macro_rules! program {
    (fentry $name:ident $id:ident($($argument:ident = $at:literal),*) |$probe:ident| $work:expr) => {
        #[fentry]
        fn $name(ctx: FEntryContext) -> i32 {
            let $probe = Probe::hit(ProbeId::$id);
            $(let $argument = ctx.arg($at);)*
            $work;
            0
        }
    };
    (fexit $name:ident $id:ident($($argument:ident = $at:literal),*) |$probe:ident $(, $ret:ident)?| $work:expr) => {
        #[fexit]
        fn $name(ctx: FExitContext) -> i32 {
            let $probe = Probe::hit(ProbeId::$id);
            $(let Some($ret) = returned(&ctx, $probe) else { return 0 };)?
            $(let $argument = ctx.arg($at);)*
            $work;
            0
        }
    };
    (raw_tracepoint($tracepoint:literal) $name:ident $id:ident($($argument:ident = $at:literal),*) |$probe:ident| $work:expr) => {
        #[raw_tracepoint(tracepoint = $tracepoint)]
        fn $name(ctx: RawTracePointContext) -> i32 {
            let $probe = Probe::hit(ProbeId::$id);
            $(let $argument = ctx.arg($at);)*
            $work;
            0
        }
    };
    (kprobe $name:ident $id:ident($($argument:ident = $at:literal),*) |$probe:ident| $work:expr) => {
        #[kprobe]
        fn $name(_ctx: ProbeContext) -> u32 {
            let $probe = Probe::hit(ProbeId::$id);
            $(let $argument = argument(&_ctx, $at);)*
            $work;
            0
        }
    };
    (kretprobe $name:ident $id:ident() |$probe:ident, $ret:ident| $work:expr) => {
        #[kretprobe]
        fn $name(ctx: RetProbeContext) -> u32 {
            let $probe = Probe::hit(ProbeId::$id);
            let $ret = ctx.ret();
            $work;
            0
        }
    };
    // A return knows no arguments: these keep them on entry,
    (keep $name:ident $id:ident($($argument:ident = $at:literal),*)) => {
        #[kprobe]
        fn $name(_ctx: ProbeContext) -> u32 {
            saved::keep(ProbeId::$id, [$(argument(&_ctx, $at)),*]);
            0
        }
    };
    (kprobe_keep $name:ident $id:ident($($argument:ident = $at:literal),*) |$probe:ident| $work:expr) => {
        #[kprobe]
        fn $name(ctx: ProbeContext) -> u32 {
            let $probe = Probe::hit(ProbeId::$id);
            $(let $argument = argument(&ctx, $at);)*
            saved::keep(ProbeId::$id, [$($argument),*]);
            $work;
            0
        }
    };
    // and this gives them back.
    (kept $name:ident $id:ident($($argument:ident = $at:literal),*) |$probe:ident $(, $ret:ident)?| $work:expr) => {
        #[kretprobe]
        fn $name(_ctx: RetProbeContext) -> u32 {
            let $probe = Probe::hit(ProbeId::$id);
            let Some([$($argument,)* ..]) = kept(ProbeId::$id, $probe) else { return 0 };
            $(let $ret = _ctx.ret();)?
            $work;
            0
        }
    };
}

/// The return of a function in the kernel image: one program by trampoline, two without.
macro_rules! on_return {
    ($id:ident $arguments:tt $fexit:ident $kprobe:ident $kretprobe:ident |$($seen:ident),*| $work:expr) => {
        program!(fexit $fexit $id $arguments |$($seen),*| $work);
        program!(keep $kprobe $id $arguments);
        program!(kept $kretprobe $id $arguments |$($seen),*| $work);
    };
}

/// The entry and the return of a function in the kernel image.
macro_rules! on_both {
    ($id:ident $arguments:tt
        enter $fentry:ident $kprobe:ident |$probe:ident| $enter:expr;
        exit $fexit:ident $kretprobe:ident |$($seen:ident),*| $exit:expr) => {
        program!(fentry $fentry $id $arguments |$probe| $enter);
        program!(fexit $fexit $id $arguments |$($seen),*| $exit);
        program!(kprobe_keep $kprobe $id $arguments |$probe| $enter);
        program!(kept $kretprobe $id $arguments |$($seen),*| $exit);
    };
}

// `void amd_iommu_get_resv_regions(struct device *dev, struct list_head *head)`
on_return! {
    AMD_RESV_REGIONS(dev = 0, head = 1)
    amd_resv_regions amd_resv_regions_kprobe amd_resv_regions_kretprobe
    |probe| regions::report(probe, dev, head)
}

/// The unity map of the segment of the device that [`amd_resv_regions`] is asked about.
#[fentry]
fn amd_unity_map(ctx: FEntryContext) -> i32 {
    unity::all(Probe::of(ProbeId::AMD_RESV_REGIONS), ctx.arg(0));
    0
}

#[kprobe]
fn amd_unity_map_kprobe(ctx: ProbeContext) -> u32 {
    unity::all(Probe::of(ProbeId::AMD_RESV_REGIONS), argument(&ctx, 0));
    0
}

// `void iommu_get_resv_regions(struct device *dev, struct list_head *list)`
on_return! {
    CORE_RESV_REGIONS(dev = 0, head = 1)
    core_resv_regions core_resv_regions_kprobe core_resv_regions_kretprobe
    |probe| regions::report(probe, dev, head)
}

// `int iommu_group_claim_dma_owner(struct iommu_group *group, void *owner)`
on_both! {
    GROUP_CLAIM(group = 0, owner = 1)
    enter group_claim_enter group_claim_kprobe |probe| {
        claim::args(probe);
        claim::group(probe, Kind::GROUP_CLAIM_ENTER, group, owner, 0);
    };
    exit group_claim_exit group_claim_kretprobe
    |probe, ret| claim::group(probe, Kind::GROUP_CLAIM_EXIT, group, owner, ret)
}

// `int iommu_device_claim_dma_owner(struct device *dev, void *owner)`
on_both! {
    DEVICE_CLAIM(dev = 0, owner = 1)
    enter device_claim_enter device_claim_kprobe |probe| {
        claim::args(probe);
        claim::device(probe, Kind::DEVICE_CLAIM_ENTER, dev, owner, 0);
    };
    exit device_claim_exit device_claim_kretprobe
    |probe, ret| claim::device(probe, Kind::DEVICE_CLAIM_EXIT, dev, owner, ret)
}

// `int __iommu_device_set_domain(struct iommu_group *group, struct device *dev,
// struct iommu_domain *new_domain, ...)`. What follows the third argument differs by version, so it
// is not read.
on_return! {
    SET_DOMAIN(group = 0, dev = 1, domain = 2)
    set_domain set_domain_kprobe set_domain_kretprobe
    |probe, ret| set_domain::report(probe, group, dev, domain, ret)
}

// `bool iommu_group_dma_owner_claimed(struct iommu_group *group)`
on_return! {
    OWNER_CLAIMED(group = 0)
    owner_claimed owner_claimed_kprobe owner_claimed_kretprobe
    |probe, ret| claim::group(probe, Kind::OWNER_CLAIMED, group, 0, of_bool(ret))
}

// `bool iommu_group_has_isolated_msi(struct iommu_group *group)`
on_return! {
    ISOLATED_MSI(group = 0)
    isolated_msi isolated_msi_kprobe isolated_msi_kretprobe
    |probe, ret| vfio::attach(probe, Kind::ISOLATED_MSI, group, of_bool(ret))
}

// `int iommu_create_device_direct_mappings(struct iommu_domain *domain, struct device *dev)`
on_return! {
    DIRECT_MAPPINGS(dev = 1)
    direct_mappings direct_mappings_kprobe direct_mappings_kretprobe
    |probe, ret| device::call(probe, Kind::DIRECT_MAPPINGS, dev, ret)
}

// `int pci_device_probe(struct device *dev)`: a driver is to bind a device. It runs in the thread that
// asked for it; the driver's own function may run in another.
on_return! {
    DRIVER_BIND(dev = 0)
    driver_bind driver_bind_kprobe driver_bind_kretprobe
    |probe, ret| {
        claim::args(probe);
        device::call(probe, Kind::DRIVER_BIND, dev, ret);
    }
}

// `void pci_device_remove(struct device *dev)`: a driver unbinds a device, which still names it.
program!(fexit driver_unbind DRIVER_UNBIND(dev = 0) |probe| unbound(probe, dev));
program!(kprobe driver_unbind_kprobe DRIVER_UNBIND(dev = 0) |probe| unbound(probe, dev));

#[inline(always)]
fn unbound(probe: Probe, dev: u64) {
    claim::args(probe);
    device::call(probe, Kind::DRIVER_UNBIND, dev, 0);
}

// `void _dev_warn(const struct device *dev, const char *fmt, ...)`: a trampoline cannot be put on a
// function with variable arguments.
program!(kprobe dev_warn DEV_WARN(dev = 0, format = 1) |probe| {
    warning::about_device(probe, dev, format)
});

// The tracepoints, with their own arguments.

// `const char *text, size_t len`
program!(raw_tracepoint("console") console CONSOLE(text = 0, length = 1) |probe| {
    warning::line(probe, text, length)
});

// `int group_id, struct device *dev`
program!(raw_tracepoint("add_device_to_group") group_add GROUP_ADD(group = 0, dev = 1) |probe| {
    device::group_change(probe, Kind::GROUP_ADD, dev, group)
});
program!(raw_tracepoint("remove_device_from_group") group_remove GROUP_REMOVE(group = 0, dev = 1) |probe| {
    device::group_change(probe, Kind::GROUP_REMOVE, dev, group)
});

// `struct module *`
program!(raw_tracepoint("module_load") module_load MODULE_LOAD(module = 0) |probe| {
    probe.send(Kind::MODULE_LOAD, |event: *mut ModuleLoad| {
        let mut reader = kernel::Reader::new(probe);
        // SAFETY: `event` is a whole entry of the ring.
        reader.module_name(module, unsafe { &raw mut (*event).name });
        reader.finish();
    })
});

// Functions that are mostly in modules.

// `int vfio_group_fops_open(struct inode *inode, struct file *filep)`
program!(kprobe group_open_enter GROUP_OPEN(file = 1) |probe| {
    claim::args(probe);
    vfio::enter(probe, Kind::GROUP_OPEN_ENTER, file, 0, 0);
});
program!(kretprobe group_open_exit GROUP_OPEN() |probe, ret| {
    vfio::exit(probe, Kind::GROUP_OPEN_EXIT, i32::into(ret))
});

// `long vfio_group_fops_unl_ioctl(struct file *filep, unsigned int cmd, unsigned long arg)`
program!(kprobe group_ioctl_enter GROUP_IOCTL(file = 0, cmd = 1, arg = 2) |probe| {
    vfio::enter(probe, Kind::GROUP_IOCTL_ENTER, file, cmd, arg)
});
program!(kretprobe group_ioctl_exit GROUP_IOCTL() |probe, ret| {
    vfio::exit(probe, Kind::GROUP_IOCTL_EXIT, ret)
});

/// `long vfio_fops_unl_ioctl(struct file *filep, unsigned int cmd, unsigned long arg)`: of the
/// ioctls on a container, the many that map memory are passed over.
#[kprobe]
fn container_ioctl_enter(ctx: ProbeContext) -> u32 {
    let (file, cmd) = (argument(&ctx, 0), argument(&ctx, 1));
    if cmd != vfio::SET_IOMMU {
        return 0;
    }
    let probe = Probe::hit(ProbeId::CONTAINER_IOCTL);
    saved::keep(ProbeId::CONTAINER_IOCTL, [file]);
    vfio::enter(probe, Kind::CONTAINER_IOCTL_ENTER, file, cmd, 0);
    0
}

#[kretprobe]
fn container_ioctl_exit(ctx: RetProbeContext) -> u32 {
    if saved::take(ProbeId::CONTAINER_IOCTL).is_some() {
        let probe = Probe::hit(ProbeId::CONTAINER_IOCTL);
        vfio::exit(probe, Kind::CONTAINER_IOCTL_EXIT, ctx.ret());
    }
    0
}

// `int vfio_container_attach_group(struct vfio_container *container, struct vfio_group *group)`
program!(kprobe container_attach_enter CONTAINER_ATTACH() |probe| {
    vfio::attach(probe, Kind::CONTAINER_ATTACH_ENTER, 0, 0)
});
program!(kretprobe container_attach_exit CONTAINER_ATTACH() |probe, ret| {
    vfio::attach(probe, Kind::CONTAINER_ATTACH_EXIT, 0, ret)
});

// `int vfio_iommu_type1_attach_group(void *iommu_data, struct iommu_group *iommu_group,
// enum vfio_group_type type)`
program!(kprobe type1_attach_enter TYPE1_ATTACH(group = 1) |probe| {
    vfio::attach(probe, Kind::TYPE1_ATTACH_ENTER, group, 0)
});
program!(kretprobe type1_attach_exit TYPE1_ATTACH() |probe, ret| {
    vfio::attach(probe, Kind::TYPE1_ATTACH_EXIT, 0, ret)
});

// `long vfio_df_ioctl_bind_iommufd(struct vfio_device_file *df,
// struct vfio_device_bind_iommufd __user *arg)`
program!(kprobe bind_iommufd_enter BIND_IOMMUFD(file = 0) |probe| {
    claim::args(probe);
    vfio::device_file_enter(probe, Kind::BIND_IOMMUFD_ENTER, file, vfio::DEVICE_BIND_IOMMUFD);
});
program!(kretprobe bind_iommufd_exit BIND_IOMMUFD() |probe, ret| {
    vfio::exit(probe, Kind::BIND_IOMMUFD_EXIT, ret)
});

// `int vfio_df_ioctl_attach_pt(struct vfio_device_file *df,
// struct vfio_device_attach_iommufd_pt __user *arg)`
program!(kprobe attach_iommufd_enter ATTACH_IOMMUFD(file = 0) |probe| {
    vfio::device_file_enter(probe, Kind::ATTACH_IOMMUFD_ENTER, file, vfio::DEVICE_ATTACH_IOMMUFD)
});
program!(kretprobe attach_iommufd_exit ATTACH_IOMMUFD() |probe, ret| {
    vfio::exit(probe, Kind::ATTACH_IOMMUFD_EXIT, i32::into(ret))
});

// `int vfio_df_open(struct vfio_device_file *df)`: zeros are kept until iommufd is asked. That it was
// not asked is said only where it would have been noticed.
program!(keep device_open_enter DEVICE_OPEN());
program!(kretprobe device_open_exit DEVICE_OPEN() |probe, ret| {
    let (kept, ret): (_, i32) = (saved::take(ProbeId::DEVICE_OPEN), ret);
    if ret < 0 && kept == Some([0; 3]) && emit::sees_device_bind() {
        vfio::attach(probe, Kind::DEVICE_OPEN, 0, ret);
    }
});

// `struct iommufd_device *iommufd_device_bind(struct iommufd_ctx *ictx, struct device *dev, u32 *id)`
program!(kprobe_keep device_bind_enter DEVICE_BIND(dev = 1) |probe| {
    saved::keep(ProbeId::DEVICE_OPEN, [1]);
    device::call(probe, Kind::DEVICE_BIND_ENTER, dev, 0);
});
program!(kept device_bind_exit DEVICE_BIND(dev = 1) |probe, ret| {
    device::call(probe, Kind::DEVICE_BIND_EXIT, dev, device::pointer_error(ret))
});

// `int iommufd_device_attach(struct iommufd_device *idev, ...)`. What follows the first argument
// differs by version, so it is not read.
program!(kprobe device_attach_enter DEVICE_ATTACH() |probe| {
    vfio::attach(probe, Kind::DEVICE_ATTACH_ENTER, 0, 0)
});
program!(kretprobe device_attach_exit DEVICE_ATTACH() |probe, ret| {
    vfio::attach(probe, Kind::DEVICE_ATTACH_EXIT, 0, ret)
});

// `int vfio_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)`
program!(keep driver_probe_enter DRIVER_PROBE(pci = 0));
program!(kept driver_probe_exit DRIVER_PROBE(pci = 0) |probe, ret| {
    device::pci_call(probe, Kind::DRIVER_PROBE, pci, ret)
});

/// What a function that returns a `bool` returned: only the lowest byte is.
#[inline(always)]
fn of_bool(ret: i32) -> i32 {
    ret & 0xff
}

/// An argument of a function that a kprobe is on; there is always one at so low a position.
#[inline(always)]
fn argument<T: Argument + Default>(ctx: &ProbeContext, at: usize) -> T {
    ctx.arg(at).unwrap_or_default()
}

/// What the entry kept for this return. A call that was entered before the probe was attached has
/// nothing; like one that found the map full it counts as a read that failed.
#[inline(always)]
fn kept(id: ProbeId, probe: Probe) -> Option<saved::Arguments> {
    let arguments = saved::take(id);
    if arguments.is_none() {
        diagnose::diagnose!("probe {}: a return without its entry", id.0);
        probe.read_failed();
    }
    arguments
}

/// The return value of the function that the program watches.
fn returned(ctx: &FExitContext, probe: Probe) -> Option<i32> {
    match ctx.ret::<i32>() {
        Ok(value) => Some(value),
        Err(_) => {
            probe.read_failed();
            None
        }
    }
}

/// The licence that the kernel checks before it lends its GPL-only helpers.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier rejects any program in which this can be reached.
    loop {}
}
