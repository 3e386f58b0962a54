//! `check` as a program: what it says of devices by name, and its exit status.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is the failed assertion")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

/// A copied host: each function with its class and its group.
fn plant(root: &Path, functions: &[(&str, &str, Option<u32>)]) {
    let bus = root.join("sys/bus/pci/devices");
    fs::create_dir_all(&bus).unwrap();
    fs::create_dir_all(root.join("sys/class/iommu/ivhd0")).unwrap();
    fs::create_dir_all(root.join("sys/kernel/iommu_groups")).unwrap();
    fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
    fs::write(root.join("proc/sys/kernel/osrelease"), "6.12.1\n").unwrap();
    for (name, class, group) in functions {
        let place = root.join("sys/devices/pci0000:00").join(name);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("class"), format!("{class}\n")).unwrap();
        symlink(format!("../../../devices/pci0000:00/{name}"), bus.join(name)).unwrap();
        let Some(group) = group else { continue };
        let group = format!("sys/kernel/iommu_groups/{group}");
        fs::create_dir_all(root.join(&group).join("devices")).unwrap();
        symlink(&place, root.join(&group).join("devices").join(name)).unwrap();
        fs::write(
            root.join(&group).join("reserved_regions"),
            "0x00000000fee00000 0x00000000feefffff msi\n",
        )
        .unwrap();
    }
}

fn check(root: &Path, devices: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ivrs-trace"));
    let Output { status, stdout, stderr } =
        command.arg("check").arg("--from").arg(root).args(devices).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn each_device_that_is_named_has_an_answer_and_a_status() {
    let host = tempfile::tempdir().unwrap();
    let (served, card) = ("0000:01:00.0", "0000:43:00.0");
    let iommu = ("0000:00:00.2", "0x080600", None);
    plant(host.path(), &[(served, "0x030000", Some(1)), (card, "0x030000", None), iommu]);
    let (status, text, _) = check(host.path(), &[]);
    assert_eq!(status, 4, "{text}");
    assert!(
        text.starts_with("0 blocked, 1 clear, 0 unknown, 1 without IOMMU of 2 devices"),
        "{text}"
    );
    assert!(text.contains("\nIOMMU: 0000:00:00.2\n"), "{text}");
    assert_eq!(check(host.path(), &[served]).0, 0);
    assert_eq!(check(host.path(), &[served, card]).0, 4);
    assert_eq!(check(host.path(), &["0000:00:00.2"]).0, 4);
    let (status, text, said) = check(host.path(), &[served, "99:00.0", card, "98:00.0"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains(served) && text.contains(card), "{text}");
    let no = |bdf| format!("ivrs-trace: there is no PCI function 0000:{bdf} on this host");
    assert!(said.contains(&no("99:00.0")) && said.contains(&no("98:00.0")), "{said}");
}

#[test]
fn what_never_has_an_iommu_is_no_alarm() {
    let host = tempfile::tempdir().unwrap();
    plant(
        host.path(),
        &[
            ("0000:00:00.0", "0x060000", None),
            ("0000:00:00.2", "0x080600", None),
            ("0000:00:01.1", "0x060400", None),
            ("0000:01:00.0", "0x030000", Some(1)),
        ],
    );
    let (status, text, _) = check(host.path(), &[]);
    assert_eq!(status, 0, "{text}");
}
