//! Struct members and functions in the kernel's BTF.
//!
//! Reads the format of include/uapi/linux/btf.h as far as it takes to find a member's offset and a
//! function's id. It does not know split BTF (modules) and does not hold the types in memory: it
//! keeps the blob and an index of where each type begins.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    io,
    path::Path,
};

use thiserror::Error;

/// Where the running kernel shows its BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// `BTF_MAGIC`
const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_type` before what follows by kind.
const TYPE_HEADER: usize = 12;
/// How deep anonymous members and typedefs are followed: far deeper than any kernel nests them.
const MAX_DEPTH: u32 = 16;
/// How many members a search looks at: far more than any struct of the kernel has. Without it types
/// that contain themselves twice would be searched for ever, whatever the depth.
const MAX_MEMBERS: u32 = 1 << 16;
/// `KSYM_NAME_LEN`: the kernel takes no longer name. Without it types that share the end of one
/// long name would each keep it.
const MAX_NAME: usize = 512;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Why the BTF cannot be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The bytes are not BTF of this machine.
    #[error("it is not BTF: {0}")]
    Format(&'static str),
}

/// A member found in a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    bits: u32,
    /// Width in bits if it is a bit field.
    width: Option<u32>,
}

impl Member {
    /// Offset in bytes; `None` for a bit field.
    #[must_use]
    pub fn byte_offset(self) -> Option<u32> {
        (self.width.is_none() && self.bits.is_multiple_of(8)).then_some(self.bits / 8)
    }

    /// For a member of one bit: the byte offset of the 32-bit word that holds it, and the bit's
    /// number in that word, counted from the lowest.
    #[must_use]
    pub fn flag(self) -> Option<(u32, u32)> {
        (self.width == Some(1)).then_some((self.bits / 32 * 4, self.bits % 32))
    }
}

/// The kernel's BTF.
pub struct Btf {
    blob: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Offset in `blob` of the type with id `index + 1`.
    types: Vec<usize>,
    structs: Names,
    functions: Names,
}

/// Ids by a hash of the name, which is compared when one is looked up. A kernel has some 70,000 functions
/// and structs, of which some 60 are looked up: keeping their names takes longer than all the rest. Of two
/// names with one hash the second would not be found.
type Names = HashMap<u64, u32, BuildHasherDefault<AsItIs>>;

/// Takes a hash for its own.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// FNV-1a, and its upper half mixed into the lower.
fn hash(name: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, step);
    hash ^ hash >> 32
}

impl Btf {
    /// Reads and indexes the BTF at `path`, usually [`KERNEL_BTF`].
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not hold well-formed BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        Self::parse(std::fs::read(path)?)
    }

    /// Indexes a blob.
    ///
    /// # Errors
    ///
    /// If it is not well-formed BTF in the byte order of this machine.
    pub fn parse(blob: Vec<u8>) -> Result<Self, BtfError> {
        let truncated = BtfError::Format("it ends early");
        let magic = u16_at(&blob, 0).ok_or(BtfError::Format("it is empty"))?;
        if magic != MAGIC {
            return Err(BtfError::Format("the magic number is missing"));
        }
        let header = |at| u32_at(&blob, at).and_then(|v| usize::try_from(v).ok());
        let (Some(base), Some(type_off), Some(type_len), Some(str_off), Some(str_len)) =
            (header(4), header(8), header(12), header(16), header(20))
        else {
            return Err(truncated);
        };
        let section = |offset: usize, length: usize| {
            let start = base.checked_add(offset)?;
            let end = start.checked_add(length)?;
            (end <= blob.len()).then_some(start..end)
        };
        let (Some(types_at), Some(strings)) =
            (section(type_off, type_len), section(str_off, str_len))
        else {
            return Err(truncated);
        };
        let mut btf = Self {
            strings,
            types: Vec::new(),
            structs: Names::default(),
            functions: Names::default(),
            blob,
        };
        btf.index(types_at)?;
        Ok(btf)
    }

    fn index(&mut self, section: std::ops::Range<usize>) -> Result<(), BtfError> {
        let mut at = section.start;
        let mut id = 0_u32;
        while at < section.end {
            id += 1;
            let info = u32_at(&self.blob, at + 4).ok_or(BtfError::Format("a type is cut off"))?;
            let kind = info >> 24 & 0x1f;
            let count = usize::try_from(info & 0xffff).unwrap_or(usize::MAX);
            let extra = match kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
                KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
                KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT
                | KIND_FUNC | KIND_FLOAT | KIND_TYPE_TAG => 0,
                // How long it is is not known, so neither is where the next type begins.
                _ => return Err(BtfError::Format("it has a type of an unknown kind")),
            };
            self.types.push(at);
            if matches!(kind, KIND_STRUCT | KIND_FUNC)
                && let Some(name) = self.name_at(at).filter(|name| !name.is_empty())
            {
                let name = hash(name);
                let names =
                    if kind == KIND_STRUCT { &mut self.structs } else { &mut self.functions };
                names.entry(name).or_insert(id);
            }
            at += TYPE_HEADER + extra;
        }
        if at == section.end { Ok(()) } else { Err(BtfError::Format("the last type is cut off")) }
    }

    /// Whether the kernel has a function of this name that BTF describes.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.function(name).is_some()
    }

    /// The id of the function of this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u32> {
        self.named(&self.functions, name)
    }

    fn named(&self, names: &Names, name: &str) -> Option<u32> {
        let id = *names.get(&hash(name.as_bytes()))?;
        let at = *self.types.get(usize::try_from(id.checked_sub(1)?).ok()?)?;
        (self.name_at(at)? == name.as_bytes()).then_some(id)
    }

    /// Whether the kernel has a struct of this name.
    #[must_use]
    pub fn has_struct(&self, name: &str) -> bool {
        self.named(&self.structs, name).is_some()
    }

    /// Finds a member by a path of names joined by dots, looking into anonymous members on the way.
    /// `None` if the kernel has no such struct or member.
    #[must_use]
    pub fn member(&self, container: &str, path: &str) -> Option<Member> {
        let mut id = self.named(&self.structs, container)?;
        let mut found = Member { bits: 0, width: None };
        let mut left = MAX_MEMBERS;
        for name in path.split('.') {
            let (member, member_type) = self.find(id, name.as_bytes(), 0, &mut left)?;
            found = Member { bits: found.bits.checked_add(member.bits)?, width: member.width };
            id = member_type;
        }
        Some(found)
    }

    /// `left` is how many members may still be looked at.
    fn find(&self, id: u32, name: &[u8], depth: u32, left: &mut u32) -> Option<(Member, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (at, info) = self.resolve(id)?;
        if !matches!(info >> 24 & 0x1f, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let has_widths = info >> 31 == 1;
        for index in 0..usize::try_from(info & 0xffff).ok()? {
            *left = left.checked_sub(1)?;
            let member_at = at + TYPE_HEADER + 12 * index;
            let member_type = u32_at(&self.blob, member_at + 4)?;
            let offset = u32_at(&self.blob, member_at + 8)?;
            let member = if has_widths {
                // With the kind flag, the upper byte is the width of a bit field, 0 if it is none.
                let width = offset >> 24;
                Member { bits: offset & 0x00ff_ffff, width: (width != 0).then_some(width) }
            } else {
                Member { bits: offset, width: None }
            };
            match self.name_at(member_at)? {
                own if own == name => return Some((member, member_type)),
                b"" => {
                    let inner = self.find(member_type, name, depth + 1, left);
                    if let Some((inner, inner_type)) = inner {
                        let bits = member.bits.checked_add(inner.bits)?;
                        return Some((Member { bits, width: inner.width }, inner_type));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Follows typedefs and qualifiers; gives the offset and the info word of the type behind them.
    fn resolve(&self, mut id: u32) -> Option<(usize, u32)> {
        for _ in 0..MAX_DEPTH {
            let index = usize::try_from(id.checked_sub(1)?).ok()?;
            let at = *self.types.get(index)?;
            let info = u32_at(&self.blob, at + 4)?;
            match info >> 24 & 0x1f {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = u32_at(&self.blob, at + 8)?;
                }
                _ => return Some((at, info)),
            }
        }
        None
    }

    /// The name whose string offset stands at `at`; `None` also if it is too long to be one.
    fn name_at(&self, at: usize) -> Option<&[u8]> {
        let offset = usize::try_from(u32_at(&self.blob, at)?).ok()?;
        let rest = self.blob.get(self.strings.clone())?.get(offset..)?;
        let end = rest.iter().take(MAX_NAME).position(|&b| b == 0)?;
        rest.get(..end)
    }
}

fn u16_at(blob: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(blob.get(at..)?.first_chunk().copied()?))
}

fn u32_at(blob: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(blob.get(at..)?.first_chunk().copied()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF type by type.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn new() -> Self {
            Self { types: Vec::new(), strings: vec![0] }
        }

        fn string(&mut self, text: &str) -> u32 {
            if text.is_empty() {
                return 0;
            }
            let at = self.strings.len();
            self.strings.extend_from_slice(text.as_bytes());
            self.strings.push(0);
            u32::try_from(at).unwrap()
        }

        fn words(&mut self, words: &[u32]) {
            for word in words {
                self.types.extend_from_slice(&word.to_ne_bytes());
            }
        }

        fn container(&mut self, kind: u32, name: &str, flag: bool, members: &[(&str, u32, u32)]) {
            let name = self.string(name);
            let info = u32::from(flag) << 31 | kind << 24 | u32::try_from(members.len()).unwrap();
            self.words(&[name, info, 0]);
            for &(member, id, offset) in members {
                let member = self.string(member);
                self.words(&[member, id, offset]);
            }
        }

        fn simple(&mut self, kind: u32, name: &str, target: u32, extra: &[u32]) {
            let name = self.string(name);
            self.words(&[name, kind << 24, target]);
            self.words(extra);
        }

        fn build(&self) -> Vec<u8> {
            let mut out = Vec::new();
            out.extend_from_slice(&MAGIC.to_ne_bytes());
            out.extend_from_slice(&[1, 0]);
            let types = u32::try_from(self.types.len()).unwrap();
            let strings = u32::try_from(self.strings.len()).unwrap();
            for word in [24, 0, types, types, strings] {
                out.extend_from_slice(&u32::to_ne_bytes(word));
            }
            out.extend_from_slice(&self.types);
            out.extend_from_slice(&self.strings);
            out
        }
    }

    /// As `dev_iommu` is in 6.12: words, then bit fields of one bit, and a struct in a struct.
    fn sample() -> Vec<u8> {
        let mut b = Builder::new();
        b.simple(KIND_INT, "unsigned int", 4, &[32]); // 1
        b.container(
            KIND_STRUCT,
            "dev_iommu",
            true,
            &[
                ("iommu_dev", 1, 48 * 8),
                ("max_pasids", 1, 64 * 8),
                ("attach_deferred", 1, 1 << 24 | (68 * 8)),
                ("require_direct", 1, 1 << 24 | (68 * 8 + 2)),
            ],
        ); // 2
        b.container(KIND_STRUCT, "kobject", false, &[("name", 1, 0), ("state", 1, 96)]); // 3
        b.simple(KIND_TYPEDEF, "kobject_t", 3, &[]); // 4
        b.container(KIND_UNION, "", false, &[("a", 1, 0), ("b", 4, 0)]); // 5
        b.container(KIND_STRUCT, "device", false, &[("kobj", 4, 64), ("", 5, 320)]); // 6
        b.simple(KIND_FUNC, "iommu_probe_device", 0, &[]); // 7
        b.build()
    }

    #[test]
    fn plain_nested_and_anonymous_members() {
        let btf = Btf::parse(sample()).unwrap();
        let offset = |s, m| btf.member(s, m).and_then(Member::byte_offset);
        assert_eq!(offset("dev_iommu", "iommu_dev"), Some(48));
        assert_eq!(offset("device", "kobj.state"), Some(20));
        assert_eq!(offset("device", "b.state"), Some(52));
        assert_eq!(offset("device", "a"), Some(40));
        assert_eq!(offset("device", "a.state"), None);
        assert_eq!(offset("device", "missing"), None);
        assert_eq!(offset("no_such_struct", "a"), None);
    }

    #[test]
    fn bit_fields() {
        let btf = Btf::parse(sample()).unwrap();
        let flag = btf.member("dev_iommu", "require_direct").unwrap();
        assert_eq!(flag.flag(), Some((68, 2)));
        assert_eq!(flag.byte_offset(), None);
        // A member with no width in a struct that has bit fields is an ordinary one.
        let plain = btf.member("dev_iommu", "max_pasids").unwrap();
        assert_eq!((plain.byte_offset(), plain.flag()), (Some(64), None));
    }

    #[test]
    fn functions() {
        let btf = Btf::parse(sample()).unwrap();
        assert!(btf.has_function("iommu_probe_device"));
        assert!(!btf.has_function("device"));
    }

    #[test]
    fn no_damage_makes_a_kernel_that_refuses_one_that_does_not() {
        use crate::{
            facts::{KernelFlag, RequireDirect},
            probe::tracer::require_direct,
        };
        let whole = sample();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let Ok(btf) = Btf::parse(flipped) else { continue };
                let flag = KernelFlag::of_btf(require_direct(&btf), Some("6.12.1"), "the BTF");
                assert_ne!(flag.answer, RequireDirect::Missing, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn cut_anywhere_it_says_so() {
        let whole = sample();
        for length in 0..whole.len() {
            let Err(error) = Btf::parse(whole[..length].to_vec()) else {
                panic!("{length} of {} bytes were taken for whole", whole.len());
            };
            assert!(matches!(error, BtfError::Format(_)), "{error}");
        }
    }

    #[test]
    fn a_kind_of_a_later_format_is_no_end_of_the_list() {
        let mut b = Builder::new();
        b.simple(20, "new", 0, &[]);
        b.container(KIND_STRUCT, "dev_iommu", false, &[]);
        assert!(
            matches!(Btf::parse(b.build()), Err(BtfError::Format(why)) if why.contains("kind"))
        );
    }

    #[test]
    fn types_that_contain_themselves_twice_end() {
        let mut b = Builder::new();
        let members: Vec<_> = std::iter::repeat_n(("", 1, 0), 100).chain([("m", 1, 0)]).collect();
        b.container(KIND_STRUCT, "s", false, &members);
        assert_eq!(Btf::parse(b.build()).unwrap().member("s", "y"), None);
    }

    #[test]
    fn a_name_is_not_longer_than_the_kernel_takes() {
        let mut b = Builder::new();
        b.simple(KIND_FUNC, &"f".repeat(MAX_NAME - 1), 0, &[]);
        b.simple(KIND_FUNC, &"g".repeat(MAX_NAME), 0, &[]);
        let btf = Btf::parse(b.build()).unwrap();
        assert!(btf.has_function(&"f".repeat(MAX_NAME - 1)));
        assert!(!btf.has_function(&"g".repeat(MAX_NAME)));
    }

    #[test]
    fn types_that_refer_to_themselves_end() {
        let mut b = Builder::new();
        b.simple(KIND_TYPEDEF, "loop", 1, &[]);
        b.container(KIND_STRUCT, "s", false, &[("", 2, 0), ("m", 1, 0)]);
        let btf = Btf::parse(b.build()).unwrap();
        assert_eq!(btf.member("s", "m.x"), None);
        assert_eq!(btf.member("s", "y"), None);
    }
}
