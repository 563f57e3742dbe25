//! Reading the configuration: where it is, what it says, what is wrong with it.
//!
//! Invariant: what `load` returns without errors is complete and consistent; all problems come at once.

pub mod dynamic_files;
pub mod env;
pub mod load;
pub mod locate;
pub mod members;
pub mod problem;
pub mod properties;
pub mod secret;
pub mod server_config;
pub mod throttle;
pub mod toml;

mod container;
mod draft;
mod dynamic;
mod finish;
mod keys;
mod known_keys;
mod my_id;
mod value;

pub use env::Environment;
pub use load::{ClientPortPlace, Loaded, load};
pub use locate::{ConfigRequest, Located, locate, search_dirs};
pub use members::members;
pub use my_id::{MyId, MyIdPlace};
pub use problem::{Origin, Problem, Severity};
pub use secret::Secret;
pub use server_config::{ConfigSource, ServerConfig};
