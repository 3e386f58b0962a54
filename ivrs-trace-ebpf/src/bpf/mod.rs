//! Entry points. Each takes its arguments from the context and hands them to the code it shares
//! with its neighbours; nothing is decided here.

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
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use ivrs_trace_common::{Kind, ModuleLoad, ProbeId};

use emit::Probe;

/// `void amd_iommu_get_resv_regions(struct device *dev, struct list_head *head)`
#[fexit]
fn amd_resv_regions(ctx: FExitContext) -> i32 {
    regions::report(Probe::hit(ProbeId::AMD_RESV_REGIONS), ctx.arg(0), ctx.arg(1));
    0
}

/// The unity map of the segment of the device that [`amd_resv_regions`] is asked about.
#[fentry]
fn amd_unity_map(ctx: FEntryContext) -> i32 {
    unity::all(Probe::of(ProbeId::AMD_RESV_REGIONS), ctx.arg(0));
    0
}

/// `void iommu_get_resv_regions(struct device *dev, struct list_head *list)`
#[fexit]
fn core_resv_regions(ctx: FExitContext) -> i32 {
    regions::report(Probe::hit(ProbeId::CORE_RESV_REGIONS), ctx.arg(0), ctx.arg(1));
    0
}

/// `int iommu_group_claim_dma_owner(struct iommu_group *group, void *owner)`
#[fentry]
fn group_claim_enter(ctx: FEntryContext) -> i32 {
    let probe = Probe::hit(ProbeId::GROUP_CLAIM);
    claim::args(probe);
    claim::group(probe, Kind::GROUP_CLAIM_ENTER, ctx.arg(0), ctx.arg(1), 0);
    0
}

/// See [`group_claim_enter`].
#[fexit]
fn group_claim_exit(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::GROUP_CLAIM);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    claim::group(probe, Kind::GROUP_CLAIM_EXIT, ctx.arg(0), ctx.arg(1), ret);
    0
}

/// `int iommu_device_claim_dma_owner(struct device *dev, void *owner)`
#[fentry]
fn device_claim_enter(ctx: FEntryContext) -> i32 {
    let probe = Probe::hit(ProbeId::DEVICE_CLAIM);
    claim::args(probe);
    claim::device(probe, Kind::DEVICE_CLAIM_ENTER, ctx.arg(0), ctx.arg(1), 0);
    0
}

/// See [`device_claim_enter`].
#[fexit]
fn device_claim_exit(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::DEVICE_CLAIM);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    claim::device(probe, Kind::DEVICE_CLAIM_EXIT, ctx.arg(0), ctx.arg(1), ret);
    0
}

/// `int __iommu_device_set_domain(struct iommu_group *group, struct device *dev,
/// struct iommu_domain *new_domain, ...)`. What follows the third argument differs by version, so
/// it is not read.
#[fexit]
fn set_domain(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::SET_DOMAIN);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    set_domain::report(probe, ctx.arg(0), ctx.arg(1), ctx.arg(2), ret);
    0
}

/// `bool iommu_group_dma_owner_claimed(struct iommu_group *group)`
#[fexit]
fn owner_claimed(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::OWNER_CLAIMED);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    // Of a `bool` only the lowest byte is returned.
    claim::group(probe, Kind::OWNER_CLAIMED, ctx.arg(0), 0, ret & 0xff);
    0
}

/// `bool iommu_group_has_isolated_msi(struct iommu_group *group)`
#[fexit]
fn isolated_msi(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::ISOLATED_MSI);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    vfio::attach(probe, Kind::ISOLATED_MSI, ctx.arg(0), ret & 0xff);
    0
}

/// `int iommu_create_device_direct_mappings(struct iommu_domain *domain, struct device *dev)`
#[fexit]
fn direct_mappings(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::DIRECT_MAPPINGS);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    device::call(probe, Kind::DIRECT_MAPPINGS, ctx.arg(1), ret);
    0
}

/// `void _dev_warn(const struct device *dev, const char *fmt, ...)`: a trampoline cannot be put on a
/// function with variable arguments.
#[kprobe]
fn dev_warn(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEV_WARN);
    if let (Some(dev), Some(format)) = (ctx.arg(0), ctx.arg(1)) {
        warning::about_device(probe, dev, format);
    }
    0
}

