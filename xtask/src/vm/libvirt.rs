//! libvirt in the guest: its configuration, its users and the domains that are defined.
//!
//! There is no systemd: the guest starts libvirtd before the command, and `virsh` finds it ready.

use std::io::Write;

use anyhow::Result;

use super::cpio::Archive;
use crate::setup;

/// The domains' names and the devices that they are given: one on a bus that the firmware
/// `am5-desktop` covers, one on a bus that it does not.
const DOMAINS: [(&str, [u8; 3]); 2] = [("covered", [0x00, 0x03, 0]), ("free", [0x21, 0x00, 0])];
const DOMAIN: &str = include_str!("libvirt/domain.xml");

const FILES: [(&str, u32, &str); 6] = [
    ("lab/start", 0o755, include_str!("libvirt/start.sh")),
    ("sbin/modprobe", 0o755, include_str!("libvirt/modprobe.sh")),
    ("etc/libvirt/libvirtd.conf", 0o644, include_str!("libvirt/libvirtd.conf")),
    ("etc/libvirt/qemu.conf", 0o644, include_str!("libvirt/qemu.conf")),
    (
        "etc/passwd",
        0o644,
        concat!(include_str!("passwd"), "libvirt-qemu:x:64055:64055::/:/bin/false\n"),
    ),
    ("etc/group", 0o644, concat!(include_str!("group"), "libvirt-qemu:x:64055:\n")),
];
/// Folders that packages' scripts or systemd would make.
const FOLDERS: [&str; 3] = ["var/lib/libvirt/qemu", "var/log/libvirt/qemu", "var/cache/libvirt"];

pub(super) fn write<W: Write>(archive: &mut Archive<W>) -> Result<()> {
    archive.tree(&setup::libvirt()?)?;
    for (path, mode, content) in FILES {
        archive.file(path, mode, content.as_bytes())?;
    }
    for folder in FOLDERS {
        archive.folder(folder, 0o755)?;
    }
    archive.link("var/run", "/run")?;
    for (name, device) in DOMAINS {
        archive.file(&format!("lab/domains/{name}.xml"), 0o644, domain(name, device).as_bytes())?;
    }
    Ok(())
}

fn domain(name: &str, [bus, slot, function]: [u8; 3]) -> String {
    DOMAIN
        .replace("@NAME@", name)
        .replace("@BUS@", &format!("{bus:#04x}"))
        .replace("@SLOT@", &format!("{slot:#04x}"))
        .replace("@FUNCTION@", &format!("{function:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_its_name_and_its_device() {
        let xml = domain("free", [0x21, 0, 1]);
        assert!(xml.contains("<name>free</name>"), "{xml}");
        assert!(xml.contains("bus='0x21' slot='0x00' function='0x1'"), "{xml}");
        assert!(!xml.contains('@'), "{xml}");
    }
}
