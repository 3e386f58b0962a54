//! JSON objects, each field declared with its type and with what it is made of.

/// Declares objects: `Name of (arguments) { field: Type = value, … }`. One that begins a document has
/// the name of its layout before its arguments; bindings that several fields need follow them.
macro_rules! object {
    ($(
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? $(schema $schema:tt)? of ($($argument:ident: $of:ty),*)
        $(using { $($using:tt)* })?
        { $($(#[$field_meta:meta])* $field:ident: $type:ty = $value:expr,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct $name $(<$life>)? {
            $(
                /// Name and version of this layout.
                #[cfg_attr(feature = "schema", schemars(extend("const" = $schema)))]
                pub schema: &'static str,
            )?
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $(<$life>)? $name $(<$life>)? {
            pub(crate) fn of($($argument: $of),*) -> Self {
                $($($using)*)?
                Self { $(schema: $schema,)? $($field: $value,)* }
            }
        }
    )*};
}

pub(crate) use object;
