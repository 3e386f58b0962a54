//! The command line of a process that takes a device, and what it tells: which device is wanted, and
//! which virtual machine it is.
//!
//! On the group path the kernel is told only the group, so this is where the wanted device comes
//! from. A command line is what its process makes of it, so nothing else is concluded from it.

use crate::{escape::printable_bytes, host::Member, host::Snapshot, pci::Bdf};

/// Bytes of a command line that are kept at most; the programs send half of it
/// (`ivrs_trace_common::ARGS_CHUNKS`).
const MAX_ARGS: usize = 16 * 1024;

/// A command line, put together from pieces that come in order; some may be lost.
#[derive(Default)]
pub(super) struct CommandLine {
    bytes: Vec<u8>,
    /// Length of all of it, bytes.
    total: usize,
    /// A piece is missing.
    gap: bool,
}

impl CommandLine {
    pub(super) fn add(&mut self, offset: u32, total: u32, bytes: &[u8]) {
        if offset == 0 {
            *self = Self::default();
        }
        self.total = usize::try_from(total).unwrap_or(usize::MAX);
        // What comes after a gap could be half an argument and read as another one.
        self.gap |= usize::try_from(offset) != Ok(self.bytes.len());
        self.gap |= self.bytes.len() >= MAX_ARGS;
        if !self.gap {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The arguments that came whole, printable.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<&[u8]> = self.bytes.split(|&byte| byte == 0).collect();
        let last = arguments.pop();
        if self.bytes.len() >= self.total {
            // It need not end with NUL: a process may write over its own command line.
            arguments.extend(last.filter(|last| !last.is_empty()));
        }
        arguments.into_iter().map(printable_bytes).collect()
    }
}

/// How a device is known that the process named in the request for it.
pub(super) const FROM_DEVICE_FD: &str = "VFIO_GROUP_GET_DEVICE_FD";

/// The address in the argument of `VFIO_GROUP_GET_DEVICE_FD`, after which a token may stand
/// (`vfio_pci_core_match`, `drivers/vfio/pci/vfio_pci_core.c`).
pub(super) fn device_address(name: &str) -> Option<Bdf> {
    name.split(' ').next()?.parse().ok()
}

/// The device that is wanted. On the group path the kernel is told only the group, so: the name in
/// the request, else the first member of the group that the command line names, else the only
/// member that is not a bridge.
pub(super) fn requested(
    named: Option<&str>,
    args: &[String],
    group: Option<u32>,
    host: &Snapshot,
) -> (Option<Bdf>, Option<&'static str>) {
    if let Some(bdf) = named.and_then(device_address) {
        return (Some(bdf), Some(FROM_DEVICE_FD));
    }
    let members: Vec<Bdf> = host
        .groups
        .value()
        .into_iter()
        .flatten()
        .filter(|one| Some(one.id) == group)
        .filter_map(|one| one.members.value())
        .flatten()
        .filter_map(|member| match member {
            Member::Pci(bdf) => Some(*bdf),
            Member::Other(_) => None,
        })
        .collect();
    let mut addresses = args.iter().flat_map(|argument| addresses(argument));
    if let Some(bdf) = addresses.find(|bdf| members.contains(bdf)) {
        return (Some(bdf), Some("the command line of the process"));
    }
    let is_bridge = |bdf: &Bdf| {
        let functions = host.functions.value().into_iter().flatten();
        functions.filter(|one| one.bdf == *bdf).any(|one| one.is_bridge() == Some(true))
    };
    let mut endpoints = members.iter().filter(|bdf| !is_bridge(bdf));
    match (endpoints.next(), endpoints.next()) {
        (Some(only), None) => (Some(*only), Some("the only device of the group")),
        _ => (None, None),
    }
}

/// Whatever looks like a PCI address in an argument, in order.
fn addresses(argument: &str) -> impl Iterator<Item = Bdf> {
    argument
        .split(|c: char| !(c.is_ascii_hexdigit() || c == ':' || c == '.'))
        .filter(|word| word.contains('.') && word.contains(':'))
        .filter_map(|word| word.trim_matches(['.', ':']).parse().ok())
}

/// The name in QEMU's `-name guest=NAME,…` or `-name NAME`; a comma in it is written twice.
#[must_use]
pub fn vm_name(args: &[String]) -> Option<String> {
    let mut args = args.iter();
    args.find(|argument| *argument == "-name")?;
    // Nothing printable is changed to or from this character.
    let value = args.next()?.replace(",,", "\0");
    let first = value.split(',').find(|part| !part.contains('=') || part.starts_with("guest="))?;
    let name = first.strip_prefix("guest=").unwrap_or(first).replace('\0', ",");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let name = |args: &str| vm_name(&args.split('|').map(str::to_owned).collect::<Vec<_>>());
        for (args, expected) in [
            ("qemu|-name|guest=win11,debug-threads=on|-S", Some("win11")),
            ("qemu|-name|debug-threads=on,guest=win11|-S", Some("win11")),
            ("qemu|-name|win11|-S", Some("win11")),
            ("qemu|-name|guest=my gaming VM,debug-threads=on", Some("my gaming VM")),
            ("qemu|-name|guest=a,,b,debug-threads=on", Some("a,b")),
            ("qemu|-S|-name", None),
            ("qemu|-name|", None),
            ("vfio-attach|03:01.0", None),
        ] {
            assert_eq!(name(args).as_deref(), expected, "{args}");
        }
    }

    #[test]
    fn a_command_line_with_lost_pieces_yields_no_half_arguments() {
        let line = |pieces: &[(u32, &str)]| {
            let mut line = CommandLine::default();
            for (offset, text) in pieces {
                line.add(*offset, 18, text.replace('|', "\0").as_bytes());
            }
            line.arguments()
        };
        assert_eq!(line(&[(0, "qemu|-h"), (7, "ost|00:07.0|")]), ["qemu", "-host", "00:07.0"]);
        assert_eq!(line(&[(0, "qemu|-host|00:07.0")]), ["qemu", "-host", "00:07.0"]);
        assert_eq!(line(&[(0, "qemu|-host|00:0")]), ["qemu", "-host"], "the end is missing");
        assert_eq!(line(&[(0, "qemu|-h"), (12, "0:07.0|")]), ["qemu"], "the middle is missing");
        assert_eq!(line(&[(7, "ost|00:07.0|")]), [""; 0], "the start is missing");
        assert_eq!(line(&[(0, "old|"), (0, "qemu|-host|00:07.0")]).len(), 3, "a new line");
    }

    #[test]
    fn a_command_line_without_end_is_not_kept() {
        let mut line = CommandLine::default();
        for offset in (0..1024 * 1024).step_by(512) {
            line.add(offset, u32::MAX, &[b'a'; 512]);
        }
        assert_eq!(line.bytes.len(), MAX_ARGS);
        assert_eq!(line.arguments(), [""; 0]);
    }
}
