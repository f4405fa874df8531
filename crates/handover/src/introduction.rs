//! The channel between the two instances of an exclusive handover: made here, one end to each, and
//! nothing that is said on it passes through the supervisor.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use handover_proto::identity::{HandoverId, InstanceId};

/// The end of a channel whose other end was sent already.
#[derive(Debug)]
struct Waiting {
    id: HandoverId,
    first: InstanceId,
    end: OwnedFd,
}

/// At most one channel waits for its second end to be sent: attempts do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Introductions(Option<Waiting>);

impl Introductions {
    /// The end for `to`. The first of an attempt makes the channel, the second gets the other end.
    ///
    /// # Errors
    /// The kernel's: no descriptors are left. Nothing waits then.
    pub(crate) fn end(&mut self, id: HandoverId, to: InstanceId) -> io::Result<OwnedFd> {
        match self.0.take() {
            Some(waiting) if waiting.id == id && waiting.first != to => Ok(waiting.end),
            _ => {
                let (first, second) = UnixStream::pair()?;
                self.0 = Some(Waiting {
                    id,
                    first: to,
                    end: second.into(),
                });
                Ok(first.into())
            }
        }
    }

    /// The attempt is over: who waits for the other end reads that nobody comes.
    pub(crate) fn over(&mut self, id: HandoverId) {
        self.0.take_if(|waiting| waiting.id == id);
    }

    /// An instance is gone.
    pub(crate) fn gone(&mut self, instance: InstanceId) {
        self.0.take_if(|waiting| waiting.first == instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const ID: HandoverId = HandoverId::new(7, 1);

    fn ends() -> (UnixStream, UnixStream, Introductions) {
        let mut introductions = Introductions::default();
        let first = introductions.end(ID, InstanceId(1)).expect("a channel");
        let second = introductions.end(ID, InstanceId(2)).expect("its other end");
        (first.into(), second.into(), introductions)
    }

    #[test]
    fn two_instances_of_an_attempt_get_the_ends_of_one_channel() {
        let (mut first, mut second, introductions) = ends();
        assert!(introductions.0.is_none());
        first.write_all(b"manifest").expect("writes");
        let mut heard = [0; 8];
        second.read_exact(&mut heard).expect("reads");
        assert_eq!(&heard, b"manifest");
        // I8: nobody else holds an end.
        drop(second);
        assert_eq!(first.read(&mut heard).expect("the end"), 0);
    }

    #[test]
    fn an_end_nobody_comes_for_is_closed() {
        for over in [true, false] {
            let mut introductions = Introductions::default();
            let first = introductions.end(ID, InstanceId(1)).expect("a channel");
            if over {
                introductions.over(ID);
            } else {
                introductions.gone(InstanceId(1));
            }
            let read = UnixStream::from(first).read(&mut [0]).expect("the end");
            assert_eq!(read, 0);
        }
    }

    #[test]
    fn the_next_attempt_does_not_get_an_end_of_the_last() {
        let mut introductions = Introductions::default();
        let stale = introductions.end(ID, InstanceId(1)).expect("a channel");
        let next = introductions
            .end(ID.next(), InstanceId(1))
            .expect("another");
        let other = introductions
            .end(ID.next(), InstanceId(3))
            .expect("its end");
        assert_eq!(UnixStream::from(stale).read(&mut [0]).expect("the end"), 0);
        UnixStream::from(other).write_all(b"x").expect("writes");
        let mut heard = [0];
        UnixStream::from(next)
            .read_exact(&mut heard)
            .expect("reads");
        assert_eq!(&heard, b"x");
    }
}
