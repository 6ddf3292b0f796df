//! orderlock-sqlite
