//! The functions that can run under a lock.

use std::future::Future;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use orderlock_core::{LockedOrder, OrderType, Outcome};

/// A function that can run under the lock of an order.
///
/// It is implemented for async functions and closures whose first argument is
/// [`LockedOrder<T>`], followed by up to twelve extractors of which the last may take the body,
/// and whose result is `Result<Outcome<T>, E>` with any `E: IntoResponse`
/// ([`Failure`](crate::Failure), if there is nothing to say; [`Undone`](crate::Undone) of one, if the
/// handler declares of some failures that nothing happened outside).
#[diagnostic::on_unimplemented(
    message = "this function cannot run under the lock of `{T}`",
    label = "not a handler of a locked `{T}`",
    note = "it must be `async fn(LockedOrder<{T}>, ..extractors, body extractor) -> Result<Outcome<{T}>, E>`, where `E: IntoResponse`",
    note = "`LockedOrder` comes first, only the last argument may take the body, and the future must be `Send`"
)]
pub trait OrderHandler<T, M, S>: Clone + Send + Sync + 'static {
    /// What is taken from the head of a request.
    type Head: Send + 'static;
    /// What the function is called with, beside the order.
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

    /// Calls the function.
    fn call(
        self,
        order: LockedOrder<T>,
        arguments: Self::Arguments,
    ) -> impl Future<Output = Result<Outcome<T>, Self::Error>> + Send + 'static;
}

/// Marks functions whose arguments all come from the head.
#[derive(Debug)]
pub struct ViaHead;

/// Marks functions whose last argument takes the body.
#[derive(Debug)]
pub struct ViaBody;

macro_rules! functions {
    ($($head:ident),*) => {
        #[allow(non_snake_case, unused_variables, clippy::unused_unit)]
        impl<F, Fut, T, S, E, $($head,)*> OrderHandler<T, (ViaHead, $($head,)*), S> for F
        where
            F: FnOnce(LockedOrder<T>, $($head,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
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
                order: LockedOrder<T>,
                ($($head,)*): Self::Arguments,
            ) -> impl Future<Output = Result<Outcome<T>, E>> + Send + 'static {
                self(order, $($head,)*)
            }
        }

        #[allow(non_snake_case, unused_variables)]
        impl<F, Fut, T, S, E, $($head,)* Body> OrderHandler<T, (ViaBody, $($head,)* Body), S> for F
        where
            F: FnOnce(LockedOrder<T>, $($head,)* Body) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
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
                order: LockedOrder<T>,
                ($($head,)* body,): Self::Arguments,
            ) -> impl Future<Output = Result<Outcome<T>, E>> + Send + 'static {
                self(order, $($head,)* body)
            }
        }
    };
}

pub(crate) async fn head<A, S>(parts: &mut Parts, state: &S) -> Result<A, Response>
where
    A: FromRequestParts<S>,
    S: Send + Sync,
{
    A::from_request_parts(parts, state)
        .await
        .map_err(IntoResponse::into_response)
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
