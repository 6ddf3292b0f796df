//! Bodies on their way in, and answers on their way out, within what memory they may take.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as _, Frame, SizeHint};

use super::{Edge, busy};
use crate::connections::Client;
use crate::http::memory::{FREE, Held, Memory};

/// How a request's body arrives, as those see it who wait for its answer.
#[derive(Debug)]
pub(super) struct Arrival {
    memory: Memory,
    most: usize,
    held: Mutex<Option<Held>>,
    complete: AtomicBool,
    refused: AtomicBool,
    client: Option<Client>,
}

/// Notes how the body arrives, if there is one.
pub(super) fn arriving(
    edge: &Edge,
    request: Request,
    client: Option<Client>,
) -> (Request, Option<Arc<Arrival>>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let arrival = Arc::new(Arrival {
        memory: edge.memory.clone(),
        most: edge.body_max,
        held: Mutex::new(None),
        complete: AtomicBool::new(false),
        refused: AtomicBool::new(false),
        client,
    });
    let noted = Arc::clone(&arrival);
    let request = request.map(|body| {
        Body::new(Arriving {
            body,
            bytes: 0,
            arrival: noted,
        })
    });
    (request, Some(arrival))
}

impl Arrival {
    /// Takes the memory for a body whose length is known. One that is too large is refused without
    /// being read, and takes none.
    pub(super) fn has_room(&self, headers: &HeaderMap) -> bool {
        let declared = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        match declared {
            Some(bytes) if bytes <= self.most => self.holds(bytes),
            _ => true,
        }
    }

    /// Holds memory for so many bytes in all. It is taken in steps, so that a body of unknown
    /// length does not ask for each packet, and one of known length for none.
    fn holds(&self, bytes: usize) -> bool {
        if bytes <= FREE {
            return true;
        }
        let bytes = bytes.next_multiple_of(FREE);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => held.grow(bytes),
            None => {
                *held = self.memory.hold(bytes);
                held.is_some()
            }
        }
    }

    /// Resolves if the body was dropped before its end, and otherwise never.
    pub(super) async fn is_late(&self) {
        if self.complete.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the body was not read to its end, for want of memory.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
        if let Some(client) = &self.client {
            client.sent_all();
        }
    }
}

/// A body on its way in.
struct Arriving {
    body: Body,
    bytes: usize,
    arrival: Arc<Arrival>,
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, Bytes::len);
            // What is beyond the largest body is refused by those who read it.
            if !self.arrival.holds(self.bytes.min(self.arrival.most)) {
                self.arrival.refused.store(true, Ordering::Relaxed);
                let error = io::Error::other("no memory is left for bodies");
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.arrival.completed();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Arrival {
            client, complete, ..
        } = &*self.arrival;
        if let (Some(client), false) = (client, complete.load(Ordering::Relaxed)) {
            client.sends_still();
        }
    }
}

/// An answer that counts for as long as any of its bytes is in memory, also in the queues of the
/// connection.
pub(super) fn held(memory: &Memory, response: Response) -> Response {
    let size = response.body().size_hint().exact();
    let size = size.and_then(|size| usize::try_from(size).ok());
    match size {
        Some(size) if size > FREE => match memory.hold(size) {
            Some(held) => response.map(|body| {
                Body::new(Leaving {
                    body,
                    held: Arc::new(held),
                })
            }),
            None => busy(),
        },
        _ => response,
    }
}

/// An answer on its way out.
struct Leaving {
    body: Body,
    held: Arc<Held>,
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let counted = |bytes| {
            Bytes::from_owner(Counted {
                bytes,
                _held: Arc::clone(&self.held),
            })
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer, and what they hold.
struct Counted {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
