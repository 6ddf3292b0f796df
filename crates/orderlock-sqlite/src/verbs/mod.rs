//! What is asked of the store: one module for each verb or group of verbs.

pub(crate) mod acquire;
pub(crate) mod create;
pub(crate) mod expire;
pub(crate) mod from_file;
pub(crate) mod in_memory;
pub(crate) mod lists;
pub(crate) mod marks;
pub(crate) mod operator;
pub(crate) mod pages;
pub(crate) mod sessions;
pub(crate) mod settle;
pub(crate) mod views;
