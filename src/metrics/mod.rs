//! What the server counts and measures, as atomics that any thread may touch, under ZooKeeper's names.

pub mod registry;
pub mod set;
pub mod summary;

pub use registry::{Metric, Metrics};
pub use set::MetricSet;
pub use summary::{Counter, Histogram, Quantiles, ResponseSize, Summary};
