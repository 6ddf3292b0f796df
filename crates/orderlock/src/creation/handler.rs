//! The functions that can make a new order.

use std::future::Future;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use orderlock_core::OrderType;

use crate::adapter::handler::{ViaBody, ViaHead, head};

/// A function that makes a new order from a request.
///
/// It is implemented for async functions and closures of up to twelve extractors, of which the last
/// may take the body, whose result is `Result<T, E>` with any `E: IntoResponse`.
///
/// It must have no effect of its own: of two equal requests at the same time both may run, and a
/// retry runs again before its stored answer is found.
#[diagnostic::on_unimplemented(
    message = "this function cannot make a new `{T}`",
    label = "not a handler that creates a `{T}`",
    note = "it must be `async fn(..extractors, body extractor) -> Result<{T}, E>`, where `E: IntoResponse`",
    note = "only the last argument may take the body, and the future must be `Send`"
)]
pub trait CreateHandler<T, M, S>: Clone + Send + Sync + 'static {
    /// What is taken from the head of a request.
    type Head: Send + 'static;
    /// What the function is called with.
    type Arguments: Send + 'static;
    /// The function's error type, which must be an HTTP answer.
    type Error: IntoResponse + Send + 'static;

    /// Runs the head extractors. A refusal is the answer.
    fn extract_head(
        parts: &mut Parts,
        state: &S,
    ) -> impl Future<Output = Result<Self::Head, Response>> + Send;

    /// Runs the body extractor, if there is one. A refusal yields to a stored answer.
    fn extract_body(
        head: Self::Head,
        request: Request,
        state: &S,
    ) -> impl Future<Output = Result<Self::Arguments, Response>> + Send;

    /// Calls the function. Its error yields to a stored answer.
    fn call(
        self,
        arguments: Self::Arguments,
    ) -> impl Future<Output = Result<T, Self::Error>> + Send + 'static;
}

macro_rules! functions {
    ($($head:ident),*) => {
        #[allow(non_snake_case, unused_variables, clippy::unused_unit)]
        impl<F, Fut, T, S, E, $($head,)*> CreateHandler<T, (ViaHead, $($head,)*), S> for F
        where
            F: FnOnce($($head,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send + 'static,
            T: OrderType,
            S: Send + Sync,
            E: IntoResponse + Send + 'static,
            $($head: FromRequestParts<S> + Send + 'static,)*
        {
            type Head = ($($head,)*);
            type Arguments = ($($head,)*);
            type Error = E;

            async fn extract_head(parts: &mut Parts, state: &S) -> Result<Self::Head, Response> {
                Ok(($(head::<$head, S>(parts, state).await?,)*))
            }

            async fn extract_body(
                head: Self::Head,
                request: Request,
                state: &S,
            ) -> Result<Self::Arguments, Response> {
                Ok(head)
            }

            fn call(
                self,
                ($($head,)*): Self::Arguments,
            ) -> impl Future<Output = Result<T, E>> + Send + 'static {
                self($($head,)*)
            }
        }

        #[allow(non_snake_case, unused_variables)]
        impl<F, Fut, T, S, E, $($head,)* Body> CreateHandler<T, (ViaBody, $($head,)* Body), S> for F
        where
            F: FnOnce($($head,)* Body) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send + 'static,
            T: OrderType,
            S: Send + Sync,
            E: IntoResponse + Send + 'static,
            $($head: FromRequestParts<S> + Send + 'static,)*
            Body: FromRequest<S> + Send + 'static,
        {
            type Head = ($($head,)*);
            type Arguments = ($($head,)* Body,);
            type Error = E;

            async fn extract_head(parts: &mut Parts, state: &S) -> Result<Self::Head, Response> {
                Ok(($(head::<$head, S>(parts, state).await?,)*))
            }

            async fn extract_body(
                ($($head,)*): Self::Head,
                request: Request,
                state: &S,
            ) -> Result<Self::Arguments, Response> {
                let body = Body::from_request(request, state).await;
                Ok(($($head,)* body.map_err(IntoResponse::into_response)?,))
            }

            fn call(
                self,
                ($($head,)* body,): Self::Arguments,
            ) -> impl Future<Output = Result<T, E>> + Send + 'static {
                self($($head,)* body)
            }
        }
    };
}

functions!();
functions!(A1);
functions!(A1, A2);
functions!(A1, A2, A3);
functions!(A1, A2, A3, A4);
functions!(A1, A2, A3, A4, A5);
functions!(A1, A2, A3, A4, A5, A6);
functions!(A1, A2, A3, A4, A5, A6, A7);
functions!(A1, A2, A3, A4, A5, A6, A7, A8);
functions!(A1, A2, A3, A4, A5, A6, A7, A8, A9);
functions!(A1, A2, A3, A4, A5, A6, A7, A8, A9, A10);
functions!(A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11);
