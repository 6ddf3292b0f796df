//! Times as the file keeps them: nanoseconds since 1970, in 64 bits. They reach to the year 2262;
//! what lies beyond is kept as that.

use std::time::Duration;

use orderlock_core::Timestamp;

pub(crate) fn to_sql(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

pub(crate) fn from_sql(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .expect("64 bits of nanoseconds lie within the years that a timestamp has")
}

/// A time as it is read back from the file.
pub(crate) fn as_kept(time: Timestamp) -> Timestamp {
    from_sql(to_sql(time))
}

/// The end of a span, as the file can keep it.
pub(crate) fn after(start: Timestamp, span: Duration) -> Timestamp {
    from_sql(to_sql(start).saturating_add(span_to_sql(span)))
}

pub(crate) fn span_to_sql(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) fn span_from_sql(nanoseconds: i64) -> Duration {
    Duration::from_nanos(nanoseconds.unsigned_abs())
}
