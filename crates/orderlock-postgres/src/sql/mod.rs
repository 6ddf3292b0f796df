//! What statements are made of: their shared pieces, the values of rows, times and errors.

pub(crate) mod clock;
pub(crate) mod columns;
pub(crate) mod error;
pub(crate) mod fragments;
pub(crate) mod rows;
pub(crate) mod statement;
pub(crate) mod text;
