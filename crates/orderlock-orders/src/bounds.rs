//! The bounds of an order. Each is part of the contract: beyond it a body is refused with a
//! pointer, or the operation with `order-too-large`.

/// The most bytes of an order's document unless an installation says otherwise: see
/// [`ProcessConfig::order_bytes_max`](crate::ProcessConfig::order_bytes_max).
pub const ORDER_BYTES_DEFAULT: usize = 256 * 1024;

/// The least that an installation may choose as the most bytes of an order: an eighth of it is room
/// for every operation that ends an order.
pub const ORDER_BYTES_LEAST: usize = 8 * STEP_BYTES_MAX;

/// The most that an installation may choose as the most bytes of an order.
pub const ORDER_BYTES_MOST: usize = 1024 * 1024;

/// The most bytes that an operation adds to an order if it is not an edit: a cancellation of
/// [`LINES_MAX`] lines with a reason of [`REASON_MAX`] characters, and a little.
pub const STEP_BYTES_MAX: usize = 16 * 1024;

/// The most minor units that an amount may have: 2^53 - 1, so that JSON clients that read numbers
/// as doubles keep every amount exactly.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// The most lines of an order.
pub const LINES_MAX: usize = 500;

/// The most pieces of one line.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// The most payments that are recorded on one order: authorizations, captures and refunds. The last
/// eighth is kept for a refund of all that is left.
pub const PAYMENTS_MAX: usize = 500;

/// The most characters of a customer's id.
pub const CUSTOMER_MAX: usize = 255;

/// The most characters of a stock-keeping unit.
pub const SKU_MAX: usize = 128;

/// The most characters of a line's name.
pub const NAME_MAX: usize = 500;

/// The most characters of a reason.
pub const REASON_MAX: usize = 1_000;

/// The most characters of a payment's reference.
pub const REFERENCE_MAX: usize = 255;

/// The most bytes of the metadata, as compact JSON text.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;

/// The most members of the metadata, those of inner objects and the items of arrays included.
pub const METADATA_MEMBERS_MAX: usize = 500;

/// How deep the metadata may be nested; the metadata object itself is the first level.
pub const METADATA_DEPTH_MAX: usize = 8;

/// How deep a body may be nested. Deeper text is refused before anything else is looked at.
pub(crate) const BODY_DEPTH_MAX: usize = 16;

/// The most values that a body may have, those in objects and arrays included: more than the largest
/// order has.
pub(crate) const BODY_VALUES_MAX: usize = 8_192;

/// The most errors that are listed for one body.
pub const ERRORS_MAX: usize = 50;
