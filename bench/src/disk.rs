//! What a flush costs on this disk: the floor under every durable answer.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;

const BLOCK: usize = 4_096;
const FLUSHES: usize = 500;

/// Microseconds for each flush.
#[derive(Debug)]
pub(crate) struct Flushes {
    pub(crate) overwriting: Histogram<u64>,
    pub(crate) growing: Histogram<u64>,
}

pub(crate) fn measure(folder: &Path) -> Result<Flushes> {
    let path = folder.join("flushes");
    let mut file = File::create(&path)?;
    file.write_all(&vec![1; BLOCK * FLUSHES])?;
    file.sync_all()?;
    let overwriting = flush(&mut file, |number| SeekFrom::Start(number * BLOCK as u64))?;
    let growing = flush(&mut file, |_| SeekFrom::End(0))?;
    std::fs::remove_file(path)?;
    Ok(Flushes {
        overwriting,
        growing,
    })
}

fn flush(file: &mut File, place: impl Fn(u64) -> SeekFrom) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for number in 0..FLUSHES as u64 {
        file.seek(place(number))?;
        let started = Instant::now();
        file.write_all(&[2; BLOCK])?;
        file.sync_data()?;
        let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        histogram.saturating_record(microseconds.max(1));
    }
    Ok(histogram)
}
