//! One connection of the load: it sends a request and reads the answer, and nothing else.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More headers than any answer here has.
const HEADERS_MAX: usize = 32;

/// The largest answer that is read.
const ANSWER_MAX: usize = 1024 * 1024;

pub(crate) struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

/// An answer, as far as workloads look at it.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) location: Option<&'a str>,
    pub(crate) replayed: bool,
    pub(crate) body: &'a [u8],
}

/// Where an answer ends in the buffer, and what its head says.
struct Head {
    status: u16,
    body: usize,
    end: usize,
    location: Option<(usize, usize)>,
    replayed: bool,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: BytesMut::new(),
        })
    }

    /// Sends a request and gives its answer to `look`.
    pub(crate) async fn ask<R>(
        &mut self,
        request: &[u8],
        look: impl FnOnce(Answer<'_>) -> R,
    ) -> io::Result<R> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(head) = parse(&self.read)? {
                let answer = self.read.split_to(head.end);
                let location = head.location.map(|(from, to)| &answer[from..to]);
                return Ok(look(Answer {
                    status: head.status,
                    location: location.and_then(|it| std::str::from_utf8(it).ok()),
                    replayed: head.replayed,
                    body: &answer[head.body..],
                }));
            }
            if self.read.len() > ANSWER_MAX {
                return Err(io::Error::other("an answer is too large"));
            }
            self.read.reserve(2_048);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// None while the answer is not whole.
fn parse(read: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let body = match response.parse(read).map_err(io::Error::other)? {
        httparse::Status::Complete(body) => body,
        httparse::Status::Partial => return Ok(None),
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        body,
        end: body,
        location: None,
        replayed: false,
    };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok();
            let length = length.and_then(|length| length.parse::<usize>().ok());
            head.end = body + length.ok_or_else(|| io::Error::other("a wrong length"))?;
        } else if header.name.eq_ignore_ascii_case("location") {
            let from = header.value.as_ptr() as usize - read.as_ptr() as usize;
            head.location = Some((from, from + header.value.len()));
        } else if header.name.eq_ignore_ascii_case("idempotent-replayed") {
            head.replayed = header.value == b"true";
        }
    }
    Ok((read.len() >= head.end).then_some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let text = b"HTTP/1.1 201 Created\r\nLocation: /v1/orders/o\r\n\
            Idempotent-Replayed: true\r\ncontent-length: 4\r\n\r\nbodyHTTP/1.1";
        for end in 0..text.len() - 8 {
            assert!(parse(&text[..end]).unwrap().is_none(), "{end}");
        }
        let head = parse(text).unwrap().unwrap();
        let (from, to) = head.location.unwrap();
        assert_eq!(&text[from..to], b"/v1/orders/o");
        assert_eq!((head.status, head.replayed), (201, true));
        assert_eq!(&text[head.body..head.end], b"body");
    }
}
