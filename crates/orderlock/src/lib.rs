//! orderlock
