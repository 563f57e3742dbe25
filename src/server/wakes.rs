//! Wakes the tasks of connections from the core. A wake-up from another thread costs a system call, so each
//! client thread is woken once for all of its tasks, and one of its own tasks wakes the others.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::shared::ConnShared;

/// Between the core and the client threads.
#[derive(Debug)]
pub struct Wakes {
    threads: Vec<Thread>,
}

#[derive(Debug, Default)]
struct Thread {
    wakers: Mutex<Vec<Waker>>,
    some: Notify,
}

impl Wakes {
    /// For so many client threads, which are numbered from 0 on.
    pub fn new(threads: usize) -> Arc<Wakes> {
        let threads = (0..threads).map(|_| Thread::default()).collect();
        Arc::new(Wakes { threads })
    }

    /// How many client threads there are.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Wakes the tasks of these connections, those that wait.
    pub fn wake(&self, conns: impl Iterator<Item = Arc<ConnShared>>) {
        for conn in conns {
            if let Some(waker) = conn.outbox.take_waker() {
                self.threads[conn.thread as usize].wakers.lock().push(waker);
            }
        }
        for thread in &self.threads {
            let mut wakers = thread.wakers.lock();
            match wakers.len() {
                0 => {}
                1 => wakers.remove(0).wake(),
                _ => thread.some.notify_one(),
            }
        }
    }

    /// Passes on what [`Wakes::wake`] says, for ever. Runs on the client thread of this number.
    pub async fn pass_on(&self, thread: usize) {
        let Thread { wakers, some } = &self.threads[thread];
        loop {
            some.notified().await;
            let woken = std::mem::take(&mut *wakers.lock());
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;

    use super::*;
    use crate::ids::ConnId;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn waiting_conns(counter: &Arc<Counter>, count: u64) -> Vec<Arc<ConnShared>> {
        let waker = Waker::from(Arc::clone(counter));
        let conns = (0..count).map(|id| {
            let peer = "127.0.0.1:40000".parse().expect("an address");
            let conn = ConnShared::new(ConnId(id), 1, peer, Arc::from([]), 0);
            assert!(!conn.outbox.poll_ready(&waker));
            Arc::new(conn)
        });
        conns.collect()
    }

    #[test]
    fn each_task_that_waits_is_woken_once() {
        for count in [0, 1, 2, 5] {
            let (wakes, counter) = (Wakes::new(2), Arc::new(Counter(AtomicUsize::new(0))));
            let conns = waiting_conns(&counter, count);
            wakes.wake(conns.iter().cloned());
            wakes.wake(conns.iter().cloned());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = wakes.pass_on(1) => {}
                    () = std::future::ready(()) => {}
                }
            });
            assert_eq!(counter.0.load(SeqCst) as u64, count);
            assert!(wakes.threads.iter().all(|thread| thread.wakers.lock().is_empty()));
        }
    }
}
