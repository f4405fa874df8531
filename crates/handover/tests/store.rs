//! What a program leaves with systemd comes back to its next process: memory by its name.

use std::io::{Read, Seek, Write};

use handover::{Inheritance, Instance};
use handover_sys::notify::{Notification, NotifySocket};

#[tokio::test]
async fn what_is_left_arrives_under_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    let inheritance = Inheritance::default().notify(path);
    let instance = Instance::builder("test").inherit(inheritance);
    let instance = instance.signals(false).start().await.unwrap();
    let mut state = tempfile::tempfile().unwrap();
    state.write_all(b"what it knew").unwrap();
    instance.store("state", &state).await.unwrap();
    drop(state);

    let (sender, said, mut left) = socket.receive_all().unwrap().unwrap();
    assert_eq!(sender.pid, std::process::id());
    let name = Notification::Other("FDNAME".into(), "state".into());
    assert!(said.contains(&name), "{said:?}");
    let mut state = std::fs::File::from(left.pop().unwrap());
    let mut text = String::new();
    state.rewind().unwrap();
    state.read_to_string(&mut text).unwrap();
    assert_eq!(text, "what it knew");
}

#[tokio::test]
async fn nobody_to_leave_it_with_is_no_error() {
    let instance = Instance::builder("test").inherit(Inheritance::default());
    let instance = instance.signals(false).start().await.unwrap();
    let file = tempfile::tempfile().unwrap();
    instance.store("state", &file).await.unwrap();
}
