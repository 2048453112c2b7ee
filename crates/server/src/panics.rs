//! A handler that panics harms nobody else: its request is answered with 500, it is counted, and the server goes on. What it
//! said goes to the standard error as panics do; nothing of the request is written anywhere.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::door::Door;
use crate::error::{ApiError, Code};

/// The middleware.
pub(crate) async fn catch(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut answering = pin!(next.run(request));
    let answered = std::future::poll_fn(|cx| {
        // What unwinds is dropped with this request and seen by nobody after it; what is shared recovers from poisoned locks.
        match std::panic::catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match answered.await {
        Ok(answer) => answer,
        Err(panic) => {
            door.counts().panics.add();
            tracing::error!(%method, path, panic = message(&*panic), "a handler panicked");
            ApiError::new(Code::Internal, "something broke while this was being answered; the server's log says more")
                .into_response()
        }
    }
}

/// What a panic said, where it is text.
fn message(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&'static str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_a_count_and_the_next_request_is_served() {
        let door = TestDoor::open();
        let app = Router::new()
            .route("/good", get(async || "good"))
            .route("/bad", get(async || -> &'static str { panic!("of the test") }))
            .layer(from_fn_with_state(door.door.clone(), catch));
        let ask = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        assert_eq!((ask("/bad").await, ask("/good").await, ask("/bad").await), (500, 200, 500));
        assert_eq!(door.door.counts().panics.value(), 2);
    }
}