/// The tracepoint `printk:console`, whose arguments are `const char *text, size_t len`.
#[raw_tracepoint(tracepoint = "console")]
fn console(ctx: RawTracePointContext) -> i32 {
    warning::line(Probe::hit(ProbeId::CONSOLE), ctx.arg(0), ctx.arg(1));
    0
}

/// The tracepoint `iommu:add_device_to_group`, whose arguments are
/// `int group_id, struct device *dev`.
#[raw_tracepoint(tracepoint = "add_device_to_group")]
fn group_add(ctx: RawTracePointContext) -> i32 {
    let probe = Probe::hit(ProbeId::GROUP_ADD);
    device::group_change(probe, Kind::GROUP_ADD, ctx.arg(1), ctx.arg(0));
    0
}

/// The tracepoint `iommu:remove_device_from_group`, whose arguments are
/// `int group_id, struct device *dev`.
#[raw_tracepoint(tracepoint = "remove_device_from_group")]
fn group_remove(ctx: RawTracePointContext) -> i32 {
    let probe = Probe::hit(ProbeId::GROUP_REMOVE);
    device::group_change(probe, Kind::GROUP_REMOVE, ctx.arg(1), ctx.arg(0));
    0
}

/// The tracepoint `module:module_load`, whose argument is the `struct module *`.
#[raw_tracepoint(tracepoint = "module_load")]
fn module_load(ctx: RawTracePointContext) -> i32 {
    let probe = Probe::hit(ProbeId::MODULE_LOAD);
    probe.send(Kind::MODULE_LOAD, |event: *mut ModuleLoad| {
        let mut reader = kernel::Reader::new(probe);
        // SAFETY: `event` is a whole entry of the ring.
        reader.module_name(ctx.arg(0), unsafe { &raw mut (*event).name });
        reader.finish();
    });
    0
}

/// `int pci_device_probe(struct device *dev)`: a driver is to take a device. It runs in the thread that
/// asked for that; the driver's own function may run in another.
#[fexit]
fn driver_bind(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::DRIVER_BIND);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    claim::args(probe);
    device::call(probe, Kind::DRIVER_BIND, ctx.arg(0), ret);
    0
}

/// `void pci_device_remove(struct device *dev)`: a driver lets go of a device, which still names it.
#[fexit]
fn driver_unbind(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::DRIVER_UNBIND);
    claim::args(probe);
    device::call(probe, Kind::DRIVER_UNBIND, ctx.arg(0), 0);
    0
}

/// `int vfio_group_fops_open(struct inode *inode, struct file *filep)`
#[kprobe]
fn group_open_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::GROUP_OPEN);
    if let Some(file) = ctx.arg(1) {
        claim::args(probe);
        vfio::enter(probe, Kind::GROUP_OPEN_ENTER, file, 0, 0);
    }
    0
}

/// See [`group_open_enter`].
#[kretprobe]
fn group_open_exit(ctx: RetProbeContext) -> u32 {
    let ret: i32 = ctx.ret();
    vfio::exit(Probe::hit(ProbeId::GROUP_OPEN), Kind::GROUP_OPEN_EXIT, ret.into());
    0
}

/// `long vfio_group_fops_unl_ioctl(struct file *filep, unsigned int cmd, unsigned long arg)`
#[kprobe]
fn group_ioctl_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::GROUP_IOCTL);
    if let (Some(file), Some(cmd), Some(arg)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        vfio::enter(probe, Kind::GROUP_IOCTL_ENTER, file, cmd, arg);
    }
    0
}

/// See [`group_ioctl_enter`].
#[kretprobe]
fn group_ioctl_exit(ctx: RetProbeContext) -> u32 {
    vfio::exit(Probe::hit(ProbeId::GROUP_IOCTL), Kind::GROUP_IOCTL_EXIT, ctx.ret());
    0
}

/// `long vfio_fops_unl_ioctl(struct file *filep, unsigned int cmd, unsigned long arg)`: of the
/// ioctls on a container, the many that map memory are passed over.
#[kprobe]
fn container_ioctl_enter(ctx: ProbeContext) -> u32 {
    let (Some(file), Some(cmd)) = (ctx.arg(0), ctx.arg(1)) else { return 0 };
    if cmd != vfio::SET_IOMMU {
        return 0;
    }
    let probe = Probe::hit(ProbeId::CONTAINER_IOCTL);
    saved::keep(ProbeId::CONTAINER_IOCTL, [file, 0, 0]);
    vfio::enter(probe, Kind::CONTAINER_IOCTL_ENTER, file, cmd, 0);
    0
}

