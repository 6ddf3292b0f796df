//! As much of the protocols as is needed to know a request and the answer to a write when they
//! pass.

use mongodb::bson::Document;

/// Which protocol is spoken on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Postgres,
    Mongodb,
}

/// The most bytes of a message that is looked into; all are passed on.
const KEPT_MAX: usize = 64 * 1024;

/// One direction of one connection, cut into messages.
#[derive(Debug)]
pub(super) struct Frames {
    wire: Wire,
    /// The first message of a client of PostgreSQL has no letter in front.
    opening: bool,
    message: Vec<u8>,
    length: usize,
    seen: usize,
}

/// What was in a piece of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// A request that asks for something.
    pub(super) request: bool,
    /// One that writes, or the answer to one.
    pub(super) write: bool,
    /// The end of an answer: what it tells has been committed.
    pub(super) end: bool,
}

impl Frames {
    pub(super) fn new(wire: Wire, from_client: bool) -> Self {
        Self {
            wire,
            opening: from_client && wire == Wire::Postgres,
            message: Vec::new(),
            length: 0,
            seen: 0,
        }
    }

    /// Looks at a piece as it passes.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> Sight {
        let mut sight = Sight::default();
        while !bytes.is_empty() {
            let head = self.head();
            if self.seen < head {
                let taken = (head - self.seen).min(bytes.len());
                self.take(&bytes[..taken]);
                bytes = &bytes[taken..];
                if self.seen < head {
                    break;
                }
                self.length = self.total();
            }
            let taken = self.length.saturating_sub(self.seen).min(bytes.len());
            self.take(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.seen >= self.length {
                self.judge(&mut sight);
                self.opening = false;
                self.message.clear();
                self.seen = 0;
            }
        }
        sight
    }

    fn take(&mut self, bytes: &[u8]) {
        self.seen += bytes.len();
        let room = KEPT_MAX.saturating_sub(self.message.len());
        self.message.extend(&bytes[..bytes.len().min(room)]);
    }

    /// How many bytes say how long the message is.
    fn head(&self) -> usize {
        match self.wire {
            Wire::Postgres if !self.opening => 5,
            Wire::Postgres | Wire::Mongodb => 4,
        }
    }

    fn total(&self) -> usize {
        let number = |at: usize| -> [u8; 4] {
            let bytes = self.message.get(at..at + 4);
            bytes
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or_default()
        };
        let length = match self.wire {
            Wire::Postgres if self.opening => u32::from_be_bytes(number(0)),
            Wire::Postgres => u32::from_be_bytes(number(1)).saturating_add(1),
            Wire::Mongodb => u32::from_le_bytes(number(0)),
        };
        usize::try_from(length)
            .unwrap_or(usize::MAX)
            .max(self.head())
    }

    fn judge(&self, sight: &mut Sight) {
        match self.wire {
            Wire::Postgres if self.opening => {}
            Wire::Postgres => self.judge_postgres(sight),
            Wire::Mongodb => self.judge_mongodb(sight),
        }
    }

    fn judge_postgres(&self, sight: &mut Sight) {
        match self.message.first() {
            // Bind and Query, from the client.
            Some(b'B' | b'Q') => sight.request = true,
            // CommandComplete, from the server: `UPDATE 3`.
            Some(b'C') => {
                let words = self.message.get(5..).unwrap_or_default();
                let writes: [&[u8]; 4] = [b"INSERT", b"UPDATE", b"DELETE", b"COMMIT"];
                sight.write |= writes.iter().any(|word| words.starts_with(word));
            }
            // ReadyForQuery.
            Some(b'Z') => sight.end = true,
            _ => {}
        }
    }

    fn judge_mongodb(&self, sight: &mut Sight) {
        // A message of kind 2013, whose body is the section behind the flags.
        let is_message = self.message.get(12..16) == Some(&2013_u32.to_le_bytes()[..]);
        let body = self.message.get(21..).filter(|_| is_message);
        let command = body.and_then(|body| Document::from_reader(body).ok());
        let Some(command) = command else {
            return;
        };
        let writes = ["findAndModify", "insert", "update", "delete"];
        sight.request = !command.contains_key("hello") && !command.contains_key("ok");
        sight.write = writes.iter().any(|name| command.contains_key(*name));
        sight.end = command.contains_key("ok");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        let mut message = vec![letter];
        message.extend(length.to_be_bytes());
        message.extend(body);
        message
    }

    #[test]
    fn messages_are_seen_wherever_the_stream_is_cut() {
        let mut stream = 8_u32.to_be_bytes().to_vec();
        stream.extend([1, 2, 3, 4]);
        stream.extend(postgres(b'P', b"anything"));
        stream.extend(postgres(b'B', b"and more"));
        for cut in 1..stream.len() {
            let mut frames = Frames::new(Wire::Postgres, true);
            let first = frames.see(&stream[..cut]);
            let second = frames.see(&stream[cut..]);
            assert!(first.request || second.request, "cut at {cut}");
            assert!(!first.write && !second.write);
        }
    }

    #[test]
    fn the_answer_to_a_write_is_known() {
        let mut frames = Frames::new(Wire::Postgres, false);
        let read = frames.see(&postgres(b'C', b"SELECT 1\0"));
        assert!(!read.write);
        let mut answer = postgres(b'C', b"UPDATE 1\0");
        answer.extend(postgres(b'Z', b"I"));
        let sight = frames.see(&answer);
        assert!(sight.write && sight.end);
    }
}
