//! orderlock-orders
