//! JSON Schemas of the documents, made from the types that are serialised.
//!
//! Types that write themselves as text are described here by their pattern; the others derive
//! theirs. Nothing is validated here.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};

use crate::{
    errno::Errno,
    event::{RegionType, VfioRequest},
    export,
    hex::{Hex, HexBytes},
    model::health::Health,
    pci::{Bdf, Devid, Segment},
    report::{decode, json, probes::ProbesDocument},
};

/// The schema of one document.
pub struct Named {
    /// What the document is called: `check` for `ivrs-trace/check/1`.
    pub name: &'static str,
    /// Its schema, JSON Schema 2020-12.
    pub schema: Schema,
}

/// The schemas of all documents that the program prints.
#[must_use]
pub fn all() -> Vec<Named> {
    vec![
        of::<json::Check>("check", "ivrs-trace check --json"),
        of::<json::Run>("run", "ivrs-trace run --json"),
        of::<json::WhatIfDocument<'_>>("what-if", "ivrs-trace what-if --json"),
        of::<json::DiffDocument<'_>>("diff", "ivrs-trace diff --json"),
        of::<Health>("doctor", "ivrs-trace doctor --json"),
        of::<ProbesDocument>("probes", "ivrs-trace probes --json"),
        of::<json::EventLine<'_>>("events", "A line of ivrs-trace events --json"),
        of::<export::json::Line<'_>>("export", "A line of ivrs-trace export --to json"),
        of::<decode::Decode>("decode", "ivrs-trace decode --json"),
        of::<decode::DecodeDmar>("decode-dmar", "ivrs-trace decode --json of a DMAR table"),
        of::<decode::DecodeFragment>(
            "decode-fragment",
            "ivrs-trace decode --json of blocks without their table",
        ),
        of::<decode::DecodeLog>("decode-log", "ivrs-trace decode --json of a kernel log"),
    ]
}

/// What is written, not what could be read, decides which members are required.
fn of<T: JsonSchema>(name: &'static str, title: &str) -> Named {
    let mut schema =
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), format!("urn:ivrs-trace:{name}:1").into());
    schema.insert("title".to_owned(), title.into());
    Named { name, schema }
}

fn text_schema(pattern: &str, description: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern, "description": description })
}

/// Describes types that are written as text of one pattern.
macro_rules! text {
    ($($type:ty, $name:literal, $pattern:literal, $description:literal;)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                text_schema($pattern, $description)
            }
        }
    )+};
}

impl<T, const DIGITS: usize> JsonSchema for Hex<T, DIGITS> {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_schema("^0x[0-9a-f]{1,16}$", "A number in hex.")
    }
}

text! {
    HexBytes, "HexBytes", "^([0-9a-f]{2}( [0-9a-f]{2})*)?$",
        "Bytes, two hex digits each, with blanks between.";
    Bdf, "Bdf", "^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\\.[0-7]$",
        "Address of a PCI function: segment, bus, device and function.";
    Devid, "Devid", "^0x[0-9a-f]{4}$", "Bus (8 bits), device (5) and function (3) in one number.";
    Segment, "Segment", "^0x[0-9a-f]{4}$", "A PCI segment, which Linux calls domain.";
    Errno, "Errno", "^(E[A-Z0-9_]+|errno [0-9]+)$", "An error by its name in Linux.";
    RegionType, "RegionType", "^(direct|direct-relaxable|reserved|msi|type [0-9]+)$",
        "Type of a reserved region by the name that sysfs gives it, or by its number.";
    VfioRequest, "VfioRequest", "^(VFIO_[A-Z_]+|ioctl 0x[0-9a-f]+)$",
        "An ioctl of VFIO by its name, or by its number.";
}
