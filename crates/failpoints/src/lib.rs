//! `fail_point!`: a named place where a test makes the code fail, crash or do something wrong.
//!
//! With the feature `failpoints` it is the macro of the crate `fail`, switched by the environment
//! variable `FAILPOINTS`. Without the feature it expands to nothing, and the library is not even a
//! dependency: a release build cannot be told to fail.
#![deny(unsafe_code)]

#[cfg(feature = "failpoints")]
mod environment;

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use fail;

/// A named place that tests can switch on: see the crate `fail` for the forms it takes.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! fail_point {
    ($($arguments:tt)*) => {
        $crate::fail::fail_point!($($arguments)*)
    };
}

/// Nothing: this build has no fail points.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! fail_point {
    ($($arguments:tt)*) => {};
}
