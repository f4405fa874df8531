use std::time::Duration;

use bytes::Bytes;

use super::{Queue, Refusal};
use crate::transport::Frame;

fn frame(size: usize) -> Frame {
    Frame::Control(Bytes::from(vec![7; size]))
}

#[tokio::test]
async fn a_full_queue_refuses_until_it_is_half_empty() {
    let queue = Queue::new(2 * frame(1000).weight());
    queue.push(frame(1000)).unwrap();
    queue.push(frame(1000)).unwrap();
    assert_eq!(queue.push(frame(1000)), Err(Refusal::Full));
    let waits = tokio::time::timeout(Duration::from_millis(50), queue.room()).await;
    assert!(waits.is_err(), "a full queue has no room");

    assert_eq!(queue.take(1).await.unwrap().len(), 1);
    queue.room().await;
    queue.push(frame(1000)).unwrap();
}

#[tokio::test]
async fn a_frame_longer_than_the_queue_passes_alone() {
    let queue = Queue::new(10);
    queue.push(frame(1000)).unwrap();
    assert_eq!(queue.push(frame(0)), Err(Refusal::Full));
    assert_eq!(queue.take(1).await.unwrap().len(), 1);
    queue.push(frame(0)).unwrap();
}

#[tokio::test]
async fn frames_are_taken_in_order_and_by_bytes() {
    let queue = Queue::new(1 << 20);
    for size in 0..10 {
        queue.push(frame(size)).unwrap();
    }
    let mut sizes = Vec::new();
    queue.close();
    while let Some(taken) = queue.take(300).await {
        assert!(taken.len() <= 3);
        sizes.extend(taken.into_iter().map(|(_, frame)| match frame {
            Frame::Control(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(sizes, (0..10).collect::<Vec<_>>());
    assert_eq!(queue.push(frame(1)), Err(Refusal::Closed));
}
