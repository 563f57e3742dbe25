//! Deadlines in buckets of one tick (ExpiryQueue): what is touched often moves rarely.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;

/// Things that expire unless they are touched, ordered by when.
#[derive(Clone, Debug)]
pub struct ExpiryQueue<T> {
    tick: Millis,
    buckets: BTreeMap<Millis, BTreeSet<T>>,
}

impl<T: Copy + Ord> ExpiryQueue<T> {
    /// A queue whose buckets are `tick` wide; a tick of nothing counts as one millisecond.
    pub fn new(tick: Millis) -> ExpiryQueue<T> {
        ExpiryQueue {
            tick: tick.max(Millis(1)),
            buckets: BTreeMap::new(),
        }
    }

    /// An empty queue with buckets of the same width.
    pub fn another(&self) -> ExpiryQueue<T> {
        ExpiryQueue::new(self.tick)
    }

    /// When something that is touched at `now` expires: `timeout` later at the earliest, one tick more at the
    /// latest.
    pub fn deadline(&self, now: Millis, timeout: Millis) -> Millis {
        let tick = self.tick.0;
        let ticks = now.0.saturating_add(timeout.0) / tick;
        Millis(ticks.saturating_add(1).saturating_mul(tick))
    }

    /// Puts an element in.
    pub fn insert(&mut self, element: T, deadline: Millis) {
        self.buckets.entry(deadline).or_default().insert(element);
    }

    /// Takes an element out of the bucket that it was put into.
    pub fn remove(&mut self, element: T, deadline: Millis) {
        if let Some(bucket) = self.buckets.get_mut(&deadline) {
            bucket.remove(&element);
            if bucket.is_empty() {
                self.buckets.remove(&deadline);
            }
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.buckets.clear();
    }

    /// What has expired at `now`, sorted. It stays in until it is removed.
    pub fn due(&self, now: Millis) -> Vec<T> {
        let mut due: Vec<T> = self
            .buckets
            .range(..=now)
            .flat_map(|(_, bucket)| bucket)
            .copied()
            .collect();
        due.sort_unstable();
        due
    }

    /// When something expires next.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.buckets.keys().next().copied()
    }

    /// All of it: the deadlines in order, with what expires then.
    pub fn buckets(&self) -> impl Iterator<Item = (Millis, &BTreeSet<T>)> {
        self.buckets.iter().map(|(deadline, bucket)| (*deadline, bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_the_first_tick_behind_the_timeout() {
        let queue = ExpiryQueue::<u8>::new(Millis(2000));
        assert_eq!(queue.deadline(Millis(0), Millis(4000)), Millis(6000));
        assert_eq!(queue.deadline(Millis(1999), Millis(4000)), Millis(6000));
        assert_eq!(queue.deadline(Millis(2000), Millis(4000)), Millis(8000));
        assert_eq!(queue.deadline(Millis(u64::MAX), Millis(1)), Millis(u64::MAX));
        assert_eq!(
            ExpiryQueue::<u8>::new(Millis(0)).deadline(Millis(5), Millis(5)),
            Millis(11)
        );
    }

    #[test]
    fn what_is_due_comes_sorted_and_stays_until_removed() {
        let mut queue = ExpiryQueue::new(Millis(10));
        queue.insert(3, Millis(20));
        queue.insert(1, Millis(30));
        queue.insert(2, Millis(20));
        queue.insert(9, Millis(40));
        assert_eq!(queue.due(Millis(19)), [] as [i32; 0]);
        assert_eq!(queue.due(Millis(20)), [2, 3]);
        assert_eq!(queue.due(Millis(35)), [1, 2, 3]);
        queue.remove(2, Millis(20));
        queue.remove(3, Millis(20));
        queue.remove(3, Millis(20));
        assert_eq!(
            (queue.due(Millis(35)), queue.next_deadline()),
            (vec![1], Some(Millis(30)))
        );
        assert_eq!(queue.buckets().count(), 2);
    }
}
