//! The one list of checks, and the macro that makes tests of them.

/// Calls a macro of this crate with the list of checks.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_check {
    ($callback:ident, $($argument:tt)*) => {
        $crate::$callback! {
            $($argument)*;
            acquire: grants_a_free_order;
        }
    };
}

/// Makes one test of each check of the suite, for the store itself (`direct`) and for an
/// `Arc<dyn OrderStore>` used as a store (`pointer`).
///
/// The argument is an expression that gives a [`StoreFactory`](crate::StoreFactory); it is
/// evaluated once for each test. The tests need nothing else: no runtime, no attribute.
///
/// ```ignore
/// orderlock_testkit::conformance!(MyFactory);
/// ```
#[macro_export]
macro_rules! conformance {
    ($factory:expr) => {
        mod direct {
            #[allow(unused_imports)]
            use super::*;
            $crate::for_each_check!(conformance_tests, $factory, Direct);
        }
        mod pointer {
            #[allow(unused_imports)]
            use super::*;
            $crate::for_each_check!(conformance_tests, $factory, Pointer);
        }
    };
}

/// Makes the tests of one door.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($factory:expr, $door:ident; $($module:ident: $($check:ident),+ $(,)?;)+) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(#[test]
            fn $check() {
                $crate::suite::run(
                    $factory,
                    $crate::suite::Door::$door,
                    concat!(stringify!($module), "::", stringify!($check)),
                );
            })+
        })+
    };
}

/// Makes the table that checks are found in by name.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_table {
    (; $($module:ident: $($check:ident),+ $(,)?;)+) => {
        fn find(name: &str) -> Option<Check> {
            match name {
                $($(concat!(stringify!($module), "::", stringify!($check)) =>
                    Some(|world| $module::$check(world).boxed()),)+)+
                _ => None,
            }
        }

        /// The name of every check.
        pub const CHECKS: &[&str] =
            &[$($(concat!(stringify!($module), "::", stringify!($check)),)+)+];
    };
}