/// See [`container_ioctl_enter`].
#[kretprobe]
fn container_ioctl_exit(ctx: RetProbeContext) -> u32 {
    if saved::take(ProbeId::CONTAINER_IOCTL).is_some() {
        let probe = Probe::hit(ProbeId::CONTAINER_IOCTL);
        vfio::exit(probe, Kind::CONTAINER_IOCTL_EXIT, ctx.ret());
    }
    0
}

/// `int vfio_container_attach_group(struct vfio_container *container, struct vfio_group *group)`
#[kprobe]
fn container_attach_enter(_ctx: ProbeContext) -> u32 {
    vfio::attach(Probe::hit(ProbeId::CONTAINER_ATTACH), Kind::CONTAINER_ATTACH_ENTER, 0, 0);
    0
}

/// See [`container_attach_enter`].
#[kretprobe]
fn container_attach_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::CONTAINER_ATTACH);
    vfio::attach(probe, Kind::CONTAINER_ATTACH_EXIT, 0, ctx.ret());
    0
}

/// `int vfio_iommu_type1_attach_group(void *iommu_data, struct iommu_group *iommu_group,
/// enum vfio_group_type type)`
#[kprobe]
fn type1_attach_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::TYPE1_ATTACH);
    vfio::attach(probe, Kind::TYPE1_ATTACH_ENTER, ctx.arg(1).unwrap_or(0), 0);
    0
}

/// See [`type1_attach_enter`].
#[kretprobe]
fn type1_attach_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::TYPE1_ATTACH);
    vfio::attach(probe, Kind::TYPE1_ATTACH_EXIT, 0, ctx.ret());
    0
}

/// `long vfio_df_ioctl_bind_iommufd(struct vfio_device_file *df,
/// struct vfio_device_bind_iommufd __user *arg)`
#[kprobe]
fn bind_iommufd_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::BIND_IOMMUFD);
    if let Some(file) = ctx.arg(0) {
        claim::args(probe);
        let kind = Kind::BIND_IOMMUFD_ENTER;
        vfio::device_file_enter(probe, kind, file, vfio::DEVICE_BIND_IOMMUFD);
    }
    0
}

/// See [`bind_iommufd_enter`].
#[kretprobe]
fn bind_iommufd_exit(ctx: RetProbeContext) -> u32 {
    vfio::exit(Probe::hit(ProbeId::BIND_IOMMUFD), Kind::BIND_IOMMUFD_EXIT, ctx.ret());
    0
}

/// `int vfio_df_ioctl_attach_pt(struct vfio_device_file *df,
/// struct vfio_device_attach_iommufd_pt __user *arg)`
#[kprobe]
fn attach_iommufd_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::ATTACH_IOMMUFD);
    if let Some(file) = ctx.arg(0) {
        let kind = Kind::ATTACH_IOMMUFD_ENTER;
        vfio::device_file_enter(probe, kind, file, vfio::DEVICE_ATTACH_IOMMUFD);
    }
    0
}

/// See [`attach_iommufd_enter`].
#[kretprobe]
fn attach_iommufd_exit(ctx: RetProbeContext) -> u32 {
    let ret: i32 = ctx.ret();
    vfio::exit(Probe::hit(ProbeId::ATTACH_IOMMUFD), Kind::ATTACH_IOMMUFD_EXIT, ret.into());
    0
}

/// `int vfio_df_open(struct vfio_device_file *df)`
#[kprobe]
fn device_open_enter(_ctx: ProbeContext) -> u32 {
    saved::keep(ProbeId::DEVICE_OPEN, NOT_ASKED);
    0
}

/// See [`device_open_enter`].
#[kretprobe]
fn device_open_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEVICE_OPEN);
    let kept = saved::take(ProbeId::DEVICE_OPEN);
    let ret: i32 = ctx.ret();
    // That iommufd was not asked is said only where it would have been noticed.
    if ret < 0 && kept == Some(NOT_ASKED) && emit::sees_device_bind() {
        vfio::attach(probe, Kind::DEVICE_OPEN, 0, ret);
    }
    0
}

/// What is kept of a device that is being opened, until iommufd is asked.
const NOT_ASKED: saved::Arguments = [0; 3];

