use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, NodeId, ProcessId};
use tokio::time::timeout;

use super::{Calls, Outcome, WINDOW};
use crate::transport::frame::Refusal;

const ME: NodeId = NodeId(1);
const A: NodeId = NodeId(2);
const B: NodeId = NodeId(3);

fn process() -> ProcessId {
    ProcessId::new("one").expect("a name")
}

fn refused() -> Outcome {
    Outcome::Refused(Refusal::Full)
}

#[tokio::test]
async fn what_one_node_says_does_not_cover_what_another_said() {
    let (calls, process) = (Calls::new(ME, 1), process());
    let pending = calls.begin(&process).await;
    let redirect = Outcome::Redirect(B, Epoch::default());
    calls.leave(pending.number, A, refused());
    calls.leave(pending.number, B, refused());
    // The last word of each.
    calls.leave(pending.number, A, redirect.clone());
    assert_eq!(pending.outcome().await, (B, refused()));
    assert_eq!(pending.outcome().await, (A, redirect.clone()));
    // A reply is all that matters, and nothing follows it.
    let reply = Outcome::Reply(Bytes::new());
    calls.leave(pending.number, A, refused());
    calls.leave(pending.number, B, reply.clone());
    calls.leave(pending.number, A, redirect);
    assert_eq!(pending.outcome().await, (B, reply));
}

#[tokio::test]
async fn a_turn_that_is_given_up_is_the_next_ones() {
    let (calls, process) = (Calls::new(ME, 1), process());
    let mut under_way = Vec::new();
    for _ in 0..WINDOW {
        under_way.push(calls.begin(&process).await);
    }
    let mut first = Box::pin(calls.begin(&process));
    let mut second = Box::pin(calls.begin(&process));
    let moment = Duration::from_millis(1);
    assert!(timeout(moment, &mut first).await.is_err());
    assert!(timeout(moment, &mut second).await.is_err());
    drop(under_way.pop());
    // It is let in, and gives up before it looks.
    drop(first);
    let patience = Duration::from_secs(60);
    let begun = timeout(patience, second).await.expect("its turn comes");
    // The must beside it: as many as before are under way, so a further one waits.
    let third = Box::pin(calls.begin(&process));
    assert!(timeout(moment, third).await.is_err());
    drop((begun, under_way));
    assert!(calls.floors(&process).is_empty());
}
