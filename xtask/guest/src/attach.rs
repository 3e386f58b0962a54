//! Attaching and releasing devices, in each of the kernel's ways.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use rustix::io::Errno;

use crate::ioctl::Page;
use crate::pci::Function;
use crate::request::{Path, Request};
use crate::{iommufd, vfio};

pub(crate) enum Failure {
    /// The kernel refused a call, or a group was not viable; the text is that call's line.
    Refused(String),
    /// It did not come to that; the text says why.
    NotTried(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::NotTried(why)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    pub(crate) shown: bool,
}

impl Log {
    fn show(self, line: &str) {
        if self.shown {
            println!("{line}");
        }
    }

    /// Notes a call that has a number for a result.
    fn call(self, call: &str, result: Result<i32, Errno>) -> Result<(), Failure> {
        let number = result.map_err(|errno| self.refused(call, errno))?;
        self.show(&format!("{call} = {number}"));
        Ok(())
    }

    /// Notes a call whose result is 0 and a number that comes with it.
    fn made(self, call: &str, what: &str, result: Result<u32, Errno>) -> Result<u32, Failure> {
        let number = result.map_err(|errno| self.refused(call, errno))?;
        self.show(&format!("{call} = 0 {what} {number}"));
        Ok(number)
    }

    fn refused(self, call: &str, errno: Errno) -> Failure {
        let name = ivrs_trace::errno::Errno(errno.raw_os_error().unsigned_abs());
        let line = format!("{call} = -1 {name}");
        self.show(&line);
        Failure::Refused(line)
    }

    /// Opens a node. A missing one, or one that may not be opened, means that nothing was called;
    /// any other error is the kernel's refusal.
    fn open(self, path: &str) -> Result<File, Failure> {
        let opened = File::options().read(true).write(true).open(path);
        opened.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) if errno != Errno::NOENT && errno != Errno::ACCESS => {
                self.refused(&format!("open {path}"), errno)
            }
            _ => Failure::NotTried(format!("cannot open {path}: {error}")),
        })
    }
}

/// Attaches the functions and releases them. Each comes with the name of its group.
pub(crate) fn once(
    request: &Request,
    functions: &[(Function, String)],
    log: Log,
) -> Result<(), Failure> {
    let page = Page::new();
    match request.path {
        Path::Legacy | Path::Status => by_group(request, functions, vfio::CONTAINER, &page, log),
        Path::Compat => by_group(request, functions, iommufd::NODE, &page, log),
        Path::Cdev => by_device(request, functions, &page, log),
    }
}

/// Group files, with the file `container` to bring them together. iommufd answers the calls of
/// VFIO's container too.
fn by_group(
    request: &Request,
    functions: &[(Function, String)],
    container: &str,
    page: &Page,
    log: Log,
) -> Result<(), Failure> {
    let container = log.open(container)?;
    log.call("VFIO_GET_API_VERSION", vfio::api_version(&container))?;
    // Two devices of one group share its file: a group can be opened once only.
    let mut groups: BTreeMap<&str, File> = BTreeMap::new();
    let mut devices: Vec<OwnedFd> = Vec::new();
    for (function, name) in functions {
        if !groups.contains_key(name.as_str()) {
            let group = log.open(&vfio::group_path(name, request.noiommu))?;
            status(request, &group, log)?;
            if request.vanish && groups.is_empty() {
                function.remove()?;
            }
            log.call("VFIO_GROUP_SET_CONTAINER", vfio::set_container(&group, &container))?;
            if groups.is_empty() {
                log.call("VFIO_SET_IOMMU", vfio::set_iommu(&container, request.noiommu))?;
                // VFIO's own container maps nothing before it has a group.
                if let Some(iova) = request.conflict {
                    log.call("VFIO_IOMMU_MAP_DMA", vfio::map_dma(&container, page, iova))?;
                }
            }
            groups.insert(name, group);
        }
        let Some(group) = groups.get(name.as_str()) else { continue };
        let device = vfio::device(group, &function.name());
        log.call(
            "VFIO_GROUP_GET_DEVICE_FD",
            device.as_ref().map(AsRawFd::as_raw_fd).map_err(|e| *e),
        )?;
        devices.extend(device);
    }
    thread::sleep(request.hold);
    Ok(())
}

/// Asks whether a group is viable. QEMU gives up by itself when it is not; on most paths here the
/// next call is made all the same, because its errno is the kernel's own answer.
fn status(request: &Request, group: &File, log: Log) -> Result<(), Failure> {
    const CALL: &str = "VFIO_GROUP_GET_STATUS";
    let viable = vfio::is_viable(group).map_err(|errno| log.refused(CALL, errno))?;
    let line = format!("{CALL} = 0 {}", if viable { "viable" } else { "not viable" });
    log.show(&line);
    let give_up = request.path == Path::Status && !viable;
    if give_up { Err(Failure::Refused(line)) } else { Ok(()) }
}

/// Device files and one address space of iommufd.
fn by_device(
    request: &Request,
    functions: &[(Function, String)],
    page: &Page,
    log: Log,
) -> Result<(), Failure> {
    let iommufd = log.open(iommufd::NODE)?;
    let mut devices: Vec<File> = Vec::new();
    let mut space = None;
    for (function, _) in functions {
        let device = log.open(&function.device_node()?)?;
        let bound = vfio::bind_iommufd(&device, &iommufd);
        log.made("VFIO_DEVICE_BIND_IOMMUFD", "devid", bound)?;
        let space = if let Some(space) = space {
            space
        } else {
            let made = log.made("IOMMU_IOAS_ALLOC", "ioas", iommufd::allocate(&iommufd))?;
            if let Some(iova) = request.conflict {
                log.call("IOMMU_IOAS_MAP", iommufd::map(&iommufd, made, page, iova))?;
            }
            *space.insert(made)
        };
        let attached = vfio::attach_iommufd_pt(&device, space);
        log.call("VFIO_DEVICE_ATTACH_IOMMUFD_PT", attached)?;
        devices.push(device);
    }
    thread::sleep(request.hold);
    for device in &devices {
        log.call("VFIO_DEVICE_DETACH_IOMMUFD_PT", vfio::detach_iommufd_pt(device))?;
    }
    Ok(())
}