/// `struct iommufd_device *iommufd_device_bind(struct iommufd_ctx *ictx, struct device *dev,
/// u32 *id)`
#[kprobe]
fn device_bind_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEVICE_BIND);
    if let Some(dev) = ctx.arg(1) {
        saved::keep(ProbeId::DEVICE_BIND, [dev, 0, 0]);
        saved::keep(ProbeId::DEVICE_OPEN, [1, 0, 0]);
        device::call(probe, Kind::DEVICE_BIND_ENTER, dev, 0);
    }
    0
}

/// See [`device_bind_enter`].
#[kretprobe]
fn device_bind_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEVICE_BIND);
    let Some([dev, ..]) = kept(ProbeId::DEVICE_BIND, probe) else { return 0 };
    device::call(probe, Kind::DEVICE_BIND_EXIT, dev, device::pointer_error(ctx.ret()));
    0
}

/// `int iommufd_device_attach(struct iommufd_device *idev, ...)`. What follows the first argument
/// differs by version, so it is not read.
#[kprobe]
fn device_attach_enter(_ctx: ProbeContext) -> u32 {
    vfio::attach(Probe::hit(ProbeId::DEVICE_ATTACH), Kind::DEVICE_ATTACH_ENTER, 0, 0);
    0
}

/// See [`device_attach_enter`].
#[kretprobe]
fn device_attach_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEVICE_ATTACH);
    vfio::attach(probe, Kind::DEVICE_ATTACH_EXIT, 0, ctx.ret());
    0
}

/// `int vfio_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)`
#[kprobe]
fn driver_probe_enter(ctx: ProbeContext) -> u32 {
    if let Some(pci) = ctx.arg(0) {
        saved::keep(ProbeId::DRIVER_PROBE, [pci, 0, 0]);
    }
    0
}

/// See [`driver_probe_enter`].
#[kretprobe]
fn driver_probe_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DRIVER_PROBE);
    let Some([pci, ..]) = kept(ProbeId::DRIVER_PROBE, probe) else { return 0 };
    device::pci_call(probe, Kind::DRIVER_PROBE, pci, ctx.ret());
    0
}

// The same functions by kprobe and kretprobe, for kernels on which a trampoline cannot be used. A
// return knows no arguments, so they are kept from the entry.

/// See [`amd_resv_regions`].
#[kprobe]
fn amd_resv_regions_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(dev), Some(head)) = (ctx.arg(0), ctx.arg(1)) {
        saved::keep(ProbeId::AMD_RESV_REGIONS, [dev, head, 0]);
    }
    0
}

/// See [`amd_resv_regions`].
#[kretprobe]
fn amd_resv_regions_kretprobe(_ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::AMD_RESV_REGIONS);
    let Some([dev, head, _]) = kept(ProbeId::AMD_RESV_REGIONS, probe) else { return 0 };
    regions::report(probe, dev, head);
    0
}

/// See [`amd_unity_map`].
#[kprobe]
fn amd_unity_map_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(dev) = ctx.arg(0) {
        unity::all(Probe::of(ProbeId::AMD_RESV_REGIONS), dev);
    }
    0
}

/// See [`group_claim_enter`].
#[kprobe]
fn group_claim_kprobe(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::GROUP_CLAIM);
    if let (Some(group), Some(owner)) = (ctx.arg(0), ctx.arg(1)) {
        saved::keep(ProbeId::GROUP_CLAIM, [group, owner, 0]);
        claim::args(probe);
        claim::group(probe, Kind::GROUP_CLAIM_ENTER, group, owner, 0);
    }
    0
}

/// See [`group_claim_enter`].
#[kretprobe]
fn group_claim_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::GROUP_CLAIM);
    let Some([group, owner, _]) = kept(ProbeId::GROUP_CLAIM, probe) else { return 0 };
    claim::group(probe, Kind::GROUP_CLAIM_EXIT, group, owner, ctx.ret());
    0
}

/// See [`device_claim_enter`].
#[kprobe]
fn device_claim_kprobe(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEVICE_CLAIM);
    if let (Some(dev), Some(owner)) = (ctx.arg(0), ctx.arg(1)) {
        saved::keep(ProbeId::DEVICE_CLAIM, [dev, owner, 0]);
        claim::args(probe);
        claim::device(probe, Kind::DEVICE_CLAIM_ENTER, dev, owner, 0);
    }
    0
}

