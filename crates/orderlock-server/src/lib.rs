//! orderlock-server
