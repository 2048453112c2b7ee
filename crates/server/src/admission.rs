//! How much of the server one client may have, and all request bodies together: rates and streams by address, bytes of bodies.
//! Who the client is, [`Client`] says; what is refused is the routes' to say.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::address::{Client, Network};
use self::rate::Rate;
use self::rates::{Limiter, Standing};
use crate::config::LimitsConfig;
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::request::body;

pub(crate) mod address;
pub(crate) mod rate;
pub(crate) mod rates;

/// How much of the server a client may have.
#[derive(Default)]
pub(crate) struct Admission {
    connects: RwLock<Option<Arc<Limiter>>>,
    publishes: RwLock<Option<Arc<Limiter>>>,
    changes: RwLock<Option<Arc<Limiter>>>,
    /// Streams that one address may have; 0 for any number.
    per_address_max: AtomicUsize,
    streams: Arc<Streams>,
}

/// How many streams addresses have.
type Streams = Mutex<HashMap<Network, usize>>;

/// One of a client's streams; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    streams: Arc<Streams>,
    client: Network,
}

impl fanfare_hub::Held for Slot {}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = streams.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.client);
            }
        }
    }
}

impl Admission {
    /// Has other limits hold from now on. A rate that is as before goes on counting.
    pub(crate) fn reload(&self, limits: &LimitsConfig, per_address_max: usize) {
        set(&self.connects, "connects", limits.connects);
        set(&self.publishes, "publishes", limits.publishes);
        set(&self.changes, "changes", limits.changes);
        self.per_address_max.store(per_address_max, Ordering::Relaxed);
    }

    /// Whether a client may open one more stream, as far as its rate goes. `None` where there is no limit.
    ///
    /// # Errors
    ///
    /// When it opened streams too often.
    pub(crate) fn connect(&self, client: Client) -> Result<Option<Standing>, Standing> {
        check(&self.connects, client)
    }

    /// One more stream of a client; `None` where there is no limit.
    ///
    /// # Errors
    ///
    /// How many it may have, when it has them.
    pub(crate) fn slot(&self, client: Client) -> Result<Option<Slot>, usize> {
        let most = self.per_address_max.load(Ordering::Relaxed);
        let Some(address) = client.0.filter(|_| most > 0) else { return Ok(None) };
        let client = Network::of_client(address);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let count = streams.entry(client).or_default();
        if *count >= most {
            return Err(most);
        }
        *count += 1;
        Ok(Some(Slot { streams: self.streams.clone(), client }))
    }
}

fn set(limiter: &RwLock<Option<Arc<Limiter>>>, name: &'static str, rate: Option<Rate>) {
    let mut limiter = limiter.write().unwrap_or_else(PoisonError::into_inner);
    if limiter.as_ref().map(|limiter| limiter.rate()) != rate {
        *limiter = rate.map(|rate| Limiter::new(name, rate));
    }
}

fn check(limiter: &RwLock<Option<Arc<Limiter>>>, client: Client) -> Result<Option<Standing>, Standing> {
    let limiter = limiter.read().unwrap_or_else(PoisonError::into_inner).clone();
    let (Some(limiter), Some(address)) = (limiter, client.0) else { return Ok(None) };
    let address: IpAddr = address;
    limiter.check(address).map(Some)
}

/// The middleware that holds publishers, and who asks of streams, to their rate. A batch counts once.
pub(crate) async fn publishing(State(door): State<Door>, client: Client, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let limiter = match *request.method() {
        Method::GET | Method::HEAD | Method::PATCH | Method::DELETE if path.starts_with("/streams/") => {
            &door.admission().changes
        }
        // What is posted there asks for a stream. What is deleted is written down as what is published is.
        Method::POST | Method::DELETE if path != "/subscribe" => &door.admission().publishes,
        _ => return next.run(request).await,
    };
    match check(limiter, client) {
        Ok(None) => next.run(request).await,
        Ok(Some(standing)) => {
            let mut answer = next.run(request).await;
            standing.write(answer.headers_mut());
            answer
        }
        Err(standing) => {
            let (parts, body) = request.into_parts();
            body::discard(&parts.headers, body).await;
            too_often(&standing).into_response()
        }
    }
}

