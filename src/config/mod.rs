//! Reading the configuration: files, environment, checks. The result is one plain [`ServerConfig`].

pub mod secret;
pub mod server_config;

pub use secret::Secret;
pub use server_config::ServerConfig;
