//! orderlock-testkit
