//! The command line of a process that takes a device, and what it tells: which virtual machine it
//! runs, and which devices it was given.
//!
//! It is what the process makes of it: a hint, on which no verdict rests.

use serde::Serialize;

use crate::pci::Bdf;

/// A virtual machine, as the command line of its process names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    /// Its name: QEMU's `-name`, which libvirt gives the domain's name.
    pub(crate) name: Option<String>,
    /// Its number with Proxmox, which starts QEMU with `-id`.
    pub(crate) id: Option<String>,
}

impl Vm {
    pub(crate) fn of(arguments: &[String]) -> Self {
        Self { name: name(arguments), id: number(arguments) }
    }

    pub(crate) fn called(self) -> Option<String> {
        self.name.or(self.id)
    }
}

/// The name in QEMU's `-name guest=NAME,…` or `-name NAME`; a comma in it is written twice.
fn name(arguments: &[String]) -> Option<String> {
    let values = Keyed::of(value_of(arguments, "-name")?);
    let name = values.get("guest").or_else(|| values.plain())?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Proxmox's `-id NUMBER`, an option that only its QEMU has.
fn number(arguments: &[String]) -> Option<String> {
    let number = value_of(arguments, "-id")?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.to_owned())
}

/// What follows an option, which QEMU takes with one hyphen or two.
fn value_of<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    let mut arguments = arguments.iter();
    arguments.find(|argument| is_option(argument, option))?;
    arguments.next().map(String::as_str)
}

fn is_option(argument: &str, option: &str) -> bool {
    argument == option || argument.strip_prefix('-') == Some(option)
}

/// A value of QEMU's classic form: `plain,key=value,…`, in which a comma is written twice.
struct Keyed(Vec<String>);

impl Keyed {
    fn of(value: &str) -> Self {
        // Nothing printable is changed to or from this character.
        let value = value.replace(",,", "\0");
        Self(value.split(',').map(|part| part.replace('\0', ",")).collect())
    }

