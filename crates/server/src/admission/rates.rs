//! How often a client may do things. Counted by address in the way of a leaky bucket (GCRA): so many at once, then one by one.
//!
//! What an answer says of it follows the IETF draft "`RateLimit` header fields for HTTP".

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::admission::address::Network;
use crate::admission::rate::Rate;
use crate::limits::{ADDRESSES_MAX, FORGET_EVERY};

type Buckets = RateLimiter<Network, HashMapStateStore<Network>, DefaultClock, StateInformationMiddleware>;

/// How often something may be done by one client.
pub(crate) struct Limiter {
    /// What it is called in headers.
    name: &'static str,
    rate: Rate,
    buckets: Buckets,
    /// Questions since addresses that did nothing lately were forgotten.
    asked: AtomicU32,
}

/// How a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    name: &'static str,
    rate: Rate,
    /// How many more may come at once.
    remaining: u32,
    /// How long it takes until one more may come, if none may.
    pub(crate) wait: Duration,
}

impl Limiter {
    pub(crate) fn new(name: &'static str, rate: Rate) -> Arc<Self> {
        // `each` is checked not to be zero.
        let quota =
            Quota::with_period(rate.each()).unwrap_or(Quota::per_second(rate.count())).allow_burst(rate.count());
        let buckets = RateLimiter::hashmap(quota).with_middleware();
        Arc::new(Self { name, rate, buckets, asked: AtomicU32::new(0) })
    }

    /// What it holds clients to.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether a client may do it once more; if so it counts as done.
    ///
    /// # Errors
    ///
    /// When it did so too often.
    pub(crate) fn check(&self, client: IpAddr) -> Result<Standing, Standing> {
        self.forget_now_and_then();
        let standing = |remaining, wait| Standing { name: self.name, rate: self.rate, remaining, wait };
        match self.buckets.check_key(&self.key(client)) {
            Ok(state) => Ok(standing(state.remaining_burst_capacity(), Duration::ZERO)),
            Err(until) => Err(standing(0, until.wait_time_from(DefaultClock::default().now()))),
        }
    }

    /// Lets go of addresses whose buckets are full again.
    fn forget_now_and_then(&self) {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.buckets.retain_recent();
            self.buckets.shrink_to_fit();
        }
    }

    /// What counts as one client: beyond so many addresses their neighbours too, so that memory is bounded whoever comes.
    fn key(&self, client: IpAddr) -> Network {
        if self.buckets.len() < ADDRESSES_MAX { Network::of_client(client) } else { Network::of_crowd(client) }
    }
}

impl Standing {
    /// Says it in headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { name, rate, remaining, wait } = self;
        let policy = format!("\"{name}\";q={};w={}", rate.count(), rate.per().as_secs().max(1));
        let standing = format!("\"{name}\";r={remaining};t={}", wait.as_millis().div_ceil(1000));
        for (name, text) in [("ratelimit-policy", policy), ("ratelimit", standing)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn so_many_at_once_and_then_one_by_one_for_each_client() {
        let limiter = Limiter::new("connects", "2/2h".parse().unwrap());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert_eq!(limiter.check(one).unwrap().remaining, 1);
        assert_eq!(limiter.check(one).unwrap().remaining, 0);
        let refused = limiter.check(one).unwrap_err();
        assert!(
            refused.wait > Duration::from_mins(59) && refused.wait <= Duration::from_hours(1),
            "{:?}",
            refused.wait
        );
        assert!(limiter.check(other).is_ok());
        let mut headers = HeaderMap::new();
        refused.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"connects\";q=2;w=7200");
        assert!(headers["ratelimit"].to_str().unwrap().starts_with("\"connects\";r=0;t=3"));
    }

    #[test]
    fn addresses_that_did_nothing_lately_are_forgotten() {
        let limiter = Limiter::new("connects", "1/1ms".parse().unwrap());
        let ask = |n: u32| {
            let _ = limiter.check(std::net::Ipv4Addr::from_bits(n).into());
        };
        (1..FORGET_EVERY).for_each(ask);
        assert!(limiter.buckets.len() > 1_000);
        let (clock, over) = (DefaultClock::default(), Duration::from_millis(5));
        let start = clock.now();
        while clock.now().duration_since(start) < over {
            std::thread::yield_now();
        }
        ask(0);
        assert_eq!(limiter.buckets.len(), 1);
    }
}
