//! PCI functions as sysfs shows them, and their binding to vfio-pci.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use ivrs_trace::pci::Bdf;

/// There once the driver is loaded.
pub(crate) const VFIO_PCI: &str = "/sys/bus/pci/drivers/vfio-pci";
const DEVICES: &str = "/sys/bus/pci/devices";
const GROUPS: &str = "/sys/kernel/iommu_groups";

pub(crate) struct Function {
    folder: PathBuf,
}

impl Function {
    pub(crate) fn find(address: Bdf) -> Result<Self, String> {
        let folder = Path::new(DEVICES).join(address.to_string());
        if folder.exists() {
            Ok(Self { folder })
        } else {
            Err(format!("there is no PCI function {address}"))
        }
    }

    pub(crate) fn name(&self) -> String {
        file_name(&self.folder)
    }

    pub(crate) fn group_of_iommu(&self) -> Result<String, String> {
        self.link("iommu_group")?.ok_or_else(|| {
            let name = self.name();
            format!("{name} has no IOMMU group: this kernel uses no IOMMU for it")
        })
    }

    /// The node by which VFIO gives it without its group. A kernel without
    /// `CONFIG_VFIO_DEVICE_CDEV` has none, nor has a function that is not bound to VFIO's driver.
    pub(crate) fn device_node(&self) -> Result<String, String> {
        let folder = self.folder.join("vfio-dev");
        let device = fs::read_dir(&folder)
            .and_then(|mut entries| entries.next().transpose())
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let device = device.ok_or_else(|| format!("{} is empty", folder.display()))?;
        Ok(format!("/dev/vfio/devices/{}", device.file_name().to_string_lossy()))
    }

    /// Removes it from its bus, as if it were pulled out.
    pub(crate) fn remove(&self) -> Result<(), String> {
        write(&self.folder.join("remove"), "1")
    }

    /// Whether its configuration header is a PCI bridge's (type 1). vfio-pci binds none of those.
    pub(crate) fn is_bridge(&self) -> Result<bool, String> {
        /// The header type in configuration space; bit 7 marks multi-function devices.
        const HEADER_TYPE: usize = 0x0e;
        let path = self.folder.join("config");
        let mut header = [0_u8; HEADER_TYPE + 1];
        fs::File::open(&path)
            .and_then(|mut file| file.read_exact(&mut header))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(header.last().is_some_and(|kind| kind & 0x7f == 1))
    }

    /// Unbinds it from its driver and binds it to vfio-pci, as libvirt does.
    pub(crate) fn bind(&self) -> Result<(), String> {
        if self.link("driver")?.as_deref() == Some("vfio-pci") {
            return Ok(());
        }
        write(&self.folder.join("driver_override"), "vfio-pci\n")?;
        if self.link("driver")?.is_some() {
            write(&self.folder.join("driver/unbind"), &self.name())?;
        }
        write(Path::new("/sys/bus/pci/drivers_probe"), &self.name())?;
        match self.link("driver")?.as_deref() {
            Some("vfio-pci") => Ok(()),
            driver => Err(format!(
                "{} did not bind to vfio-pci (its driver is {}): the kernel log may say why",
                self.name(),
                driver.unwrap_or("none"),
            )),
        }
    }

    /// The last part of what a symbolic link of this function points to.
    fn link(&self, name: &str) -> Result<Option<String>, String> {
        let path = self.folder.join(name);
        match fs::read_link(&path) {
            Ok(target) => Ok(Some(file_name(&target))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}

/// Binds every function of a group to vfio-pci, except bridges.
pub(crate) fn bind_group(group: &str) -> Result<(), String> {
    let folder = Path::new(GROUPS).join(group).join("devices");
    let mut members: Vec<PathBuf> = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    members.sort();
    for folder in members {
        let function = Function { folder };
        if !function.is_bridge()? {
            function.bind()?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