/// See [`device_claim_enter`].
#[kretprobe]
fn device_claim_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DEVICE_CLAIM);
    let Some([dev, owner, _]) = kept(ProbeId::DEVICE_CLAIM, probe) else { return 0 };
    claim::device(probe, Kind::DEVICE_CLAIM_EXIT, dev, owner, ctx.ret());
    0
}

/// See [`set_domain`].
#[kprobe]
fn set_domain_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(group), Some(dev), Some(domain)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        saved::keep(ProbeId::SET_DOMAIN, [group, dev, domain]);
    }
    0
}

/// See [`set_domain`].
#[kretprobe]
fn set_domain_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::SET_DOMAIN);
    let Some([group, dev, domain]) = kept(ProbeId::SET_DOMAIN, probe) else { return 0 };
    set_domain::report(probe, group, dev, domain, ctx.ret());
    0
}

/// See [`core_resv_regions`].
#[kprobe]
fn core_resv_regions_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(dev), Some(head)) = (ctx.arg(0), ctx.arg(1)) {
        saved::keep(ProbeId::CORE_RESV_REGIONS, [dev, head, 0]);
    }
    0
}

/// See [`core_resv_regions`].
#[kretprobe]
fn core_resv_regions_kretprobe(_ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::CORE_RESV_REGIONS);
    let Some([dev, head, _]) = kept(ProbeId::CORE_RESV_REGIONS, probe) else { return 0 };
    regions::report(probe, dev, head);
    0
}

/// See [`owner_claimed`].
#[kprobe]
fn owner_claimed_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(group) = ctx.arg(0) {
        saved::keep(ProbeId::OWNER_CLAIMED, [group, 0, 0]);
    }
    0
}

/// See [`owner_claimed`].
#[kretprobe]
fn owner_claimed_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::OWNER_CLAIMED);
    let Some([group, ..]) = kept(ProbeId::OWNER_CLAIMED, probe) else { return 0 };
    let ret: i32 = ctx.ret();
    claim::group(probe, Kind::OWNER_CLAIMED, group, 0, ret & 0xff);
    0
}

/// See [`isolated_msi`].
#[kprobe]
fn isolated_msi_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(group) = ctx.arg(0) {
        saved::keep(ProbeId::ISOLATED_MSI, [group, 0, 0]);
    }
    0
}

/// See [`isolated_msi`].
#[kretprobe]
fn isolated_msi_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::ISOLATED_MSI);
    let Some([group, ..]) = kept(ProbeId::ISOLATED_MSI, probe) else { return 0 };
    let ret: i32 = ctx.ret();
    vfio::attach(probe, Kind::ISOLATED_MSI, group, ret & 0xff);
    0
}

/// See [`direct_mappings`].
#[kprobe]
fn direct_mappings_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(dev) = ctx.arg(1) {
        saved::keep(ProbeId::DIRECT_MAPPINGS, [dev, 0, 0]);
    }
    0
}

/// See [`direct_mappings`].
#[kretprobe]
fn direct_mappings_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DIRECT_MAPPINGS);
    let Some([dev, ..]) = kept(ProbeId::DIRECT_MAPPINGS, probe) else { return 0 };
    device::call(probe, Kind::DIRECT_MAPPINGS, dev, ctx.ret());
    0
}

/// See [`driver_bind`].
#[kprobe]
fn driver_bind_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(dev) = ctx.arg(0) {
        saved::keep(ProbeId::DRIVER_BIND, [dev, 0, 0]);
    }
    0
}

/// See [`driver_bind`].
#[kretprobe]
fn driver_bind_kretprobe(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DRIVER_BIND);
    let Some([dev, ..]) = kept(ProbeId::DRIVER_BIND, probe) else { return 0 };
    claim::args(probe);
    device::call(probe, Kind::DRIVER_BIND, dev, ctx.ret());
    0
}

/// See [`driver_unbind`].
#[kprobe]
fn driver_unbind_kprobe(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::DRIVER_UNBIND);
    if let Some(dev) = ctx.arg(0) {
        claim::args(probe);
        device::call(probe, Kind::DRIVER_UNBIND, dev, 0);
    }
    0
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
fn ret(ctx: &FExitContext, probe: Probe) -> Option<i32> {
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
