//! How much crosses: run with `--release -- --ignored --nocapture`.

use std::time::Instant;

use bytes::Bytes;

use super::{call, chunk, pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn small_frames_and_large_states() {
    const CALLS: u64 = 1_000_000;
    const CHUNKS: usize = 4000;
    let (a, mut b) = pair().await;
    let body = Bytes::from(vec![1; 32]);
    let start = Instant::now();
    let to = b.id();
    let send = async {
        for number in 0..CALLS {
            a.send(to, call(number, &body)).await;
        }
    };
    let take = async {
        let mut taken = Vec::new();
        let mut count = 0;
        while count < CALLS {
            count += b.incoming.calls.recv_many(&mut taken, 1000).await as u64;
            taken.clear();
        }
    };
    tokio::join!(send, take);
    let rate = CALLS as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} calls of 32 bytes a second");

    let start = Instant::now();
    let send = async {
        let chunk = chunk(256 << 10);
        for _ in 0..CHUNKS {
            a.send(to, chunk.clone()).await;
        }
    };
    let take = async {
        for _ in 0..CHUNKS {
            b.incoming.states.recv().await.unwrap();
        }
    };
    tokio::join!(send, take);
    let rate = (CHUNKS as f64) / 4.0 / start.elapsed().as_secs_f64();
    println!("{rate:.0} MiB of states a second");
}
