//! Blocks of two tables brought together by what is in them.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::{
    escape::printable_bytes,
    firmware::acpi::{Header, OtherBlock},
    fmt::hex_bytes,
};

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only the first has it.
    Went,
    /// Only the second has it.
    Came,
    /// Both have it, with other content.
    Changed,
    /// Both have it with the same content, at another place.
    Moved,
}

impl Kind {
    pub(super) fn of(before: bool, after: bool, same_content: bool) -> Self {
        match (before, after) {
            (true, false) => Self::Went,
            (false, _) => Self::Came,
            (true, true) if same_content => Self::Moved,
            (true, true) => Self::Changed,
        }
    }
}

/// A value that is another one in the second. `None` where there is none, or where it is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// In the first.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

/// A block of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Block {
    /// Its number among the blocks of its sort, from 0.
    pub index: usize,
    /// Where it starts, bytes from the start of the table, in hex.
    #[cfg_attr(feature = "schema", schemars(with = "crate::hex::Hex<u64>"))]
    pub offset: String,
    /// Its bytes, as many as the table has.
    #[cfg_attr(feature = "schema", schemars(with = "crate::hex::HexBytes"))]
    pub bytes: String,
    /// What it is, in a few words.
    #[serde(skip)]
    pub title: String,
    #[serde(skip)]
    pub(in crate::model) fields: Vec<(&'static str, String)>,
    /// Device entries, in an IVHD.
    #[serde(skip)]
    pub(in crate::model) entries: Vec<String>,
    /// By what it is recognised where its bytes are others, the surest first.
    #[serde(skip)]
    pub(in crate::model) keys: [String; 2],
}

/// A block that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BlockChange {
    /// What became of it.
    pub change: Kind,
    /// The block in the first table.
    pub before: Option<Block>,
    /// The block in the second table.
    pub after: Option<Block>,
    /// What is in it that differs, if it changed.
    pub fields: Vec<Field>,
}