/// The refusal of a client that asks too often.
pub(crate) fn too_often(standing: &Standing) -> ApiError {
    let detail = "this address asks more often than it may; `RateLimit-Policy` says how often that is";
    ApiError::new(Code::RateLimited, detail).retry_after(standing.wait).standing(standing.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDoor;

    const CLIENT: Client = Client(Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))));

    #[test]
    fn an_address_has_so_many_streams_and_gets_places_back() {
        let admission = Admission::default();
        assert!(admission.slot(CLIENT).unwrap().is_none(), "no limit by default");
        admission.reload(&LimitsConfig::default(), 2);
        let held = [admission.slot(CLIENT).unwrap(), admission.slot(CLIENT).unwrap()];
        assert_eq!(admission.slot(CLIENT).unwrap_err(), 2);
        assert!(admission.slot(Client(None)).unwrap().is_none(), "nobody knows who it is");
        drop(held);
        assert!(admission.slot(CLIENT).is_ok());
        assert!(admission.streams.lock().unwrap().is_empty(), "who has none is forgotten");
    }

    #[tokio::test]
    async fn publishers_are_told_their_rate_and_refused_beyond_it() {
        let door = TestDoor::open();
        let limits = LimitsConfig { publishes: Some("2/10m".parse().unwrap()), ..LimitsConfig::default() };
        door.door.admission().reload(&limits, 0);
        let from = |n: u8| door.from([192, 0, 2, n]);
        for left in [1, 0] {
            let answer = from(1).post("/channels/a", "x").await;
            assert_eq!(answer.header("ratelimit"), format!("\"publishes\";r={left};t=0"));
        }
        let answer = from(1).post("/publish", "{}").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("ratelimit-policy").as_str()),
            (429, "\"publishes\";q=2;w=600")
        );
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 200);
        assert_eq!(answer.problem().await["code"], "rate_limited");
        assert_eq!(from(2).post("/channels/a", "x").await.status.as_u16(), 200);
        assert_eq!(from(1).get("/channels/a").await.status.as_u16(), 200, "reading is another matter");
        assert_eq!(door.get("/stats").await.json().await["requests_refused"]["rate_limited"], 1);
    }

    #[tokio::test]
    async fn to_delete_counts_as_to_publish() {
        let door = TestDoor::open();
        for path in ["/channels/s?key=a", "/inbox/ada"] {
            door.post(path, "x").await;
        }
        let limits = LimitsConfig { publishes: Some("2/10m".parse().unwrap()), ..LimitsConfig::default() };
        door.door.admission().reload(&limits, 0);
        let client = door.from([192, 0, 2, 1]);
        for (path, left) in [("/channels/s?key=a", 1), ("/inbox/ada", 0)] {
            let answer = client.request("DELETE", path, &[], "").await;
            let told = (answer.status.as_u16(), answer.header("ratelimit"));
            assert_eq!(told, (200, format!("\"publishes\";r={left};t=0")), "{path}");
        }
        for path in ["/channels?channel=s&key=b", "/inbox/ada"] {
            assert_eq!(client.request("DELETE", path, &[], "").await.status.as_u16(), 429, "{path}");
        }
        assert_eq!(client.post("/channels/a", "x").await.status.as_u16(), 429);
    }

    #[tokio::test]
    async fn who_asks_of_streams_too_often_is_refused_whatever_it_asks() {
        const STREAM: &str = "/streams/5f1d9a526f0b4f7e9c390d7c1d5a2b11";
        let door = TestDoor::open();
        let limits = LimitsConfig { changes: Some("3/10m".parse().unwrap()), ..LimitsConfig::default() };
        door.door.admission().reload(&limits, 0);
        let client = door.from([192, 0, 2, 1]);
        for (method, left) in [("GET", 2), ("PATCH", 1), ("DELETE", 0)] {
            let body = if method == "PATCH" { r#"{"add": ["a"]}"# } else { "" };
            let answer = client.request(method, STREAM, &[], body).await;
            assert_eq!(answer.status.as_u16(), 404, "{method}");
            assert_eq!(answer.header("ratelimit"), format!("\"changes\";r={left};t=0"), "{method}");
        }
        for method in ["GET", "HEAD", "PATCH", "DELETE"] {
            let answer = client.request(method, STREAM, &[], "").await;
            assert_eq!(answer.status.as_u16(), 429, "{method}");
            assert_eq!(answer.header("ratelimit-policy"), "\"changes\";q=3;w=600", "{method}");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 100, "{method}");
        }
        assert_eq!(door.from([192, 0, 2, 2]).get(STREAM).await.status.as_u16(), 404);
        assert_eq!(client.get("/channels/a").await.status.as_u16(), 200, "other reading is another matter");
        assert_eq!(door.get("/stats").await.json().await["requests_refused"]["rate_limited"], 4);
    }

    #[tokio::test]
    async fn to_be_told_that_nothing_is_to_come_counts_as_a_try() {
        let door = TestDoor::open();
        let limits = LimitsConfig { connects: Some("2/10m".parse().unwrap()), ..LimitsConfig::default() };
        door.door.admission().reload(&limits, 0);
        let end = door.post("/channels/a/end", "").await.json().await;
        let query = format!("/events?channel=a&errors=status&lastEventId={}", end["id"].as_str().unwrap());
        let client = door.from([192, 0, 2, 1]);
        for status in [204, 204, 429] {
            assert_eq!(client.get(&query).await.status.as_u16(), status);
        }
        assert_eq!(door.from([192, 0, 2, 2]).get(&query).await.status.as_u16(), 204);
    }

    #[tokio::test]
    async fn who_opens_streams_too_often_or_too_many_is_told_to_come_back() {
        let door = TestDoor::open();
        let limits = LimitsConfig { connects: Some("3/10m".parse().unwrap()), ..LimitsConfig::default() };
        door.door.admission().reload(&limits, 1);
        let client = door.from([192, 0, 2, 1]);
        let first = client.get("/events").await;
        assert_eq!(first.status.as_u16(), 200);
        let answer = client.get("/events?errors=status").await;
        assert_eq!(answer.status.as_u16(), 429);
        assert_eq!(answer.problem().await["code"], "too_many_streams");
        let text = client.get("/events").await.text().await;
        assert!(text.contains("fanfare.bye") && text.contains("\"limit\""), "{text}");
        // Now the rate is used up, too.
        let answer = client.get("/events?errors=status").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("ratelimit-policy").as_str()),
            (429, "\"connects\";q=3;w=600")
        );
        let text = client.get("/events").await.text().await;
        let retry: u64 = text.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap().parse().unwrap();
        assert!(retry > 100_000, "{text}");
        assert_eq!(door.from([192, 0, 2, 2]).get("/events?errors=status").await.status.as_u16(), 200);
        drop(first);
    }
}