    fn plain(&self) -> Option<&str> {
        self.0.iter().find(|part| !part.contains('=')).map(String::as_str)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A device of the host that QEMU was started with: `-device vfio-pci,…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hostdev {
    /// The device: `host=`, or the end of `sysfsdev=`.
    pub(crate) bdf: Bdf,
    /// `id=`: libvirt writes `hostdev0`, `hostdev1` and so on.
    pub(crate) id: Option<String>,
    /// The whole value of `-device`, as it was written, printable.
    pub(crate) argument: String,
}

impl Hostdev {
    /// The devices that a process was started with, in order; in the classic form and in JSON, which
    /// libvirt writes since 7.9.
    pub(crate) fn all(arguments: &[String]) -> Vec<Self> {
        arguments
            .iter()
            .zip(arguments.iter().skip(1))
            .filter(|(option, _)| is_option(option, "-device"))
            .filter_map(|(_, value)| Self::of(value))
            .collect()
    }

    fn of(value: &str) -> Option<Self> {
        let (driver, host, sysfsdev, id) = if value.starts_with('{') {
            let value: serde_json::Value = serde_json::from_str(value).ok()?;
            let text = |key| Some(value.get(key)?.as_str()?.to_owned());
            (text("driver"), text("host"), text("sysfsdev"), text("id"))
        } else {
            let keyed = Keyed::of(value);
            let text = |key| keyed.get(key).map(str::to_owned);
            let driver = text("driver").or_else(|| keyed.plain().map(str::to_owned));
            (driver, text("host"), text("sysfsdev"), text("id"))
        };
        // `vfio-pci` and its `-nohotplug`, `-igd-lpc-bridge` and later siblings.
        driver.filter(|driver| driver.starts_with("vfio-pci"))?;
        let host = host.as_deref().and_then(|host| host.parse().ok());
        let at_end = || sysfsdev?.trim_end_matches('/').rsplit('/').next()?.parse().ok();
        Some(Self { bdf: host.or_else(at_end)?, id, argument: value.to_owned() })
    }
}

/// Whether the process is a QEMU, by its command name or by what it was started as: Debian's and
/// others' `qemu-system-x86_64`, Red Hat's `qemu-kvm`, and `kvm`, as Proxmox calls it.
pub(crate) fn is_qemu(comm: &str, arguments: &[String]) -> bool {
    let program = arguments.first().and_then(|first| first.rsplit('/').next());
    [Some(comm), program]
        .into_iter()
        .flatten()
        .any(|name| name.starts_with("qemu-system-") || name == "qemu-kvm" || name == "kvm")
}

/// Whatever looks like a PCI address in an argument, in order.
pub(crate) fn addresses(argument: &str) -> impl Iterator<Item = Bdf> {
    argument
        .split(|c: char| !(c.is_ascii_hexdigit() || c == ':' || c == '.'))
        .filter(|word| word.contains('.') && word.contains(':'))
        .filter_map(|word| word.trim_matches(['.', ':']).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn addresses_in_command_lines() {
        let found = |args| addresses(args).map(|bdf| bdf.to_string()).collect::<Vec<_>>();
        assert_eq!(found("vfio-attach 03:01.0"), ["0000:03:01.0"]);
        assert_eq!(
            found(
                r#"qemu -device {"driver":"vfio-pci","host":"0000:00:03.0","id":"hostdev0"} -m 2.5"#
            ),
            ["0000:00:03.0"]
        );
        assert_eq!(found("qemu -device vfio-pci,host=0001:41:00.1,addr=05.0"), ["0001:41:00.1"]);
        assert_eq!(found("nc 10.0.0.1:80"), [""; 0]);
    }

    #[test]
    fn names_of_virtual_machines() {
        for (line, name, id) in [
            ("qemu|-name|guest=win11,debug-threads=on|-S", Some("win11"), None),
            ("qemu|-name|debug-threads=on,guest=win11|-S", Some("win11"), None),
            ("qemu|--name|win11|-S", Some("win11"), None),
            ("qemu|-name|guest=my gaming VM,debug-threads=on", Some("my gaming VM"), None),
            ("qemu|-name|guest=a,,b,debug-threads=on", Some("a,b"), None),
            ("qemu|-name|guest=a=b", Some("a=b"), None),
            ("/usr/bin/kvm|-id|100|-name|win11,debug-threads=on", Some("win11"), Some("100")),
            ("/usr/bin/kvm|-id|100", None, Some("100")),
            ("qemu|-id|hostdev0|-S", None, None),
            ("qemu|-S|-name", None, None),
            ("qemu|-name|", None, None),
            ("vfio-attach|03:01.0", None, None),
        ] {
            let vm = Vm::of(&arguments(line));
            assert_eq!((vm.name.as_deref(), vm.id.as_deref()), (name, id), "{line}");
        }
    }

    #[test]
    fn host_devices_are_found_in_both_forms() {
        let found = |line: &str| {
            let all = Hostdev::all(&arguments(line));
            all.into_iter().map(|one| (one.bdf.to_string(), one.id)).collect::<Vec<_>>()
        };
        let id = |id: &str| Some(id.to_owned());
        for (line, bdf, named) in [
            (
                r#"q|-device|{"driver":"vfio-pci","host":"0000:00:03.0","id":"hostdev0","bus":"pci.4"}"#,
                "0000:00:03.0",
                id("hostdev0"),
            ),
            (
                "q|-device|vfio-pci,host=00:03.0,id=hostpci0,bus=pci.0",
                "0000:00:03.0",
                id("hostpci0"),
            ),
            ("q|--device|host=0001:41:00.1,driver=vfio-pci", "0001:41:00.1", None),
            ("q|-device|vfio-pci-nohotplug,host=00:03.0", "0000:00:03.0", None),
            (
                "q|-device|vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:00:03.0/",
                "0000:00:03.0",
                None,
            ),
        ] {
            assert_eq!(found(line), [(bdf.to_owned(), named)], "{line}");
        }
        for line in [
            "q|-device|virtio-net-pci,host=00:03.0",
            "q|-device|vfio-pci",
            "q|-device|vfio-pci,host=none",
            r#"q|-device|{"driver":"vfio-pci""#,
            r#"q|-device|{"driver":"vfio-pci","host":3}"#,
            "q|-device",
            "q|-name|-device|vfio-pci.host=00:03.0",
        ] {
            assert_eq!(found(line), [], "{line}");
        }
        let two = "q|-device|vfio-pci,host=00:03.0|-device|vfio-pci,host=00:04.0";
        assert_eq!(found(two).len(), 2);
    }

    #[test]
    fn a_qemu_is_known_by_what_it_is_called() {
        for (comm, first, expected) in [
            ("qemu-system-x86", "", true),
            ("kvm", "/usr/bin/kvm", true),
            ("worker", "/usr/libexec/qemu-kvm", true),
            ("worker", "/usr/bin/qemu-system-x86_64", true),
            ("vfio-attach", "vfio-attach", false),
            ("qemu-img", "qemu-img", false),
            ("kvm-nx-lpage-re", "", false),
        ] {
            assert_eq!(is_qemu(comm, &[first.to_owned()]), expected, "{comm} {first}");
        }
        assert!(!is_qemu("", &[]));
    }

    proptest::proptest! {
        #[test]
        fn any_command_line_is_read(line in proptest::collection::vec("[-a-z{\":,=0-9. ]{0,24}", 0..8)) {
            let _ = (Vm::of(&line), Hostdev::all(&line), is_qemu("", &line));
        }
    }
}
