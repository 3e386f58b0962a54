//! The fields of an event, looked up by name.

use std::fmt::Display;

use super::parts::{
    Change, Device, DeviceFunction, Phase, RegionSource, RegionType, VfioFunction, VfioRequest,
};

/// What a field holds.
pub enum Value<'a> {
    /// A device.
    Device(&'a Device),
    /// Entry or return.
    Phase(Phase),
    /// What a function returned.
    Return(i64),
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A name or a text.
    Plain(&'a dyn Display),
}

pub(super) trait Field {
    /// What it holds; `None` where that is not known, or is not for others.
    fn value(&self) -> Option<Value<'_>>;
}

macro_rules! fields {
    ($($($type:ty),* => |$field:ident| $value:expr;)*) => {
        $($(impl Field for $type {
            fn value(&self) -> Option<Value<'_>> {
                let $field = self;
                Some($value)
            }
        })*)*
    };
}

fields! {
    Device => |device| Value::Device(device);
    Phase => |phase| Value::Phase(*phase);
    i32 => |ret| Value::Return(i64::from(*ret));
    i64 => |ret| Value::Return(*ret);
    bool => |flag| Value::Flag(*flag);
    u16, u32 => |number| Value::Number(u64::from(*number));
    u64 => |number| Value::Number(*number);
    usize => |number| Value::Number(u64::try_from(*number).unwrap_or(u64::MAX));
    String => |plain| Value::Plain(plain);
    Change, DeviceFunction, RegionSource, RegionType, VfioFunction, VfioRequest
        => |named| Value::Plain(named);
}

impl<T: Field> Field for Option<T> {
    fn value(&self) -> Option<Value<'_>> {
        self.as_ref().and_then(Field::value)
    }
}

/// Bytes as they came; their printable text is another field.
impl Field for Vec<u8> {
    fn value(&self) -> Option<Value<'_>> {
        None
    }
}
