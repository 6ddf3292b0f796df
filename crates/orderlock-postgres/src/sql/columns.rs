//! The columns of a batch, each declared once: its parameter, its name, its type, and its value in a
//! request.

/// Declares the columns of a batch of requests, each a parameter of a statement that is an array.
///
/// ```text
/// columns! {
///     /// The keys that are looked up.
///     pub(crate) struct KeyRows<'a> of it: &'a Claim {
///         2 key_hash: i64, INT8_ARRAY = key_hash(it.key_id);
///         3 key_id: &'a [u8], BYTEA_ARRAY = &it.key_id.0[..];
///     }
/// }
/// ```
///
/// makes the struct, which collects the values (`of`) and gives them as parameters (`parameters`), the
/// types of the parameters (`TYPES`), and the pieces of a statement's text: the parameters themselves
/// (`PARAMETERS`), their names (`NAMES`), and each one's first value (`FIRST`). See `requests!`.
macro_rules! columns {
    (
        $(#[$doc:meta])*
        pub(crate) struct $rows:ident<$life:lifetime> of $item:ident: $of:ty {
            $first:literal $first_name:ident: $first_type:ty, $first_sql:ident = $first_value:expr;
            $($number:literal $name:ident: $type:ty, $sql:ident = $value:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $rows<$life> {
            $first_name: Vec<$first_type>,
            $($name: Vec<$type>,)*
            _of: std::marker::PhantomData<&$life ()>,
        }

        #[allow(dead_code, reason = "not every statement needs every piece of its text")]
        impl<$life> $rows<$life> {
            /// The types of the parameters.
            pub(crate) const TYPES: &'static [tokio_postgres::types::Type] = &[
                tokio_postgres::types::Type::$first_sql,
                $(tokio_postgres::types::Type::$sql,)*
            ];

            /// The parameters as the statement names them.
            pub(crate) const PARAMETERS: &'static str =
                concat!("$", $first $(, ", $", $number)*);

            /// Their names.
            pub(crate) const NAMES: &'static str =
                concat!(stringify!($first_name) $(, ", ", stringify!($name))*);

            /// The first value of each.
            pub(crate) const FIRST: &'static str =
                concat!("($", $first, ")[1]" $(, ", ($", $number, ")[1]")*);

            pub(crate) fn of(requests: impl Iterator<Item = $of> + Clone) -> Self {
                Self {
                    $first_name: requests.clone().map(|$item| $first_value).collect(),
                    $($name: requests.clone().map(|$item| $value).collect(),)*
                    _of: std::marker::PhantomData,
                }
            }

            pub(crate) fn parameters(&self) -> Vec<&(dyn tokio_postgres::types::ToSql + Sync)> {
                vec![&self.$first_name, $(&self.$name,)*]
            }
        }

        // The numbers go up by one, as the parameters do.
        const _: () = {
            let numbers: &[usize] = &[$first, $($number),*];
            let mut at = 1;
            while at < numbers.len() {
                assert!(numbers[at] == numbers[at - 1] + 1);
                at += 1;
            }
        };
    };
}

pub(crate) use columns;