/// The fields of both in order, where they differ. Both have the same names.
pub(crate) fn fields(
    before: &[(&'static str, Option<String>)],
    after: &[(&'static str, Option<String>)],
) -> Vec<Field> {
    let differ = before.iter().zip(after).filter(|((_, old), (_, new))| old != new);
    differ
        .map(|((name, old), (_, new))| Field { name, before: old.clone(), after: new.clone() })
        .collect()
}

/// Things of two lists that belong together: the n-th of a key with the n-th of the same key, by the
/// first key that both still have free. Then those that are left.
pub(crate) fn pairs<'a, T>(
    before: &'a [T],
    after: &'a [T],
    keys: &[&dyn Fn(&T) -> String],
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let mut pairs = Vec::new();
    let mut before: Vec<&T> = before.iter().collect();
    let mut after: Vec<Option<&T>> = after.iter().map(Some).collect();
    for key in keys {
        let mut free: BTreeMap<String, VecDeque<&mut Option<&'a T>>> = BTreeMap::new();
        for slot in &mut after {
            if let Some(item) = *slot {
                free.entry(key(item)).or_default().push_back(slot);
            }
        }
        before.retain(|old| match free.get_mut(&key(old)).and_then(VecDeque::pop_front) {
            Some(slot) => {
                pairs.push((Some(*old), slot.take()));
                false
            }
            None => true,
        });
    }
    pairs.extend(before.into_iter().map(|old| (Some(old), None)));
    pairs.extend(after.into_iter().flatten().map(|new| (None, Some(new))));
    pairs
}

pub(crate) fn numbered<T>(blocks: &[T], make: impl Fn(usize, &T) -> Block) -> Vec<Block> {
    blocks.iter().enumerate().map(|(index, block)| make(index, block)).collect()
}

/// The changes by their place in the second table, those that went by the one they had.
pub(crate) fn blocks(before: &[Block], after: &[Block]) -> Vec<BlockChange> {
    let pairs = pairs(
        before,
        after,
        &[
            &|block| block.bytes.clone(),
            &|Block { keys: [first, _], .. }| first.clone(),
            &|Block { keys: [_, second], .. }| second.clone(),
        ],
    );
    let mut changes: Vec<BlockChange> = pairs
        .into_iter()
        .filter(|(old, new)| old != new)
        .map(|(old, new)| {
            let same = old.map(|block| &block.bytes) == new.map(|block| &block.bytes);
            BlockChange {
                change: Kind::of(old.is_some(), new.is_some(), same),
                fields: old.zip(new).map(|(old, new)| block_fields(old, new)).unwrap_or_default(),
                before: old.cloned(),
                after: new.cloned(),
            }
        })
        .collect();
    changes.sort_by_key(|change| {
        let place = change.after.as_ref().or(change.before.as_ref());
        (place.map(|block| block.index), change.change)
    });
    changes
}

pub(crate) fn block_fields(before: &Block, after: &Block) -> Vec<Field> {
    let mut names: Vec<&'static str> = before.fields.iter().map(|(name, _)| *name).collect();
    let new = after.fields.iter().map(|(name, _)| *name);
    names.extend(new.filter(|name| !before.fields.iter().any(|(other, _)| other == name)));
    let value = |block: &Block, name| {
        let field = block.fields.iter().find(|(other, _)| *other == name);
        field.map(|(_, value)| value.clone())
    };
    let mut differ: Vec<Field> = names
        .into_iter()
        .map(|name| Field { name, before: value(before, name), after: value(after, name) })
        .filter(|field| field.before != field.after)
        .collect();
    if before.entries == after.entries {
        // What no field tells, such as bytes that the walk over device entries does not get to.
        if differ.is_empty() && before.bytes != after.bytes {
            let (before, after) = (Some(before.bytes.clone()), Some(after.bytes.clone()));
            differ.push(Field { name: "bytes", before, after });
        }
        return differ;
    }
    let found = differ.len();
    differ.extend(
        pairs(&before.entries, &after.entries, &[&String::clone]).into_iter().filter_map(
            |(old, new)| {
                let (before, after) = (old.cloned(), new.cloned());
                (before != after).then_some(Field { name: "device_entry", before, after })
            },
        ),
    );
    if differ.len() == found {
        // The same entries in another order, which can matter: a later one overrules an earlier.
        let all = |block: &Block| Some(block.entries.join("; "));
        let (before, after) = (all(before), all(after));
        differ.push(Field { name: "device_entries", before, after });
    }
    differ
}

/// A field and its value, where there is one.
pub(crate) type Named = (&'static str, Option<String>);

/// What all tables have in their header.
pub(crate) fn header_fields(header: &Header) -> Vec<Named> {
    let id = |bytes: &[u8]| {
        // Blanks and zeros at the end are told apart by the second part.
        let name = printable_bytes(bytes);
        Some(format!("\"{}\" ({})", name.trim_end(), hex_bytes(bytes)))
    };
    vec![
        ("oem_id", id(&header.oem_id)),
        ("oem_table_id", id(&header.oem_table_id)),
        ("oem_revision", Some(format!("{:#x}", header.oem_revision))),
        ("creator_id", id(&header.creator_id)),
        ("creator_revision", Some(format!("{:#x}", header.creator_revision))),
        ("revision", Some(header.revision.to_string())),
        ("length", Some(header.length.to_string())),
        ("checksum", Some(format!("{:#04x}", header.checksum))),
        ("checksum_ok", Some(header.checksum_ok.to_string())),
    ]
}

/// The bytes of a block, as many as the table has.
pub(crate) fn bytes_of(table: &[u8], offset: usize, length: usize) -> &[u8] {
    let rest = table.get(offset..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

pub(crate) fn unknown(index: usize, block: &OtherBlock) -> Block {
    let kind = format!("{:#04x}", block.kind);
    Block {
        index,
        offset: format!("{:#x}", block.offset),
        bytes: hex_bytes(&block.bytes),
        title: format!("type {kind}, {} bytes", block.length),
        fields: vec![
            ("block_length", block.length.to_string()),
            ("bytes", hex_bytes(&block.bytes)),
        ],
        entries: Vec::new(),
        keys: [kind.clone(), kind],
    }
}
