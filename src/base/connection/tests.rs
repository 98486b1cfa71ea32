//! Clients that send slowly, take nothing or stay for ever, on a clock of their own.

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::base::clock::SystemClock;
use crate::base::shutdown::{self, Trigger};

const WAITS: Waits = Waits {
    head: Some(Duration::from_secs(10)),
    answer: Some(Duration::from_secs(20)),
    idle: Some(Duration::from_secs(300)),
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A server of one client. Its answers come after `delay`, and have as many bytes as are asked for.
struct Bench {
    client: DuplexStream,
    served: JoinHandle<Duration>,
    turns: Arc<Turns>,
    stop: Trigger,
    begun: Instant,
}

impl Bench {
    fn new(delay: Duration, bytes: usize) -> Self {
        Self::with(delay, bytes, Arc::new(Turns::new(1)))
    }

    fn with(delay: Duration, bytes: usize, turns: Arc<Turns>) -> Self {
        let (client, server) = tokio::io::duplex(1024);
        let (stop, stopping) = shutdown::channel();
        let (shared, begun) = (turns.clone(), Instant::now());
        let served = tokio::spawn(async move {
            let _turn = shared.take().await.unwrap();
            let answer = |_| async move {
                tokio::time::sleep(delay).await;
                Response::new(Full::new(Bytes::from(vec![b'x'; bytes])))
            };
            let terms = Terms { waits: WAITS, clock: &SystemClock, turns: &shared, stop: &stopping };
            let _ = converse(server, answer, terms).await;
            begun.elapsed()
        });
        Self { client, served, turns, stop, begun }
    }

    async fn ask(&mut self) -> String {
        self.client.write_all(REQUEST).await.unwrap();
        let mut answer = [0; 1024];
        let length = self.client.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    /// After how many seconds, since the begin, the connection was gone.
    async fn ended(self) -> u64 {
        self.served.await.unwrap().as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_come_byte_by_byte_are_not_waited_for() {
    let mut bench = Bench::new(Duration::ZERO, 1);
    for byte in &REQUEST[..15] {
        if bench.client.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.ended().await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    assert_eq!(Bench::new(Duration::ZERO, 1).ended().await, 10);
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_connection_may_rest_but_not_begin_slowly() {
    let mut bench = Bench::new(Duration::ZERO, 1);
    for _ in 0..3 {
        assert!(bench.ask().await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_secs(200)).await;
    }
    bench.client.write_all(b"GET").await.unwrap();
    assert_eq!(bench.ended().await, 610);

    let mut bench = Bench::new(Duration::ZERO, 1);
    bench.ask().await;
    let mut rest = Vec::new();
    bench.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(bench.ended().await, 300);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_late_or_not_taken_is_given_up() {
    let mut bench = Bench::new(Duration::from_secs(19), 1);
    assert!(bench.ask().await.starts_with("HTTP/1.1 200"), "in time");
    let mut bench = Bench::new(Duration::from_secs(30), 1);
    assert_eq!(bench.ask().await, "");
    assert_eq!(bench.ended().await, 20);
    let mut bench = Bench::new(Duration::ZERO, 1 << 20);
    bench.client.write_all(REQUEST).await.unwrap();
    assert_eq!(bench.ended().await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_ends_connections_that_nobody_uses_and_no_others() {
    let mut first = Bench::new(Duration::from_secs(5), 1);
    let turns = first.turns.clone();
    first.client.write_all(REQUEST).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = Bench::with(Duration::ZERO, 1, turns);
    let (answer, begun) = (second.ask().await, second.begun);
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert_eq!(begun.elapsed().as_secs(), 4, "once the first was answered, long before it would have been closed");
    let mut taken = String::new();
    first.client.read_to_string(&mut taken).await.unwrap();
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_answer_that_is_under_way() {
    let mut bench = Bench::new(Duration::from_secs(5), 1);
    bench.client.write_all(REQUEST).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.stop.stop();
    let mut taken = String::new();
    bench.client.read_to_string(&mut taken).await.unwrap();
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    assert_eq!(bench.ended().await, 5);
}
